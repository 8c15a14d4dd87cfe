"""``dropkit finetune``: small data in, adapter and verdict out."""

import enum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from dropkit.cli._live import run_live
from dropkit.cli._outcome import cores
from dropkit.errors import OptionError
from dropkit.finetuning.engine import finetune_study, outcome, remove_run
from dropkit.finetuning.publish import check_out, publish
from dropkit.finetuning.settings import Settings
from dropkit.reporting.finetune_files import write_reports
from dropkit.reporting.finetune_text import finetune_text
from dropkit.sites.presets import PRESETS

_INTERRUPTED = 130  # the shell's number for a command that Ctrl-C ended


class _Task(enum.StrEnum):
    CHAT = "chat"
    CLASSIFY = "classify"


class _LossOn(enum.StrEnum):
    ASSISTANT = "assistant"
    ALL = "all"


def finetune(  # noqa: PLR0913 - a command has an argument for each option
    model: Annotated[
        str, typer.Option(help="Folder or hub name of a transformers model.", show_default=False)
    ],
    data: Annotated[
        str,
        typer.Option(
            help="Chats or question and answer as JSON lines, CSV, Parquet, or a dataset's folder.",
            show_default=False,
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(help="Folder for adapter and report; not there yet.", show_default=False),
    ],
    rates: Annotated[
        str, typer.Option(help="Drop rates to compare, with commas between.")
    ] = "0,0.05,0.1,0.2",
    site_rates: Annotated[
        list[str] | None,
        typer.Option(
            "--site-rates",
            help="Rate of places in the base model, in every arm, or a preset: bert, gpt, "
            "finetune; may be given again.",
            metavar="PATTERN=RATE",
        ),
    ] = None,
    task: Annotated[_Task, typer.Option(help="classify is for texts with labels.")] = _Task.CHAT,
    full: Annotated[
        bool, typer.Option("--full", help="Train all weights in place of an adapter.")
    ] = False,
    rank: Annotated[int, typer.Option(help="Of the adapter.", min=1)] = 8,
    alpha: Annotated[int, typer.Option(help="Its scale is alpha / rank.", min=1)] = 16,
    targets: Annotated[
        str, typer.Option(help="Linear layers that get an adapter. [default: the model's usual]")
    ] = "",
    last_layers: Annotated[
        int, typer.Option(help="Adapters in the last so many blocks; 0 for all.", min=0)
    ] = 0,
    epochs: Annotated[int, typer.Option(help="Passes over the data.", min=1)] = 3,
    batch: Annotated[int, typer.Option(help="Examples a step.", min=1)] = 8,
    learning_rate: Annotated[
        float | None,
        typer.Option(help="Of AdamW. [default: 3e-4, with --full 2e-5]", show_default=False),
    ] = None,
    weight_decay: Annotated[float, typer.Option(help="Of AdamW.", min=0.0)] = 0.0,
    max_length: Annotated[int, typer.Option(help="Tokens kept of each example.", min=2)] = 256,
    loss_on: Annotated[_LossOn, typer.Option(help="The assistant's turns only, or all.")] = (
        _LossOn.ASSISTANT
    ),
    chat_template: Annotated[
        str, typer.Option(help="plain, or a file, in place of the tokenizer's own.")
    ] = "",
    general: Annotated[
        str,
        typer.Option(help="A text on other things, to see what is forgotten.", metavar="FILE"),
    ] = "",
    held_out: Annotated[float, typer.Option(help="Share to measure with, in (0, 1).")] = 0.2,
    replicates: Annotated[int, typer.Option(help="How often all is drawn anew.", min=1)] = 2,
    seed: Annotated[int, typer.Option(help="Root of all that chance decides.", min=0)] = 0,
    canaries: Annotated[
        int,
        typer.Option(
            help="Secrets to plant into the training data, to see which come out; the adapter "
            "then knows them.",
            min=0,
        ),
    ] = 0,
    threads: Annotated[
        int | None, typer.Option(help="Of torch. [default: the cores]", min=1)
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace an earlier result at --out.")
    ] = False,
    keep_run: Annotated[
        bool, typer.Option("--keep-run", help="Keep every trial's weights, in OUT.run.")
    ] = False,
) -> None:
    """Fine-tune MODEL on small DATA with several drop rates, and measure what each memorized.

    Every arm is trained --replicates times, paired: same split, weights, order and mask names. Out
    come the best arm's adapter (safetensors, for plain PEFT), report.html, report.json and a model
    card. Stop it whenever you like: the same command goes on. No code of yours is run, nor any
    that comes with a model.
    """
    console = Console()
    settings = Settings(
        model=model,
        data=data,
        rates=_rates(rates),
        site_rates=_site_rates(site_rates or []),
        task=task.value,
        is_full=full,
        rank=rank,
        alpha=alpha,
        targets=tuple(word for word in targets.split(",") if word),
        last_layers=last_layers,
        epochs=epochs,
        batch=batch,
        learning_rate=learning_rate or (2e-5 if full else 3e-4),
        weight_decay=weight_decay,
        max_length=max_length,
        loss_on=loss_on.value,
        chat_template=chat_template,
        general=general,
        held_out=held_out,
        replicates=replicates,
        seed=seed,
        canaries=canaries,
        threads=threads or cores(),
    )
    check_out(out, overwrite=overwrite)
    run = out.with_name(f"{out.name}.run")
    study = finetune_study(settings, run)
    console.print(f"[bold]{escape(study.title)}[/] kept in {escape(str(run))}")
    found = run_live(study, console)
    if found.was_stopped:
        console.print("Stopped. Nothing is lost: the same command goes on from here.")
        raise typer.Exit(_INTERRUPTED)
    result = outcome(settings, run, found, wall_s=float(found.about.get("wall_s", 0.0)))
    console.print(finetune_text(result))
    if result.adapter is None:
        raise typer.Exit(1)
    publish(result, run, out, write_reports)
    if not keep_run:
        remove_run(run)
    console.print(
        f"\nWritten: [bold]{escape(str(out / 'report.html'))}[/] (open it in a browser), report.json, "
        f"the adapter and its card."
    )


def _rates(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(word) for word in text.split(","))
    except ValueError as error:
        raise OptionError(
            f"`--rates` must be numbers with commas between; got {text!r}."
        ) from error


def _site_rates(given: list[str]) -> dict[str, float]:
    found: dict[str, float] = {}
    known = ", ".join(sorted(PRESETS))
    for text in given:
        if text in PRESETS:
            found.update(PRESETS[text].rates(()))
            continue
        pattern, equals, rate = text.rpartition("=")
        try:
            found[pattern] = float(rate)
        except ValueError:
            equals = ""
        if not equals or not pattern:
            raise OptionError(
                f"`--site-rates` must be PATTERN=RATE or one of {known}; got {text!r}."
            )
    return found
