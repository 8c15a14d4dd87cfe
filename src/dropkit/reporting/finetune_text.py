"""A fine-tuning in the terminal."""

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from dropkit.core.estimate import Estimate
from dropkit.finetuning.result import FinetuneResult, Speed
from dropkit.reporting.study_text import study_text

_COLUMNS = {
    "held_out_loss": "loss",
    "best_held_out_loss": "at best",
    "gap": "gap",
    "membership_auc": "AUC",
    "extracted_train": "verbatim",
    "extracted_held_out": "chance",
    "exposure": "exposed",
    "forgotten": "forgot",
}


def finetune_text(result: FinetuneResult) -> RenderableType:
    """The study's table and verdict, what each arm memorized, and where the time went."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    shown = [name for name in _COLUMNS if any(name in arm.measures for arm in result.arms)]
    table.add_column("arm", no_wrap=True)
    for name in shown:
        table.add_column(_COLUMNS[name], justify="right", no_wrap=True)
    table.add_column("epoch", justify="right", no_wrap=True)
    for arm in result.arms:
        cells = [_said(arm.measures.get(name)) for name in shown]
        table.add_row(Text(arm.name), *cells, str(arm.best_epoch))
    return Group(
        study_text(result.study),
        "",
        Text("What each memorized, after the last epoch", "bold"),
        table,
        Text(_explained(shown), "dim"),
        "",
        Text(_speed(result.speed)),
    )


_EXPLAINED = {
    "held_out_loss": "loss: held-out, after the last epoch",
    "best_held_out_loss": "at best: after the best one, which is epoch",
    "gap": "gap: held-out less training loss",
    "membership_auc": "AUC: chance to tell a text that was trained on from one that was not, by its "
    "loss; 0.5 is guessing",
    "extracted_train": "verbatim: share of training texts that are continued word for word",
    "extracted_held_out": "chance: the same of held-out texts",
    "exposure": "exposed: bits of planted secrets",
    "forgotten": "forgot: rise of the loss on general text",
}


def _explained(shown: list[str]) -> str:
    return "; ".join(_EXPLAINED[name] for name in shown) + "."


def _said(estimate: Estimate | None) -> str:
    return "-" if estimate is None else f"{estimate.value:.3f}"


def _speed(speed: Speed) -> str:
    total = sum(speed.parts.values()) or 1.0
    parts = ", ".join(
        f"{name} {seconds / total:.0%}"
        for name, seconds in sorted(speed.parts.items(), key=lambda part: -part[1])
    )
    return (
        f"{speed.steps_per_s:.2f} steps a second, {speed.peak_mib:.0f} MiB at most; of "
        f"{total:.0f} s: {parts}."
    )
