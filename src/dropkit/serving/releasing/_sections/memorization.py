"""What did the model keep of its training data?

Read from `dropkit.memorization(...).to_dict()`, or from the report.json of ``dropkit finetune``: of
its arms the one whose adapter was kept.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from dropkit.serving.releasing._limit import Limit, Report, Section, at_most

_FINETUNE = "dropkit finetune"
_LESS = (
    "Train for fewer epochs, at a higher dropout rate or on more data; dropkit finetune has both."
)
_GAP = "Keep an earlier epoch, a higher dropout rate or a smaller adapter."
_YEOM = "Yeom et al. 2018, CSF, arXiv:1709.01604; Shi et al. 2024, ICLR, arXiv:2310.16789"
_EXTRACTED = "Carlini et al. 2023, ICLR, arXiv:2202.07646"
_EXPOSED = "Carlini et al. 2019, USENIX Security, arXiv:1802.08232"


def _is_one(report: Report) -> bool:
    return {"gap", "attacks", "extractions", "exposures"} <= report.keys()


def _kept(report: Report) -> Mapping[str, Any]:
    """The arm that was kept; empty where none was."""
    if not report["adapter"]:
        return {}
    name = report["adapter"]["arm"]
    for arm in report["arms"]:
        if arm["name"] == name:
            return dict(arm)
    raise KeyError(f"arms, {name}")


def _worst(found: Iterable[Any]) -> Any:
    """The estimate with the highest upper end; one without an end is worse, None is left out."""
    return max((one for one in found if one is not None), key=_high, default=None)


def _high(found: Any) -> float:
    high = found["high"] if isinstance(found, Mapping) else found
    return math.inf if high is None else float(high)


def _at_most(
    key: str,
    one: Callable[[Report], Any],
    *names: str,
    about: str,
    next_step: str,
    source: str,
) -> Limit:
    """A measure of one `Memorization`, or under `names` of the arm of a fine-tuning.

    Over several replicates the arm's intervals count, and of a single one its own.
    """

    def get(report: Report) -> Any:
        if _is_one(report):
            return one(report)
        arm = _kept(report)
        each = arm.get("memorization", ())
        if len(each) == 1 and (found := one(each[0])) is not None:
            return found
        return _worst(arm.get("measures", {}).get(name) for name in names)

    return at_most(key, get, about=about, next_step=next_step, source=source)


def _shared(report: Report) -> Any:
    if _is_one(report):
        return report["n_shared"]
    return _worst(one["n_shared"] for one in _kept(report).get("memorization", ()))


MEMORIZATION = Section(
    "memorization",
    "`dropkit finetune`, report.json, or `dropkit.memorization(...).to_dict()`",
    lambda report: report.get("format") == _FINETUNE or _is_one(report),
    (
        _at_most(
            "membership-auc",
            lambda one: _worst(attack["auc"] for attack in one["attacks"].values()),
            "membership_auc",
            "min_k_auc",
            "min_k_plus_plus_auc",
            about="chance to tell a training text from another; 0.5 is guessing",
            next_step=_LESS,
            source=_YEOM,
        ),
        _at_most(
            "extracted",
            lambda one: _worst(found["train"]["exact"] for found in one["extractions"]),
            "extracted_train",
            about="share of training texts said verbatim, in [0, 1]",
            next_step=_LESS,
            source=_EXTRACTED,
        ),
        _at_most(
            "nearly-extracted",
            lambda one: _worst(found["train"]["near"] for found in one["extractions"]),
            "nearly_train",
            about="share said verbatim or nearly so, in [0, 1]",
            next_step=_LESS,
            source=_EXTRACTED,
        ),
        _at_most(
            "exposure",
            lambda one: _worst(
                found["exposure"] for found in one["exposures"] if found["repeats"] > 0
            ),
            "exposure",
            about="bits of a planted secret that are given away",
            next_step="Remove what is secret from the data, or what is said more than once.",
            source=_EXPOSED,
        ),
        _at_most(
            "gap",
            lambda one: one["gap"],
            "gap",
            about="held-out loss less training loss, in nats",
            next_step=_GAP,
            source=_YEOM,
        ),
        _at_most(
            "forgotten",
            lambda _: None,  # of one model there is no before
            "forgotten",
            about="rise of the loss on general text, in nats",
            next_step="Hand over general text to dropkit finetune, and train for fewer steps.",
            source=_FINETUNE,
        ),
        at_most(
            "shared",
            _shared,
            about="held-out texts that are in the training data too",
            next_step="Split again so that no text is in both parts: what is shared hides memory.",
            source=_FINETUNE,
        ),
    ),
)
