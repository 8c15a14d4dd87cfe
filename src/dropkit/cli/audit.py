"""``dropkit audit`` and ``dropkit rule``: is dropout wired up right in a model?"""

import contextlib
import dataclasses
import enum
import io
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markdown import Markdown
from torch.optim import Optimizer

import dropkit
from dropkit.auditing.allowances import find_rule, without_allowed
from dropkit.auditing.artefacts.reading import ENDINGS, read_artefact
from dropkit.auditing.audit import Audit, chosen
from dropkit.auditing.audit import audit as run_audit
from dropkit.auditing.rules import RULES
from dropkit.cli._objects import file_of, load_object
from dropkit.cli._settings import Settings, find_settings
from dropkit.core.files import write_text
from dropkit.errors import OptionError
from dropkit.reporting.audit_github import audit_github
from dropkit.reporting.audit_json import audit_json
from dropkit.reporting.audit_page import audit_page
from dropkit.reporting.audit_sarif import audit_sarif
from dropkit.reporting.audit_text import audit_text
from dropkit.reporting.findings import at_or_above
from dropkit.reporting.rule_text import rule_text, rules_text


class Format(enum.StrEnum):
    """How findings are written."""

    TEXT = "text"
    JSON = "json"
    SARIF = "sarif"
    GITHUB = "github"
    HTML = "html"


class FailOn(enum.StrEnum):
    """From which severity on a finding makes exit status 1."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


def _list_rules(wanted: bool) -> None:
    if wanted:
        Console().print(rules_text(RULES))
        raise typer.Exit


def audit(  # noqa: PLR0913 - a command has an argument for each option
    model: Annotated[
        str,
        typer.Argument(
            help="package.module:attribute or path/to/file.py:attribute; the attribute is a model, "
            "or a function without arguments that makes one. Or an exported file: .onnx, .pt2.",
            metavar="MODEL",
            show_default=False,
        ),
    ],
    batch: Annotated[
        str | None,
        typer.Option(
            help="Named likewise: a tensor, a tuple of arguments, or a mapping of names to them.",
            metavar="OBJECT",
        ),
    ] = None,
    loss: Annotated[
        str | None,
        typer.Option(
            help="Named likewise: a function of the model's output. It makes the audit of "
            "gradients that of your training.",
            metavar="OBJECT",
        ),
    ] = None,
    optimizer: Annotated[
        str | None,
        typer.Option(
            help="Named likewise: the optimizer of the training, or a function from the model to "
            "it, for a look at weight decay.",
            metavar="OBJECT",
        ),
    ] = None,
    epochs: Annotated[
        float | None, typer.Option(help="How often the training meets an example.")
    ] = None,
    form: Annotated[Format, typer.Option("--format", help="How findings are written.")] = (
        Format.TEXT
    ),
    output: Annotated[Path | None, typer.Option(help="Write to this file.", metavar="FILE")] = None,
    fail_on: Annotated[
        FailOn | None,
        typer.Option(help="From which severity on the exit status is 1. [default: warning]"),
    ] = None,
    select: Annotated[
        list[str] | None,
        typer.Option(
            help="Only these rules: codes, names or families, with commas between.",
            metavar="RULES",
        ),
    ] = None,
    ignore: Annotated[
        list[str] | None,
        typer.Option(help="Not these; wins over --select.", metavar="RULES"),
    ] = None,
    all_rules: Annotated[
        bool,
        typer.Option("--all-rules", callback=_list_rules, is_eager=True, help="List all rules."),
    ] = False,
) -> None:
    """Watch a few runs of MODEL, and say where its dropout is wired up wrong.

    This runs your code: the modules that you name are imported, and the model is run on the batch,
    in training and in eval mode, forward and backward. It is left as it was.

    Exit status: 0 without findings, 1 with findings of the severity --fail-on or above, 2 where
    the input is wrong. Settings: the table tool.dropkit.audit of pyproject.toml.
    """
    del all_rules
    settings = find_settings(Path.cwd())
    settings = dataclasses.replace(
        settings,
        select=_words(select) or settings.select,
        ignore=(*settings.ignore, *_words(ignore)),
        fail_on=settings.fail_on if fail_on is None else fail_on.value,
    )
    chosen(settings.select, settings.ignore)  # before the user's code is run
    if output is not None and not output.absolute().parent.is_dir():
        raise OptionError(f"`--output` must lie in a folder that exists; got {str(output)!r}.")
    with contextlib.redirect_stdout(sys.stderr):  # what the user's code prints is no finding
        found = _audited(model, batch, loss, optimizer, epochs, settings)
    found = without_allowed(found, settings.allow)
    if form is Format.TEXT and output is None:
        Console().print(audit_text(found))
    else:
        text = _written(found, form, model)
        if output is None:
            sys.stdout.write(text)
        else:
            write_text(output, text)
    if at_or_above(found.findings, settings.fail_on):
        raise typer.Exit(1)


def rule(
    word: Annotated[
        str, typer.Argument(help="Code or name of a rule.", metavar="RULE", show_default=False)
    ],
) -> None:
    """Explain a rule of the audit: why it matters, what to do instead, when it is fine."""
    Console().print(Markdown(rule_text(find_rule(word))))


def _words(given: list[str] | None) -> tuple[str, ...]:
    return tuple(word.strip() for one in given or () for word in one.split(",") if word.strip())


def _audited(
    target: str,
    batch: str | None,
    loss: str | None,
    optimizer: str | None,
    epochs: float | None,
    settings: Settings,
) -> Audit:
    path = Path(target)
    if path.suffix in ENDINGS:
        return run_audit(path, select=settings.select, ignore=settings.ignore)
    model = load_object(target, option="MODEL")
    if batch is None and read_artefact(model) is None:
        raise OptionError("`--batch` must name what the model is called with; got nothing.")
    steps = None if optimizer is None else load_object(optimizer, option="--optimizer")
    if steps is not None and not isinstance(steps, Optimizer):
        steps = steps(model)
    return run_audit(
        model,
        None if batch is None else load_object(batch, option="--batch"),
        loss=None if loss is None else load_object(loss, option="--loss"),
        optimizer=steps,
        epochs=epochs,
        select=settings.select,
        ignore=settings.ignore,
    )


def _written(found: Audit, form: Format, model: str) -> str:
    rules, version, root = chosen(found.rules), dropkit.__version__, Path.cwd()
    match form:
        case Format.JSON:
            return audit_json(found)
        case Format.SARIF:
            return audit_sarif(found, rules, version=version, root=root, default=file_of(model))
        case Format.GITHUB:
            return audit_github(found, root=root, default=file_of(model))
        case Format.HTML:
            return audit_page(found, rules, title=model, version=version)
        case Format.TEXT:
            console = Console(file=io.StringIO(), width=100)
            with console.capture() as capture:
                console.print(audit_text(found))
            return capture.get()
