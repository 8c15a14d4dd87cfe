"""Verbatim extraction: does a model go on as its training data did?"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from dropkit.core.estimate import Estimate
from dropkit.errors import DataError, MissingExtraError
from dropkit.finetuning.memorizing._examples import Encoded
from dropkit.finetuning.memorizing._intervals import share
from dropkit.finetuning.memorizing._model import greedy

#: The BLEU above which a continuation is nearly the true one.
NEAR = 0.75


@dataclass(frozen=True)
class Matches:
    """Of one set of examples.

    Attributes:
        exact: Share of examples whose continuation is the true one, token by token.
        near: Share whose continuation is the true one or has a BLEU (of up to four tokens, without
            smoothing) above 0.75 against it.
        n: Examples asked.
        n_too_short: Examples left out, which have not as many tokens with loss in a row.
    """

    exact: Estimate
    near: Estimate
    n: int
    n_too_short: int


@dataclass(frozen=True)
class Extraction:
    """Greedy continuation of a prefix, which stands where it stood in training.

    Of an example the first ``prefix + continuation`` tokens in a row that have a loss are looked
    at. The model is told all that stands before them and the first `prefix` of them, and must say
    the rest. Of a plain text the prefix is thus its beginning; of a chat the model is told the
    question and the beginning of the answer.

    Attributes:
        prefix: Its length in tokens, ``k``.
        continuation: Tokens that must match.
        train: Of the training examples.
        held_out: The same of examples that were not trained on: what a model says anyway, because
            it is to be expected.
    """

    prefix: int
    continuation: int
    train: Matches
    held_out: Matches


def extractions(
    model: nn.Module,
    train: Sequence[Encoded],
    held_out: Sequence[Encoded],
    *,
    prefixes: Sequence[int],
    continuation: int,
    batch_size: int,
    confidence: float,
) -> tuple[Extraction, ...]:
    """One extraction for each length of prefix.

    Args:
        model: Quiet.
        train: At least one.
        held_out: At least one.
        prefixes: Whole numbers above 0; may be empty.
        continuation: Likewise.
        batch_size: Examples a forward.
        confidence: Of the intervals.

    Raises:
        DataError: No example of a set is long enough.
        MissingExtraError: torchmetrics is not installed.

    Source:
        Carlini et al. 2021, USENIX Security, arXiv:2012.07805; Carlini et al. 2023, ICLR,
        arXiv:2202.07646, section 3 (greedy, a prefix of ``k`` tokens; theirs loses what stood
        before it); near matches: Ippolito et al. 2023, INLG, arXiv:2210.17546.
    """
    sides = {"train": train, "held_out": held_out}
    found = []
    for k in prefixes:
        places = {name: _places(side, k, continuation, name) for name, side in sides.items()}
        matches = {
            name: _matches(model, side, places[name], continuation, batch_size, confidence)
            for name, side in sides.items()
        }
        found.append(Extraction(k, continuation, **matches))
    return tuple(found)


def _places(examples: Sequence[Encoded], k: int, n: int, name: str) -> dict[int, int]:
    """Where the continuation begins, by number of the example, where it has one."""
    found = {}
    for i, example in enumerate(examples):
        is_trained = example.is_counted.clone()
        is_trained[0] = is_trained[1]  # the first token has no loss, but a text begins with it
        if len(is_trained) >= k + n:
            begins = is_trained.unfold(0, k + n, 1).all(1).nonzero()
            if len(begins):
                found[i] = k + int(begins[0])
    if not found:
        raise DataError(
            f"`{name}` must hold an example with {k} + {n} tokens with loss in a row, prefix and "
            "continuation; none is long enough. Give smaller `prefixes` or `continuation`, or no "
            "prefixes."
        )
    return found


def _matches(
    model: nn.Module,
    examples: Sequence[Encoded],
    places: dict[int, int],
    n: int,
    batch_size: int,
    confidence: float,
) -> Matches:
    order = sorted(places.items(), key=lambda place: place[1])  # of about one length together
    n_exact = n_near = 0
    for first in range(0, len(order), batch_size):
        batch = [(examples[i].ids, at) for i, at in order[first : first + batch_size]]
        said = greedy(model, [ids[:at] for ids, at in batch], n)
        for ours, (ids, at) in zip(said, batch, strict=True):
            theirs = ids[at : at + n]
            is_exact = torch.equal(ours, theirs)
            n_exact += is_exact
            n_near += is_exact or _bleu(ours, theirs) > NEAR
    return Matches(
        share(n_exact, len(places), confidence),
        share(n_near, len(places), confidence),
        len(places),
        len(examples) - len(places),
    )


def _bleu(ours: Tensor, theirs: Tensor) -> float:
    try:
        from torchmetrics.functional.text import bleu_score  # noqa: PLC0415 - in an extra
    except ImportError as error:
        message = "near matches need torchmetrics: pip install 'dropkit[finetune]'."
        raise MissingExtraError(message) from error
    words = [" ".join(map(str, ids.tolist())) for ids in (ours, theirs)]
    return float(bleu_score([words[0]], [[words[1]]]))
