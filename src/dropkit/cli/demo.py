"""``dropkit demo``: does dropout help a real model on real data?"""

import os
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.table import Table

from dropkit.demo.questions import chatbot_questions, read_csv
from dropkit.demo.study import router_study
from dropkit.errors import OptionError
from dropkit.reporting.json_file import write_json
from dropkit.reporting.study_page import write_study_page
from dropkit.reporting.study_text import study_text
from dropkit.studies.result import StudyResult, TrialRecord
from dropkit.studies.study import Study

_INTERRUPTED = 130  # the shell's number for a command that Ctrl-C ended


def demo(
    data: Annotated[
        Path | None,
        typer.Option(
            help="Your own CSV file with the columns text and label, in place of the questions "
            "that come with the demo.",
            metavar="FILE",
        ),
    ] = None,
    replicates: Annotated[
        int, typer.Option(help="How often split, weights, order and masks are drawn anew.", min=1)
    ] = 6,
    steps: Annotated[int, typer.Option(help="Of training, in each trial.", min=8)] = 240,
    seed: Annotated[int, typer.Option(help="Root of everything that chance decides.", min=0)] = 0,
    workers: Annotated[
        int | None,
        typer.Option(
            help="Processes of one thread each; 0 runs in this one. [default: the cores]", min=0
        ),
    ] = None,
    out: Annotated[
        Path,
        typer.Option(
            help="Folder for dropkit-report.html and dropkit-report.json.", metavar="FOLDER"
        ),
    ] = Path(),
) -> None:
    """Train a small text classifier with and without dropout, and say whether dropout helps.

    A transformer learns from scratch to route what people say to a chatbot to its topic: without
    dropout, at three rates, with weight decay and with both, in paired replicates. It ends with a
    table, a verdict in words and a report. About a minute on two cores; nothing is downloaded.
    """
    console = Console()
    _check_folder(out)
    questions = chatbot_questions() if data is None else read_csv(data)
    study = router_study(
        questions,
        replicates=replicates,
        steps=steps,
        seed=seed,
        workers=_cores() if workers is None else workers,
    )
    console.print(
        f"[bold]{escape(study.title)}[/] {len(questions.texts)} texts, "
        f"{len(questions.topics)} topics, from {escape(questions.name)}"
    )
    progress = _Progress(study, console)
    with Live(progress.table(), console=console, transient=True, refresh_per_second=2) as live:

        def show(record: TrialRecord) -> None:
            progress.add(record)
            live.update(progress.table())

        result = study.run(show)
    _tell(result, console)
    if result.n_complete:
        html, json = out / "dropkit-report.html", out / "dropkit-report.json"
        write_study_page(result, html)
        write_json(result, json)
        console.print(
            f"\nWritten: [bold]{escape(str(html))}[/] (open it in a browser) and {escape(str(json))}"
        )
    if result.was_stopped:
        raise typer.Exit(_INTERRUPTED)
    if not result.n_complete:
        raise typer.Exit(1)


def _tell(result: StudyResult, console: Console) -> None:
    failed = [record for record in result.trials if record.error is not None]
    for record in failed[:3]:
        console.print(
            f"[yellow]Trial failed:[/] {escape(record.arm)}, replicate {record.replicate + 1}: "
            f"{escape(str(record.error))}"
        )
    if len(failed) > 3:
        console.print(f"[yellow]{len(failed) - 3} more trials failed; the report lists them.[/]")
    if result.was_stopped:
        n_trials = len(result.arms) * result.n_replicates
        console.print(
            f"[yellow]Stopped:[/] {len(result.trials)} of {n_trials} trials were done, "
            f"{result.n_complete} of {result.n_replicates} replicates in whole."
        )
    if result.n_complete:
        console.print(study_text(result))
    else:
        console.print(result.verdict.sentence)


def _check_folder(out: Path) -> None:
    if not out.is_dir():
        raise OptionError(f"`--out` must be a folder that exists; got {str(out)!r}.")
    if not os.access(out, os.W_OK):
        raise OptionError(f"`--out` must be a folder that can be written to; got {str(out)!r}.")


def _cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class _Progress:
    """Arms by replicates as they finish, and the time that is left."""

    def __init__(self, study: Study, console: Console) -> None:
        self._study = study
        self._is_quiet = not console.is_terminal
        self._console = console
        self._start = time.perf_counter()
        self._records: dict[tuple[str, int], TrialRecord] = {}
        self._n_trials = len(study.arms) * study.terms.replicates

    def add(self, record: TrialRecord) -> None:
        """Take in one more record; outside a terminal, say so in a line a replicate."""
        self._records[record.arm, record.replicate] = record
        if self._is_quiet and len(self._records) % len(self._study.arms) == 0:
            self._console.print(f"{len(self._records)} of {self._n_trials} trials done")

    def table(self) -> Table:
        """What is done so far."""
        table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), title_justify="left")
        table.title = f"validation loss, by replicate - {self._left()}"
        table.add_column("arm", no_wrap=True)
        for replicate in range(self._study.terms.replicates):
            table.add_column(str(replicate + 1), justify="right", min_width=5)
        for arm in self._study.arms:
            cells = [self._cell(arm.name, k) for k in range(self._study.terms.replicates)]
            table.add_row(escape(arm.name), *cells)
        return table

    def _cell(self, arm: str, replicate: int) -> str:
        record = self._records.get((arm, replicate))
        if record is None:
            return "[dim].[/]"
        if record.error is not None:
            return "[red]failed[/]"
        return f"{record.metrics[self._study.terms.metric]:.3f}"

    def _left(self) -> str:
        done = len(self._records)
        if not done:
            return "starting"
        left = (time.perf_counter() - self._start) / done * (self._n_trials - done)
        return f"{done} of {self._n_trials} trials, about {left:.0f} s left (Ctrl-C stops)"
