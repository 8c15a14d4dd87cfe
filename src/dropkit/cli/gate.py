"""``dropkit gate``: may this model be released?"""

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from dropkit.core.files import write_text
from dropkit.errors import OptionError
from dropkit.reporting._json import json_text
from dropkit.reporting.gate_junit import gate_junit
from dropkit.reporting.gate_text import gate_keys_text, gate_text
from dropkit.serving import gate as run_gate


def _list_keys(wanted: bool) -> None:
    if wanted:
        Console().print(gate_keys_text(), soft_wrap=True)
        raise typer.Exit


def gate(
    policy: Annotated[
        Path,
        typer.Argument(help="A TOML file: what a release must keep to.", show_default=False),
    ],
    reports: Annotated[
        list[Path],
        typer.Argument(help="JSON files that dropkit has written.", show_default=False),
    ],
    junit: Annotated[
        Path | None, typer.Option(help="Also write JUnit XML, for CI to show.", metavar="FILE")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON in place of text.")] = False,
    keys: Annotated[
        bool,
        typer.Option(
            "--keys", callback=_list_keys, is_eager=True, help="List what a policy may ask."
        ),
    ] = False,
) -> None:
    """Hold REPORTS against POLICY: one line a rule, and what to do where one is not kept.

    Exit status: 0 where all is kept, 1 where something is not, or no report tells; 2 where the
    policy or a report cannot be read. No code of yours is run.
    """
    del keys
    if junit is not None and not junit.absolute().parent.is_dir():
        raise OptionError(f"`--junit` must lie in a folder that exists; got {str(junit)!r}.")
    release = run_gate(policy, reports)
    if json:
        sys.stdout.write(json_text(release.to_dict()))
    else:
        Console().print(gate_text(release))
    if junit is not None:
        write_text(junit, gate_junit(release))
    if not release.is_open:
        raise typer.Exit(1)
