"""The model underfits: dropout can only take away from it."""

from dropkit.studies.result import Signal
from dropkit.studies.signals.evidence import About, Evidence

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
    """Fires where the baseline's training loss is high, and the study says that dropout harms."""
    train, validation = (
        evidence.mean(evidence.baseline, name) for name in ("train_loss", "validation_loss")
    )
    if train is None or validation is None or validation <= 0.0:
        return ABOUT.not_measured("It needs the metrics train_loss and validation_loss.")
    share = train / validation
    facts = {"train_share": share, "high_training_loss": HIGH_TRAINING_LOSS}
    is_high, only_hurts = share >= HIGH_TRAINING_LOSS, evidence.decision == "harms"
    if is_high and only_hurts:
        return ABOUT.fired(
            f"Without dropout the training loss is {share:.0%} of the validation loss, and every "
            "rate makes it worse.",
            **facts,
        )
    why = "not every rate was shown to do harm"
    if not is_high:
        why = f"the training loss is {share:.0%} of the validation loss: the model overfits"
    return ABOUT.silent(f"No: {why}.", **facts)
