"""What an answer of a service says, whatever its form."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any

import torch
from torch import Tensor

from dropkit.errors import ProbeError

_SLACK = 1e-3  # of a sum of probabilities that went through text, or half precision
_DECISIONS = ("decision", "answer", "label", "topic", "intent", "text")
_HANDOVERS = ("handed_over", "hand_over", "handover", "to_a_person")


@dataclass(frozen=True, eq=False)
class Reply:
    """An answer, as far as it can be read.

    Attributes:
        decision: What the service decided on: a label, a text, or the number of a class; None
            where nothing of the kind is in it.
        handed_over: Whether it gives the request to a person; None where it does not say.
        probabilities: ``(classes,)`` float64, at least 0, sum 1; None where there are none.
        labels: Names of the classes, where the answer has them.
        embedding: ``(width,)`` float64; None where there is none.
    """

    decision: Any = None
    handed_over: bool | None = None
    probabilities: Tensor | None = None
    labels: tuple[str, ...] | None = None
    embedding: Tensor | None = None


def reply_of(answer: Any) -> Reply:
    """Read an answer.

    A mapping is read by its keys: ``"embedding"``; ``"probabilities"``, a list or a mapping of
    labels; ``"decision"``, ``"answer"``, ``"label"``, ``"topic"``, ``"intent"`` or ``"text"``; and
    ``"handed_over"``. A text, a whole number or a truth value is a decision. Of a bare list of
    numbers one that is a distribution is probabilities, and any other an embedding; of
    probabilities alone the greatest is the decision.

    Raises:
        ProbeError: It is nothing of that, or holds nan.
    """
    if isinstance(answer, Mapping):
        return _of_mapping(answer)
    if isinstance(answer, (str, bool, int)):
        return Reply(decision=answer)
    vector = _vector(answer, "the answer")
    if vector is None:
        raise ProbeError(
            "an answer must be a mapping, a text, or a list of numbers; got a "
            f"{type(answer).__name__}. Pass `read` to turn it into one."
        )
    if _is_distribution(vector):
        return Reply(decision=int(vector.argmax()), probabilities=vector)
    return Reply(embedding=vector)


def _of_mapping(answer: Mapping[Any, Any]) -> Reply:
    found = answer.get("probabilities")
    labels = None
    if isinstance(found, Mapping):
        # by name: an answer that sorts its classes by probability has them in any order
        names = sorted(map(str, found))
        by_name = {str(name): value for name, value in found.items()}
        labels, found = tuple(names), [by_name[name] for name in names]
    probabilities = None if found is None else _vector(found, "`probabilities`")
    if probabilities is not None and not _is_distribution(probabilities):
        raise ProbeError(
            "`probabilities` of an answer must be at least 0 and sum to 1; got a sum of "
            f"{float(probabilities.sum()):.4g}."
        )
    vector = answer.get("embedding")
    embedding = None if vector is None else _vector(vector, "`embedding`")
    decision = next((answer[key] for key in _DECISIONS if answer.get(key) is not None), None)
    if decision is None and probabilities is not None:
        place = int(probabilities.argmax())
        decision = place if labels is None else labels[place]
    handed_over = next((answer[key] for key in _HANDOVERS if key in answer), None)
    if decision is None and embedding is None and handed_over is None:
        raise ProbeError(
            "an answer must have one of the keys 'decision', 'probabilities', 'embedding' and "
            f"'handed_over'; got {', '.join(map(repr, answer)) or 'none'}. Pass `read` to turn it "
            "into one."
        )
    if isinstance(decision, (dict, list)):
        raise ProbeError(
            f"the decision of an answer must be plain; got a {type(decision).__name__}."
        )
    return Reply(
        decision,
        None if handed_over is None else bool(handed_over),
        probabilities,
        labels,
        embedding,
    )


def _vector(values: Any, name: str) -> Tensor | None:
    """The numbers of a list, an array or a tensor, of one dimension or one row; None for another."""
    if isinstance(values, Tensor):
        vector = values.detach().double().cpu()
    elif hasattr(values, "__array__"):
        vector = torch.as_tensor(values.__array__()).double()
    elif isinstance(values, Sequence) and not isinstance(values, (str, bytes)):
        if len(values) == 1 and isinstance(values[0], Sequence):
            values = values[0]
        if not all(isinstance(x, Real) and not isinstance(x, bool) for x in values):
            raise ProbeError(f"{name} must be numbers; one is not.")
        vector = torch.tensor([float(x) for x in values], dtype=torch.float64)
    else:
        return None
    vector = vector.squeeze(0) if vector.dim() == 2 and len(vector) == 1 else vector
    if vector.dim() != 1 or not len(vector):
        raise ProbeError(
            f"{name} must be one row of numbers for one request; got shape {tuple(vector.shape)}."
        )
    if not bool(vector.isfinite().all()):
        raise ProbeError(f"{name} must be finite; it holds nan or an infinity.")
    return vector


def _is_distribution(vector: Tensor) -> bool:
    return bool((vector >= 0).all()) and abs(float(vector.sum()) - 1.0) < _SLACK
