"""A causal language model read by several of its sub-networks at once."""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any, Self

import torch
from torch import Tensor, nn

from dropkit.core.address import Address
from dropkit.core.naming import named_by
from dropkit.core.ops import mask_tensor
from dropkit.core.samples import ApartError
from dropkit.core.words import drawn_words
from dropkit.errors import DataError, SiteError
from dropkit.sites.untouched import untouched
from dropkit.uncertainty._passes import are_close
from dropkit.uncertainty._sampling import Only, awakened
from dropkit.uncertainty._unrolled import Unrolled


class Readers:
    """Several sub-networks of one model, each with a text of its own.

    Args:
        model: Called as models of transformers are: with `input_ids`, `attention_mask`,
            `use_cache` and the cache of its last output; it gives `logits`.
        samples: The numbers of the sub-networks.
        seed: Of the masks.
        only: The sites that drop; None for all.
        temperature: 0 takes the likeliest token; above 0 tokens are drawn.
        at_once: How many sub-networks share a forward.
    """

    def __init__(
        self,
        model: nn.Module,
        samples: Sequence[int],
        *,
        seed: int,
        only: Only,
        temperature: float,
        at_once: int,
    ) -> None:
        self._model, self._only, self._seed = model, only, seed
        self._temperature = temperature
        self._groups = [samples[at : at + at_once] for at in range(0, len(samples), at_once)]
        self._steps = contextlib.ExitStack()

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            stack.enter_context(untouched(self._model))
            stack.enter_context(torch.no_grad())
            stack.enter_context(awakened(self._model, self._only))
            self._steps = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._steps.close()

    def can_share(self, prompt: Tensor) -> bool:
        """Whether the last of them reads the same among the others as alone, up to rounding."""
        *_, last = self._groups[0]
        alone = self._read([last], prompt)
        try:
            return are_close(self._read(self._groups[0], prompt)[-1:], alone)
        except ApartError:
            return False

    def _read(self, group: Sequence[int], prompt: Tensor) -> Tensor:
        """The logits behind a prompt: ``(n, V)``."""
        with self._opened(group) as scope:
            scope.reads(0, len(prompt))
            read = prompt.expand(len(group), -1)
            logits: Tensor = self._called(read, {}, 0, is_cached=False).logits
        return self._checked(logits[:, -1], group)

    def answers(self, prompt: Tensor, longest: int, ends: frozenset[int]) -> list[tuple[int, ...]]:
        """The tokens with which each goes on after a prompt ``(T,)``, an end token included."""
        found: list[tuple[int, ...]] = []
        for group in self._groups:
            with self._opened(group) as scope:
                found += self._generated(scope, group, prompt, longest, ends)
        return found

    def log_probabilities(self, prompt: Tensor, answer: Tensor) -> Iterator[Tensor]:
        """What each holds of all tokens at each position of an answer: ``(n, L, V)`` a group."""
        text = torch.cat([prompt, answer]).unsqueeze(0)
        for group in self._groups:
            with self._opened(group) as scope:
                scope.reads(0, text.shape[1])
                logits = self._called(text.expand(len(group), -1), {}, 0, is_cached=False).logits
            yield self._checked(logits[:, -1 - len(answer) : -1], group).log_softmax(-1)

    @contextlib.contextmanager
    def _opened(self, group: Sequence[int]) -> Iterator[Unrolled]:
        scope = Unrolled(self._seed, group)
        with named_by(scope):
            yield scope
        if not scope.snapshot():
            raise SiteError(_NOTHING_DRAWN)

    def _generated(
        self,
        scope: Unrolled,
        group: Sequence[int],
        prompt: Tensor,
        longest: int,
        ends: frozenset[int],
    ) -> list[tuple[int, ...]]:
        texts: list[list[int]] = [[] for _ in group]
        is_over = [False] * len(group)
        read, at = prompt.expand(len(group), -1), 0
        cache: dict[str, Any] = {}
        for step in range(longest):
            scope.reads(at, read.shape[1])
            out = self._called(read, cache, at, is_cached=True)
            chosen = self._chosen(self._checked(out.logits[:, -1], group), group, step)
            for i, token in enumerate(chosen.tolist()):
                if not is_over[i]:
                    texts[i].append(token)
                    is_over[i] = token in ends
            if all(is_over):
                break
            cache = _cache_of(out)
            if not cache:  # a model without one reads all of it again
                read = torch.cat([read, chosen.unsqueeze(1)], 1)
            else:
                read, at = chosen.unsqueeze(1), at + read.shape[1]
        return [tuple(text) for text in texts]

    def _called(self, read: Tensor, cache: dict[str, Any], at: int, *, is_cached: bool) -> Any:
        mask = read.new_ones((len(read), at + read.shape[1]))
        return self._model(input_ids=read, attention_mask=mask, use_cache=is_cached, **cache)

    def _checked(self, logits: Tensor, group: Sequence[int]) -> Tensor:
        is_bad = ~logits.isfinite().flatten(1).all(1)
        if bool(is_bad.any()):
            sample = group[int(is_bad.nonzero()[0])]
            raise DataError(
                f"`model` must give finite logits; got nan or an infinity in sample {sample}."
            )
        return logits.float()

    def _chosen(self, logits: Tensor, group: Sequence[int], step: int) -> Tensor:
        """The next token of each: ``(n,)``."""
        if self._temperature == 0.0:
            return logits.argmax(-1)
        shares = (logits.double() / self._temperature).softmax(-1).cumsum(-1)
        root = Address.from_seed(self._seed).fold("tokens")
        words = []
        for k in group:
            address = root.fold(k).fold(step)
            words.append(
                drawn_words(mask_tensor(address.key, address.stream, 1), (1,), logits, None)
            )
        point = (torch.stack(words).double() + 0.5) / 2.0**32 * shares[:, -1:]
        return torch.searchsorted(shares, point).squeeze(1)


def _cache_of(out: Any) -> dict[str, Any]:
    """The cache in a model's output, by the name under which the model takes it again."""
    for name in ("cache", "past_key_values"):  # transformers has renamed it
        cache = getattr(out, name, None)
        if cache is not None:
            return {name: cache}
    return {}


_NOTHING_DRAWN = (
    "`model` must draw a mask at a site that `only` names; none was drawn. Many language models "
    "come with rates of 0: look with dropkit.find_sites(model, batch), and set some with "
    "dropkit.set_rates."
)
