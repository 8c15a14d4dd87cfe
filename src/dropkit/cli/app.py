"""All commands, by name."""

from typing import Annotated

import typer

import dropkit
from dropkit.cli.audit import audit, rule
from dropkit.cli.chat import chat
from dropkit.cli.compare import compare
from dropkit.cli.demo import demo
from dropkit.cli.doctor import doctor
from dropkit.cli.finetune import finetune
from dropkit.cli.gate import gate
from dropkit.cli.probe import probe
from dropkit.cli.study import study
from dropkit.cli.trace import trace

app = typer.Typer(
    name="dropkit",
    help="Dropout for PyTorch that people can trust: is it wired up right, does it help, "
    "and what does it cost?",
    epilog="Begin with: dropkit demo",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(demo)
app.command()(audit)
app.command()(rule)
app.command()(study)
app.command()(trace)
app.command()(finetune)
app.command()(chat)
app.command()(compare)
app.command()(gate)
app.command()(probe)
app.command()(doctor)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"dropkit {dropkit.__version__}")
        raise typer.Exit


@app.callback()
def dropkit_command(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    """Dropout for PyTorch that people can trust."""
    del version
