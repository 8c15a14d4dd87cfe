"""Predict with many sub-networks of a model."""

from collections.abc import Callable
from typing import Any, cast, get_args

import torch
from torch import Tensor, nn

from dropkit.core.address import as_u64
from dropkit.core.scope import Rows
from dropkit.errors import OptionError, ShapeError, SiteError
from dropkit.sites.untouched import untouched
from dropkit.uncertainty._passes import Passes
from dropkit.uncertainty._prediction import Kind, MCPrediction, summarized
from dropkit.uncertainty._sampling import (
    Batch,
    Only,
    SubNetwork,
    awakened,
    check_finite,
    check_ids,
    picked,
    rows_of,
    uncompiled,
)

#: With a tolerance, examples are judged each time they have got as many samples more.
BLOCK = 8
#: Bytes that one forward of several sub-networks may hold.
MEMORY_BUDGET = 64 << 20


def mc_predict(  # noqa: PLR0913 - one call, of which all but model and batch may be left out
    model: nn.Module,
    batch: Any,
    samples: int = 32,
    *,
    only: Only = None,
    tolerance: float | None = None,
    ids: Rows = None,
    seed: int = 0,
    output: Callable[[Any], Tensor] | None = None,
    kind: Kind = "classification",
    memory_budget: int = MEMORY_BUDGET,
) -> MCPrediction:
    """Ask many sub-networks of `model`, and say where they agree.

    Dropout is on at every site, or at those that `only` names, and all else is as in use: batch
    norm in eval mode, no gradients. What comes before the first mask is computed once, and
    sub-networks share forwards within `memory_budget`. The model and torch's generators are left
    as they were to the bit, also where an error is raised.

    A sub-network has a name, (`seed`, its number, the example's id): its masks are bit for bit the
    same in any batch, order, process and machine, as long as the example has the same shape; pad
    texts to one length. So its answers are equal up to the rounding of matrix products, which may
    depend on the size of a batch.

    Args:
        model: Any module whose first dimension is the batch.
        batch: What the model is called with: a tensor, a tuple of arguments, or a mapping of names
            to arguments.
        samples: How many sub-networks, at least 2.
        only: Glob patterns over the names that `find_sites` gives; None for all sites.
        tolerance: Above 0: stop sampling an example when the greatest standard error of its mean
            is at most that, judged after each 8 samples; `samples` is then the most it gets. An
            example whose rare masks were all alike so far stops too.
        ids: A whole number an example, or the first of a row of them; None counts from 0.
        seed: A whole number in [0, 2**64).
        output: Picks a floating tensor ``(B, *)`` from what the model gives; None takes its
            ``logits`` or the first floating tensor.
        kind: ``"classification"`` takes a softmax over the last dimension, ``"regression"`` the
            numbers as they are.
        memory_budget: Bytes that a forward of several sub-networks may hold beside parameters,
            arguments and what comes before the first mask; how many run at once follows from what
            the first of them held. 0 runs one after another, and then answers are to the bit
            those of `replay`. Models of which sub-networks cannot share a forward run so anyway:
            where a weight or a whole layer is dropped, examples are read together, or numbers
            are drawn that are not dropkit's.

    Raises:
        SiteError: The model has no dropout, `only` matches none, or no mask was drawn.
        OptionError: `samples`, `tolerance`, `kind`, `output` or `memory_budget` is not as above.
        ShapeError: The batch is empty, `ids` does not fit it, or the output has no row an example.
        AddressError: `seed` or an id is not such a number; or, with `ids` or `tolerance`, a tensor
            that is dropped has other things than the examples in its first dimension.
        DataError: A sub-network's answer is not finite.

    Source:
        Gal and Ghahramani 2016, ICML, arXiv:1506.02142.

    >>> model = nn.Sequential(nn.Linear(4, 64), nn.ReLU(), nn.Dropout(0.5), nn.Linear(64, 3))
    >>> prediction = mc_predict(model, torch.ones(5, 4), samples=8)
    >>> prediction.mean.shape, prediction.entropy.shape, prediction.samples_used.tolist()
    (torch.Size([5, 3]), torch.Size([5]), [8, 8, 8, 8, 8])
    >>> sub_network = prediction.replay(3)
    >>> again = sub_network(torch.ones(5, 4)).double().softmax(-1)
    >>> torch.allclose(again, prediction.answers[3], atol=1e-6)
    True
    """
    _check_options(samples, tolerance, kind, memory_budget)
    as_u64(seed, "seed")
    model = uncompiled(model)
    asked = Batch(batch)
    check_ids(ids, asked.n)
    rows = None if ids is None and tolerance is None else rows_of(ids, asked.n)

    def sub_network(k: int, others: Rows) -> nn.Module:
        own = ids if others is None else others
        return SubNetwork(model, only=only, seed=seed, sample=k, ids=own)

    step = samples if tolerance is None else BLOCK
    answers: list[Tensor] = []
    open_ones = torch.arange(asked.n, device="cpu")

    def answer(out: Any, n: int, first: int) -> Tensor:
        return _answer(picked(out, output), n, first, kind)

    passes = Passes(model, asked, seed, answer, memory_budget)
    with untouched(model), torch.no_grad(), awakened(model, only), passes:
        while len(answers) < samples and len(open_ones):
            names = None if rows is None else rows[open_ones]
            until = min(samples, (len(answers) // step + 1) * step)
            found = passes.answers(range(len(answers), until), open_ones, names)
            if not passes.has_drawn:
                raise SiteError(_NOTHING_DRAWN)
            answers += [_spread(one, open_ones, asked.n) for one in found]
            if tolerance is not None and len(answers) % step == 0:
                still = _is_open(torch.stack(answers)[:, open_ones], tolerance)
                if not still.all():
                    open_ones = open_ones[still]
                    passes.forget()
    return summarized(torch.stack(answers), kind, sub_network)


_NOTHING_DRAWN = (
    "`model` must draw a mask at a site that `only` names; none was drawn. "
    "Look with dropkit.find_sites(model, batch) whether their rates are above 0."
)


def _check_options(samples: int, tolerance: float | None, kind: str, memory_budget: int) -> None:
    if not isinstance(cast(object, samples), int) or samples < 2:
        raise OptionError(f"`samples` must be a whole number of at least 2; got {samples!r}.")
    if tolerance is not None and not tolerance > 0.0:  # nan fails this too
        raise OptionError(f"`tolerance` must be above 0; got {tolerance!r}.")
    if kind not in get_args(Kind):
        known = " or ".join(map(repr, get_args(Kind)))
        raise OptionError(f"`kind` must be {known}; got {kind!r}.")
    if not isinstance(cast(object, memory_budget), int) or memory_budget < 0:
        raise OptionError(
            f"`memory_budget` must be a whole number of bytes, 0 or more; got {memory_budget!r}."
        )


def _answer(found: Tensor, n: int, sample: int, kind: Kind) -> Tensor:
    """What a sub-network says, ``(n, *)`` float64."""
    least = 2 if kind == "classification" else 1
    if found.dim() < least or found.shape[0] != n or 0 in found.shape:
        rule = "(B, ..., C)" if kind == "classification" else "(B, ...)"
        raise ShapeError(
            f"`output` must have the shape {rule} with {n} examples first; got "
            f"{tuple(found.shape)}."
        )
    check_finite(found, sample)
    return found.double().softmax(-1) if kind == "classification" else found.double()


def _spread(answers: Tensor, which: Tensor, n: int) -> Tensor:
    """The answers at the places of their examples among `n`, nan for all others."""
    if len(which) == n:
        return answers
    all_of_them = answers.new_full((n, *answers.shape[1:]), torch.nan)
    all_of_them[which.to(answers.device)] = answers
    return all_of_them


def _is_open(answers: Tensor, tolerance: float) -> Tensor:
    """Which of ``(S, B, *)`` have a standard error of the mean above the tolerance: ``(B,)``."""
    errors = answers.std(0) / len(answers) ** 0.5
    worst = errors.flatten(1).amax(1) if errors.dim() > 1 else errors
    is_open: Tensor = worst > tolerance
    return is_open.cpu()
