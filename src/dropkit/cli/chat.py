"""``dropkit chat``: talk to what was fine-tuned."""

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from dropkit.errors import DataError
from dropkit.finetuning.chatting import Chat, Reply

_ENDS = {"/quit", "/exit"}


def chat(
    adapter: Annotated[
        Path,
        typer.Argument(
            help="Folder that dropkit finetune wrote; or any adapter or model of that kind.",
            metavar="ADAPTER",
            show_default=False,
        ),
    ],
    model: Annotated[
        str | None,
        typer.Option(help="Folder or hub name of the base. [default: the one it names]"),
    ] = None,
    samples: Annotated[
        int, typer.Option(help="Sub-networks asked about each answer; 0 for none.", min=0)
    ] = 4,
) -> None:
    """Talk to a fine-tuned model; beside each answer stands what its sub-networks think of it.

    That they agree is a hint, not truth: they learned from the same data. /quit, Ctrl-D or Ctrl-C
    ends. No code that comes with a model is run.
    """
    console = Console()
    talk = Chat.load(adapter, base=model, samples=samples)
    if samples and not talk.samples:
        console.print(
            "[dim]It was trained without dropout, so there are no sub-networks to ask.[/]"
        )
    is_terminal = sys.stdin.isatty()
    while True:
        try:
            text = (console.input("[bold]> [/]") if is_terminal else _line()).strip()
        except (EOFError, KeyboardInterrupt):
            break
        if text in _ENDS:
            break
        if text:
            try:
                reply = talk.reply(text)
            except DataError as error:  # a line that is too long ends no conversation
                console.print(f"[yellow]{escape(str(error))}[/]")
                continue
            console.print(escape(reply.text) or "[dim](nothing)[/]", soft_wrap=True)
            hint = _hint(reply)
            if hint:
                console.print(f"[dim]{hint}[/]")


def _line() -> str:
    line = sys.stdin.readline()
    if not line:
        raise EOFError
    return line


def _hint(reply: Reply) -> str:
    found = reply.disagreement
    if found is None:
        return ""
    n = found.samples_used
    n_other = round(found.variation_ratio.value * n)
    if n_other == 0:
        return f"{n} of {n} sub-networks say the same (a hint, not truth)"
    return f"{n_other} of {n} sub-networks say something else (a hint, not truth)"
