"""How likely a model finds each token of an example."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from dropkit.errors import DataError
from dropkit.finetuning.memorizing._examples import Encoded
from dropkit.finetuning.memorizing._model import device_of, logits_of

_LEAST = -1e4  # a token that a model rules out adds nothing to an expectation
_LEAST_SPREAD = 1e-4  # of the log probabilities of a position, where the model is sure


@dataclass(frozen=True, eq=False)
class Scores:
    """Of ``m`` tokens with loss, each given all tokens before it; natural logarithms.

    Attributes:
        log_probabilities: ``(m,)`` float64.
        surprises: ``(m,)`` float64: the same, less its expectation under the model and divided by
            its standard deviation there.
    """

    log_probabilities: Tensor
    surprises: Tensor

    @property
    def loss(self) -> float:
        """Mean token loss, in nats."""
        return -float(self.log_probabilities.mean())

    def min_k(self, share: float) -> float:
        """Mean of the lowest `share` of the log probabilities, at least of one."""
        return _mean_of_lowest(self.log_probabilities, share)

    def min_k_plus_plus(self, share: float) -> float:
        """Mean of the lowest `share` of the surprises, at least of one."""
        return _mean_of_lowest(self.surprises, share)


def _mean_of_lowest(values: Tensor, share: float) -> float:
    n = max(1, int(len(values) * share))
    return float(values.topk(n, largest=False).values.mean())


def scored(
    model: nn.Module, examples: Sequence[Encoded], name: str, batch_size: int
) -> list[Scores]:
    """The scores of each example.

    Args:
        model: Quiet.
        examples: Any number.
        name: Of the argument they came by.
        batch_size: Examples a forward.

    Raises:
        DataError: A token's probability is not a number, or is 0.
    """
    found: dict[int, Scores] = {}
    for i, logs, targets in _token_logs(model, examples, name, batch_size):
        own = _of(logs, targets)
        chances = logs.exp()
        mean = (chances * logs.clamp(min=_LEAST)).sum(-1)
        spread = (chances * (logs.clamp(min=_LEAST) - mean.unsqueeze(-1)).square()).sum(-1).sqrt()
        surprises = (own - mean) / spread.clamp(min=_LEAST_SPREAD)
        found[i] = Scores(own.double().cpu(), surprises.double().cpu())
    in_order = [found[i] for i in range(len(examples))]
    _check_finite([scores.log_probabilities for scores in in_order], name)
    return in_order


def total_logs(model: nn.Module, examples: Sequence[Encoded], name: str, batch_size: int) -> Tensor:
    """The log probability of all tokens with loss of each example: ``(n,)`` float64.

    Arguments and errors are those of `scored`.
    """
    found: dict[int, Tensor] = {}
    for i, logs, targets in _token_logs(model, examples, name, batch_size):
        found[i] = _of(logs, targets).double().cpu()
    in_order = [found[i] for i in range(len(examples))]
    _check_finite(in_order, name)
    return torch.stack([logs.sum() for logs in in_order])


def _of(logs: Tensor, targets: Tensor) -> Tensor:
    return logs.gather(-1, targets.unsqueeze(-1)).squeeze(-1)


def _check_finite(logs: Sequence[Tensor], name: str) -> None:
    bad = [i for i, x in enumerate(logs) if not bool(x.isfinite().all())]
    if bad:
        raise DataError(
            f"`model` must give each token a finite log probability; got others for {len(bad)} of "
            f"{len(logs)} examples of `{name}`, the first of them example {bad[0]}."
        )


def _token_logs(
    model: nn.Module, examples: Sequence[Encoded], name: str, batch_size: int
) -> Iterator[tuple[int, Tensor, Tensor]]:
    """(example, ``(m, V)`` log probabilities, ``(m,)`` ids that came) at its tokens with loss.

    Examples of about one length share a batch, filled up behind their ends: a causal model does not
    look there.
    """
    device = device_of(model)
    order = sorted(range(len(examples)), key=lambda i: len(examples[i].ids))
    for first in range(0, len(order), batch_size):
        which = order[first : first + batch_size]
        ids = pad_sequence([examples[i].ids for i in which], batch_first=True).to(device)
        logits = logits_of(model(ids), ids)
        n_words = logits.shape[-1]
        for row, i in enumerate(which):
            places = examples[i].is_counted.nonzero().squeeze(-1).to(device)
            targets = ids[row, places]
            if not 0 <= int(targets.min()) <= int(targets.max()) < n_words:
                raise DataError(
                    f"example {i} of `{name}` must have ids in [0, {n_words}), the width of the "
                    "model's logits; got others."
                )
            yield i, logits[row, places - 1].float().log_softmax(-1), targets
