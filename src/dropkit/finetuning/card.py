"""The section of a model card that says how a model was fine-tuned, and what it memorized."""

from dropkit.core.estimate import Estimate
from dropkit.finetuning.result import ArmOutcome, FinetuneResult

_COLUMNS = {
    "held_out_loss": "held-out loss",
    "gap": "gap",
    "membership_auc": "membership AUC",
    "extracted_train": "said verbatim",
    "extracted_held_out": "the same, held out",
    "forgotten": "forgotten",
}


def model_card(result: FinetuneResult) -> str:
    """Markdown with the front matter that the hub reads."""
    settings, kept = result.settings, result.adapter
    assert kept is not None
    library = "transformers" if kept.is_full else "peft"
    shown = [name for name in _COLUMNS if any(name in arm.measures for arm in result.arms)]
    head = "| arm | " + " | ".join(_COLUMNS[name] for name in shown) + " |"
    return "\n".join(
        [
            "---",
            f"base_model: {settings['model']}",
            f"library_name: {library}",
            "---",
            "",
            f"# Fine-tuned from {settings['model']}",
            "",
            f"{'All weights' if kept.is_full else 'A LoRA adapter'} after {kept.epoch} of "
            f"{settings['epochs']} epochs on `{settings['data']}`, with a drop rate of "
            f"{kept.rate:g}. Held-out loss {kept.held_out_loss:.4f} nats.",
            "",
            "## Which drop rate",
            "",
            f"{result.study.verdict.sentence}",
            "",
            head,
            "| --- |" + " ---: |" * len(shown),
            *(_row(arm, shown) for arm in result.arms),
            "",
            "Means over "
            f"{result.study.n_complete} replicates with 95 % intervals, of the model after the last "
            "epoch; losses in nats. Membership AUC: chance that a text that was trained on is told "
            "from one that was not (0.5 is guessing). Said verbatim: share of texts whose "
            "continuation of 16 tokens the model says word for word. Forgotten: rise of the loss on "
            "general text.",
            "",
            "## What is not said here",
            "",
            "Numbers speak for the data, the model and the training above. A low membership AUC is "
            "no proof of privacy: stronger attacks may find more.",
            "",
        ]
    )


def _row(arm: ArmOutcome, shown: list[str]) -> str:
    cells = [_said(arm.measures.get(name)) for name in shown]
    return f"| {arm.name} | " + " | ".join(cells) + " |"


def _said(estimate: Estimate | None) -> str:
    if estimate is None:
        return "-"
    if estimate.low == estimate.low and estimate.high - estimate.low < float("inf"):
        return f"{estimate.value:.3f} ({estimate.low:.3f} to {estimate.high:.3f})"
    return f"{estimate.value:.3f}"
