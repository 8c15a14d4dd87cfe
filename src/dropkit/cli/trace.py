"""``dropkit trace``: where does dropout add leverage, cost and risk?"""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import Progress
from torch import nn

from dropkit.cli._objects import load_object
from dropkit.errors import OptionError
from dropkit.reporting.trace_page import write_trace_json, write_trace_page
from dropkit.reporting.trace_picture import write_trace_picture
from dropkit.reporting.trace_text import trace_text
from dropkit.tracing.trace import trace as trace_model

_OBJECT = "package.module:attribute or path/to/file.py:attribute"


def trace(
    model: Annotated[
        str,
        typer.Argument(
            help=f"The model, or a function that makes it: {_OBJECT}.", metavar="OBJECT"
        ),
    ],
    batch: Annotated[
        str,
        typer.Option(
            help="What the model is called with, or a function that makes it.", metavar="OBJECT"
        ),
    ],
    loss: Annotated[
        str | None,
        typer.Option(
            help="A function from what the model gives to its loss, best to one number an "
            "example. [default: the model's own loss]",
            metavar="OBJECT",
        ),
    ] = None,
    samples: Annotated[
        int, typer.Option(help="About three forward passes each, all runs together.", min=2)
    ] = 64,
    seed: Annotated[int, typer.Option(help="Of the masks.", min=0)] = 0,
    html: Annotated[
        Path | None, typer.Option(help="Write the chain and all numbers here.", metavar="FILE")
    ] = None,
    json: Annotated[
        Path | None, typer.Option(help="Write every number here.", metavar="FILE")
    ] = None,
    picture: Annotated[
        Path | None,
        typer.Option(help="Write the chain alone here, as .svg or .png.", metavar="FILE"),
    ] = None,
) -> None:
    """Follow a batch through a model: what each place of dropout does, costs and risks.

    Masks are drawn anew at one place while they stay frozen at all others. The code of the named
    files is run; the model is left as it was.
    """
    files = {"--html": html, "--json": json, "--picture": picture}
    for option, path in files.items():
        if path is not None and not path.parent.is_dir():
            raise OptionError(
                f"`{option}` must lie in a folder that exists; got {str(path.parent)!r}."
            )
    module = load_object(model, option="OBJECT")
    if not isinstance(module, nn.Module):
        raise OptionError(f"`OBJECT` must be an nn.Module; got a {type(module).__name__}.")
    inputs = load_object(batch, option="--batch")
    objective = None if loss is None else load_object(loss, option="--loss")
    console = Console()
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task("tracing", total=1.0)
        found = trace_model(
            module,
            inputs,
            objective,
            samples=samples,
            seed=seed,
            progress=lambda share: progress.update(task, completed=share),
        )
    console.print(trace_text(found))
    writers = {
        "--html": write_trace_page,
        "--json": write_trace_json,
        "--picture": write_trace_picture,
    }
    for option, path in files.items():
        if path is not None:
            writers[option](found, path)
            console.print(f"Written: [bold]{escape(str(path))}[/]")
