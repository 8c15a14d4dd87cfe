"""Secrets that are planted in the training data, to see what comes out again."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dropkit.errors import OptionError


@dataclass(frozen=True)
class Canary:
    """A secret behind a prefix; it is itself an example to train on, with loss on every token.

    Attributes:
        prefix: Token ids before the secret, at least one.
        secret: Token ids, each of the alphabet.
        alphabet: What each token of a secret was drawn from: the space of secrets has
            ``len(alphabet) ** len(secret)`` of them.
        repeats: How often it was planted; 0 for one that was not, to compare with.

    Raises:
        OptionError: The prefix or the secret is empty, the alphabet holds less than two tokens or
            one twice, a token of the secret is not of it, or `repeats` is below 0.
    """

    prefix: tuple[int, ...]
    secret: tuple[int, ...]
    alphabet: tuple[int, ...]
    repeats: int = 1

    def __post_init__(self) -> None:
        for name in ("prefix", "secret"):
            if not getattr(self, name):
                raise OptionError(f"`{name}` must hold at least one token; got none.")
        if len(self.alphabet) < 2 or len(set(self.alphabet)) < len(self.alphabet):
            raise OptionError(
                f"`alphabet` must hold at least two tokens, each once; got {len(self.alphabet)} "
                f"of which {len(set(self.alphabet))} differ."
            )
        if not set(self.secret) <= set(self.alphabet):
            raise OptionError("`secret` must be of tokens of the alphabet; got others.")
        if self.repeats < 0:
            raise OptionError(f"`repeats` must be at least 0; got {self.repeats!r}.")

    @property
    def bits(self) -> float:
        """The size of the space of secrets, as its logarithm to base 2."""
        return len(self.secret) * math.log2(len(self.alphabet))

    @property
    def input_ids(self) -> list[int]:
        """Prefix and secret."""
        return [*self.prefix, *self.secret]

    @property
    def labels(self) -> list[int]:
        """The same: each token has a loss."""
        return self.input_ids


def plant_canaries(
    train: Sequence[Any],
    *,
    prefix: Sequence[int],
    alphabet: Sequence[int],
    length: int = 6,
    repeats: Sequence[int] = (0, 1, 4, 16),
    seed: int = 0,
) -> tuple[list[Any], tuple[Canary, ...]]:
    """Draw secrets, and put each as often as it says at random places among the examples.

    Args:
        train: Examples, left as they are.
        prefix: Token ids before each secret, at least one.
        alphabet: Token ids that secrets are made of, at least two; those of the ten digits say.
        length: Tokens of a secret, at least 1.
        repeats: For each canary how often it is planted; 0 draws one to compare with.
        seed: Of the secrets and the places.

    Returns:
        The examples with the canaries among them, and the canaries in the order of `repeats`.

    Raises:
        OptionError: An argument is not as above, or there are more canaries than secrets.

    Source:
        Carlini et al. 2019, USENIX Security, arXiv:1802.08232.

    >>> examples = [torch.tensor([1, 2, 3])]
    >>> planted, canaries = plant_canaries(examples, prefix=[7], alphabet=range(10), repeats=(0, 2))
    >>> len(planted), [canary.repeats for canary in canaries]
    (3, [0, 2])
    """
    if length < 1:
        raise OptionError(f"`length` must be at least 1; got {length!r}.")
    if len(repeats) > len(alphabet) ** length:
        raise OptionError(
            f"`repeats` must ask for no more canaries than there are secrets, "
            f"{len(alphabet) ** length}; got {len(repeats)}."
        )
    draw = np.random.default_rng(seed)
    secrets: dict[tuple[int, ...], None] = {}  # in the order drawn, each once
    while len(secrets) < len(repeats):
        places = draw.integers(len(alphabet), size=length)
        secrets[tuple(alphabet[int(i)] for i in places)] = None
    canaries = tuple(
        Canary(tuple(prefix), secret, tuple(alphabet), n)
        for secret, n in zip(secrets, repeats, strict=True)
    )
    planted = list(train)
    for canary in canaries:
        for _ in range(canary.repeats):
            planted.insert(int(draw.integers(len(planted) + 1)), canary)
    return planted, canaries
