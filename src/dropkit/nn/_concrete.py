"""Dropout whose rate is learned."""

import math
from typing import Any

import torch
from torch import Tensor, nn

from dropkit.core.rate import STEPS, threshold_from_rate
from dropkit.errors import OptionError, RateError
from dropkit.functional._concrete import apply_concrete, check_temperature
from dropkit.nn._layer import Layer


class ConcreteDropout(Layer):
    """In training, relaxed dropout on the input of `module`, at a rate that is learned.

    The rate is ``sigmoid(p_logit)``, a parameter like any other; see
    `dropkit.functional.concrete_dropout` for what it does. It is learned from the data against the
    pull of `regularization`, to be added to the loss. A layer of convolutions drops whole channels
    of an example. In eval the module is called as it is.

    For a loss that is the mean over examples of the negative log likelihood, N examples in all and
    a prior length scale ``l``, `weight_regularizer` is ``l ** 2 / (2 * N)`` and
    `dropout_regularizer` is ``1 / N``.

    Args:
        module: The layer behind the dropout; its parameters of two or more dimensions are its
            weights. Its keys in the state dict have ``module.`` in front.
        p: Drop rate in (0, 1) to begin with. Reading `p` gives the rate of now as a number,
            setting it sets `p_logit`; set to 0, it stays there.
        temperature: Above 0; the lower, the nearer to dropout.
        weight_regularizer: Of the squares of the weights, at least 0.
        dropout_regularizer: Of the entropy of the rate, at least 0.
        n_inputs: Of `module`; None takes its ``in_features`` or ``in_channels``.

    Shape:
        Those of `module`.

    Raises:
        RateError: `p` is outside (0, 1) or nan.
        OptionError: `temperature` is not above 0, a regularizer is below 0, or `n_inputs` is None
            and the module does not have it.

    Source:
        Gal, Hron and Kendall 2017, NeurIPS, arXiv:1705.07832.

    >>> layer = ConcreteDropout(nn.Linear(8, 4), p=0.1)
    >>> layer
    ConcreteDropout(
      p=0.1, temperature=0.1
      (module): Linear(in_features=8, out_features=4, bias=True)
    )
    >>> loss = layer(torch.ones(2, 8)).square().mean() + layer.regularization()
    >>> loss.backward()
    >>> layer.p_logit.grad is None
    False
    """

    p_logit: nn.Parameter

    def __init__(
        self,
        module: nn.Module,
        p: float = 0.1,
        *,
        temperature: float = 0.1,
        weight_regularizer: float = 1e-6,
        dropout_regularizer: float = 1e-5,
        n_inputs: int | None = None,
    ) -> None:
        if self.threshold_of(p) == 0:
            raise RateError(f"`p` must be above 0 to be learned; got {p!r}.")
        check_temperature(temperature)
        super().__init__(p)
        for weight in module.parameters():
            self.p_logit.data = self.p_logit.data.to(weight.device)
        self.module = module
        self.temperature = temperature
        self.weight_regularizer = _checked(weight_regularizer, "weight_regularizer")
        self.dropout_regularizer = _checked(dropout_regularizer, "dropout_regularizer")
        self.n_inputs = _n_inputs(module) if n_inputs is None else n_inputs

    @property
    def p(self) -> float:
        """The drop rate of now; a number, without a gradient."""
        return float(self.p_logit.detach().sigmoid())

    @p.setter
    def p(self, rate: float) -> None:
        self.threshold_of(rate)
        logit = math.log(rate) - math.log1p(-rate) if rate > 0 else -math.inf
        if hasattr(self, "p_logit"):
            self.p_logit.data.fill_(logit)
        else:
            self.p_logit = nn.Parameter(torch.tensor(logit))

    @staticmethod
    def threshold_of(p: float) -> int:
        """`p` times 65536, rounded.

        Raises:
            RateError: `p` is outside [0, 1) or nan.
        """
        threshold = threshold_from_rate(p)
        if threshold == STEPS:
            raise RateError(f"`p` must be a drop rate below 1 for concrete dropout; got {p!r}.")
        return threshold

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Any:
        """Call the module on `x`, in training with elements or channels of it dropped."""
        if self.training:
            shape = list(x.shape)
            if hasattr(self.module, "in_channels"):
                shape[2:] = [1] * len(shape[2:])
            x = apply_concrete(x, self.p_logit, self.temperature, shape, site=self)
        return self.module(x, *args, **kwargs)

    def regularization(self) -> Tensor:
        """What is to be added to the loss: ``()``, with gradients for weights and rate.

        ``weight_regularizer * sum(weight ** 2) / (1 - p)
        + dropout_regularizer * n_inputs * (p * log(p) + (1 - p) * log(1 - p))``
        """
        squares = sum(
            (w.square().sum() for w in self.module.parameters() if w.dim() >= 2),
            torch.zeros_like(self.p_logit),
        )
        of_weights = squares * (1 + self.p_logit.exp())
        # Beyond 30 the entropy is below 1e-11; a rate of 0, at minus infinity, stays there.
        logit = self.p_logit.clamp(-30, 30)
        entropy = nn.functional.softplus(logit) - logit * logit.sigmoid()
        return (
            self.weight_regularizer * of_weights
            - self.dropout_regularizer * self.n_inputs * entropy
        )

    def extra_repr(self) -> str:
        """What stands between the brackets of the repr."""
        return f"p={self.p:.3g}, temperature={self.temperature}"


def _checked(regularizer: float, name: str) -> float:
    if not regularizer >= 0:  # nan fails this too
        raise OptionError(f"`{name}` must be at least 0; got {regularizer!r}.")
    return regularizer


def _n_inputs(module: nn.Module) -> int:
    for name in ("in_features", "in_channels"):
        if hasattr(module, name):
            return int(getattr(module, name))
    raise OptionError(
        f"`n_inputs` must be given: {type(module).__name__} has neither `in_features` nor "
        "`in_channels`."
    )
