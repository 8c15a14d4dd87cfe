"""``dropkit compare``: two recorded runs beside each other."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from dropkit.reporting.compare_text import compare_text
from dropkit.tracing.compare import compare_runs


def compare(
    run_a: Annotated[Path, typer.Argument(help="A file that a Recorder has written.")],
    run_b: Annotated[Path, typer.Argument(help="Another.")],
) -> None:
    """Compare what dropout did in two training runs that `dropkit.Recorder` has recorded.

    Site by site: rates asked for and measured, what enters and leaves, and the share of the
    gradient that survives. What differs by a fifth or more stands out.
    """
    Console().print(compare_text(compare_runs(run_a, run_b)))
