"""The model underfits: dropout can only take away from it."""

from dropkit.studies.result import Signal
from dropkit.studies.signals.evidence import About, Evidence
from dropkit.studies.words import listed

ABOUT = About(
    name="underfits",
    kind="model",
    step="Regularize less or take a larger model, train longer, or use dropout in the first part "
    "of training only.",
    source="Goodfellow, Bengio and Courville 2016, Deep Learning, section 11.3; Liu et al. 2023, "
    "ICML, arXiv:2303.01500 (early dropout); the threshold is this rule's own",
)

#: Training loss as a share of the validation loss, from which on the baseline hardly overfits.
HIGH_TRAINING_LOSS = 0.8


def check(evidence: Evidence) -> Signal:
    """Fires where the baseline's training loss is high, some rate does harm and none helps."""
    train, validation = (
        evidence.mean(evidence.baseline, name) for name in ("train_loss", "validation_loss")
    )
    if train is None or validation is None or validation <= 0.0:
        return ABOUT.not_measured("It needs the metrics train_loss and validation_loss.")
    share, harmful = train / validation, evidence.harmful
    facts = {
        "train_share": share,
        "high_training_loss": HIGH_TRAINING_LOSS,
        "n_harmful": len(harmful),
    }
    if share < HIGH_TRAINING_LOSS:
        return ABOUT.silent(
            f"No: the training loss is {share:.0%} of the validation loss: the model overfits.",
            **facts,
        )
    if not harmful or evidence.decision == "helps":
        return ABOUT.silent("No: dropout was not shown to do nothing but harm.", **facts)
    make = "make" if len(harmful) > 1 else "makes"
    return ABOUT.fired(
        f"Without dropout the training loss is {share:.0%} of the validation loss; "
        f"{listed(harmful)} {make} it worse, and no rate helps.",
        **facts,
    )
