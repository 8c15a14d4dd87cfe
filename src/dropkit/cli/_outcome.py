"""What a command says and writes when its study is over."""

import os
from pathlib import Path

import typer
from rich.console import Console
from rich.markup import escape

from dropkit.errors import OptionError
from dropkit.reporting.json_file import write_json
from dropkit.reporting.study_page import write_study_page
from dropkit.reporting.study_text import study_text
from dropkit.studies.result import StudyResult

#: The shell's number for a command that Ctrl-C ended.
INTERRUPTED = 130


def check_folder(out: Path) -> None:
    """Refuse a folder for reports before hours are spent on what would go there."""
    if not out.is_dir():
        raise OptionError(f"`--out` must be a folder that exists; got {str(out)!r}.")
    if not os.access(out, os.W_OK):
        raise OptionError(f"`--out` must be a folder that can be written to; got {str(out)!r}.")


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def tell(result: StudyResult, console: Console, html: Path) -> None:
    """Print the table and the verdict, and write the page and, beside it, the JSON file.

    Raises:
        typer.Exit: With the status of the command, where it is not 0.
    """
    _tell_failures(result, console)
    if result.was_stopped:
        n_trials = len(result.arms) * result.n_replicates
        console.print(
            f"[yellow]Stopped:[/] {len(result.trials)} of {n_trials} trials were done, "
            f"{result.n_complete} of {result.n_replicates} replicates in whole."
        )
    if result.n_complete:
        console.print(study_text(result))
        json = html.with_suffix(".json")
        write_study_page(result, html)
        write_json(result, json)
        console.print(
            f"\nWritten: [bold]{escape(str(html))}[/] (open it in a browser) and {escape(str(json))}"
        )
    else:
        console.print(result.verdict.sentence)
    if result.was_stopped:
        raise typer.Exit(INTERRUPTED)
    if not result.n_complete:
        raise typer.Exit(1)


def _tell_failures(result: StudyResult, console: Console) -> None:
    failed = [record for record in result.trials if record.error is not None]
    for record in failed[:3]:
        console.print(
            f"[yellow]Trial failed:[/] {escape(record.arm)}, replicate {record.replicate + 1}: "
            f"{escape(str(record.error))}"
        )
    if len(failed) > 3:
        console.print(f"[yellow]{len(failed) - 3} more trials failed; the report lists them.[/]")
