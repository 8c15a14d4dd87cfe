"""``dropkit probe``: ask a service, and look for what its users complain of."""

import json as jsons
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from torch import nn

from dropkit.cli._objects import load_object
from dropkit.core.files import write_text
from dropkit.errors import DataError, OptionError
from dropkit.reporting._json import json_text
from dropkit.reporting.probe_text import probe_text
from dropkit.serving import probe as probe_service

_OBJECT = "package.module:attribute or path/to/file.py:attribute"


def probe(  # noqa: PLR0913 - an option each
    target: Annotated[
        str,
        typer.Argument(
            help=f"The URL of an endpoint, or a function that takes a request: {_OBJECT}.",
            metavar="TARGET",
        ),
    ],
    requests: Annotated[
        Path,
        typer.Option(
            help="What to ask: one request a line, as JSON (.jsonl) or as text. A JSON object with "
            'the keys "request" and "label" has the right decision too.',
            metavar="FILE",
        ),
    ],
    model: Annotated[
        str | None,
        typer.Option(help=f"The model behind the function: {_OBJECT}.", metavar="OBJECT"),
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option(help="The report.json of the fine-tuning or the study.", metavar="FILE"),
    ] = None,
    arm: Annotated[
        str | None,
        typer.Option(help="Whose numbers in it. [default: the best]", metavar="NAME"),
    ] = None,
    repeats: Annotated[int, typer.Option(help="Passes over the requests.", min=2)] = 2,
    neighbours: Annotated[int, typer.Option(help="Nearest texts that are compared.", min=1)] = 10,
    timeout: Annotated[
        float, typer.Option(help="For one answer of an endpoint.", metavar="SECONDS")
    ] = 10.0,
    most_calls: Annotated[
        int, typer.Option(help="Refuse to ask more often than this in all.", min=1)
    ] = 2000,
    json: Annotated[
        Path | None, typer.Option(help="Write every number here.", metavar="FILE")
    ] = None,
) -> None:
    """Slower answers, weaker grounding, noisy retrieval, confusing hand-over: which, and why?

    Each request is asked several times. Exit status 1 if any of the four is there.
    """
    if json is not None and not json.parent.is_dir():
        raise OptionError(f"`--json` must lie in a folder that exists; got {str(json.parent)!r}.")
    asked, labels = _read(requests)
    is_url = target.startswith(("http://", "https://"))
    if model is not None and is_url:
        raise OptionError("`--model` must be behind a function; got the URL of an endpoint.")
    module = None if model is None else load_object(model, option="--model")
    if module is not None and not isinstance(module, nn.Module):
        raise OptionError(f"`--model` must be an nn.Module; got a {type(module).__name__}.")
    found = probe_service(
        target if is_url else load_object(target, option="TARGET"),
        asked,
        labels=labels,
        model=module,
        report=report,
        arm=arm,
        repeats=repeats,
        neighbours=neighbours,
        timeout_s=timeout,
        most_calls=most_calls,
    )
    console = Console()
    console.print(probe_text(found))
    if json is not None:
        write_text(json, json_text(found.to_dict()))
        console.print(f"Written: [bold]{escape(str(json))}[/]")
    if found.present:
        raise typer.Exit(1)


def _read(path: Path) -> tuple[list[Any], list[Any] | None]:
    """The requests, and the labels if all lines have one."""
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"`--requests` must be a UTF-8 file that can be read; {str(path)!r} cannot."
        ) from error
    numbered = [(number, line) for number, line in enumerate(lines, 1) if line.strip()]
    if path.suffix != ".jsonl":
        return [line for _, line in numbered], None
    asked, labels = [], []
    for number, line in numbered:
        try:
            one = jsons.loads(line)
        except (ValueError, RecursionError) as error:
            raise DataError(
                f"`--requests` must hold JSON in each line; line {number} of {str(path)!r} is none."
            ) from error
        if isinstance(one, dict) and one.keys() == {"request", "label"}:
            labels.append(one["label"])
            one = one["request"]
        asked.append(one)
    if labels and len(labels) != len(asked):
        raise DataError(
            f"`--requests` must have a label in each line or in none; {len(labels)} of "
            f"{len(asked)} have one."
        )
    return asked, labels or None
