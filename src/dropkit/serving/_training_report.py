"""What a fine-tuning or a study says of memorization and of the gap to held-out data."""

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dropkit.core.estimate import Estimate
from dropkit.errors import DataError


@dataclass(frozen=True)
class Grounding:
    """How much better a model does on what it was trained on.

    Attributes:
        where: Path to the numbers in the report.
        gap: Held-out loss less training loss, in nats; its interval has no width where the report
            has none.
        auc: Chance that a training example looks more familiar to the model than another one; 0.5
            is guessing. None where it was not measured.
    """

    where: str
    gap: Estimate
    auc: Estimate | None


def read_grounding(path: Path, arm: str | None) -> Grounding:
    """Read it from the JSON file of a fine-tuning, a `memorization`, or a study.

    Args:
        path: Of the file.
        arm: A name on the way to the numbers; None takes the only ones, or those of the arm that
            the report's verdict calls the best.

    Raises:
        DataError: There is no such file, it is no JSON, or has no such numbers, or several.
    """
    try:
        document = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise DataError(
            f"`report` must be a file that can be read; {str(path)!r} cannot."
        ) from error
    except (ValueError, RecursionError) as error:  # not UTF-8, or not JSON
        raise DataError(f"`report` must be a JSON file; {str(path)!r} is none.") from error
    if isinstance(document, Mapping) and document.get("format") == "dropkit finetune":
        document = _of_arms(document)
        arm = arm or document["kept"]
    found = list(_walk(document, ()))
    if not found:
        raise DataError(
            f"`report` must have a gap between training and held-out data; {str(path)!r} has none."
        )
    wanted = arm
    if wanted is None and len(found) > 1 and isinstance(document, Mapping):
        wanted = (document.get("verdict") or {}).get("best")
    if wanted is not None:
        found = [one for one in found if wanted in one[0]]
    if len(found) != 1:
        known = sorted({name for names, _ in _walk(document, ()) for name in names if name})
        raise DataError(
            f"`arm` must name one of the report's; got {wanted!r}, and there are "
            f"{', '.join(map(repr, known))}."
        )
    names, one = found[0]
    gap = _estimate(one["gap"])
    attacks = one.get("attacks")
    auc = None
    if isinstance(attacks, Mapping):
        best = [_estimate(attack.get("auc")) for attack in attacks.values() if attack.get("auc")]
        auc = max((x for x in best if x is not None), key=lambda x: x.value, default=None)
    if gap is None or not math.isfinite(gap.value):
        raise DataError(f"`report` must have a gap that is a number; {str(path)!r} has none.")
    return Grounding(".".join(filter(None, names)), gap, auc)


def _of_arms(report: Mapping[str, Any]) -> dict[str, Any]:
    """A fine-tuning's arms, their measures over replicates by the names that are looked for."""
    arms = {}
    for arm in report.get("arms") or ():
        measures = arm.get("measures") or {}
        auc = measures.get("membership_auc")
        attacks = {"loss": {"auc": auc}} if auc else {}
        arms[arm.get("name")] = {"gap": measures.get("gap"), "attacks": attacks}
    return {"arms": arms, "kept": (report.get("adapter") or {}).get("arm")}


def _walk(
    value: Any, names: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], Mapping[str, Any]]]:
    """The objects that hold a gap, with the names on the way: those of arms, and keys."""
    if isinstance(value, Mapping):
        if _estimate(value.get("gap")) is not None:
            yield names, value
            return
        own = _name(value)
        for key, part in value.items():
            if key not in ("trials", "curve", "points"):  # a study's replicates, and epochs
                yield from _walk(part, (*names, own, key) if own else (*names, key))
    elif isinstance(value, list):
        for part in value:
            yield from _walk(part, names)


def _name(value: Mapping[str, Any]) -> str | None:
    """What an arm is called: by its own key, or by that of its settings."""
    arm = value.get("arm")
    found = arm.get("name") if isinstance(arm, Mapping) else arm or value.get("name")
    return found if isinstance(found, str) else None


def _estimate(value: Any) -> Estimate | None:
    if isinstance(value, Mapping):
        value, low, high = (value.get(key) for key in ("value", "low", "high"))
    else:
        low = high = value
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return None
    return Estimate(
        float(value),
        -math.inf if low is None else float(low),
        math.inf if high is None else float(high),
    )
