"""The frozen blocks below the first adapter: run once an example, not once a step."""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from dropkit.finetuning.settings import Settings
from dropkit.finetuning.tasks import Work

#: States that are kept, in bytes, at most.
_MOST_BYTES = 1 << 30

#: What a model reads in place of its tokens.
_EMBEDDED = "inputs_embeds"


class Trunk:
    """Blocks that no training changes and in which nothing drops, so that what they give is known.

    Right padding and causal attention keep an example's states from depending on its batch. Each
    is computed alone, so that it is the same to the bit whenever the run is gone on with.

    Args:
        blocks: All of the model's.
        n: How many of them are the trunk.
        model: Whose they are.
    """

    def __init__(self, model: nn.Module, blocks: nn.ModuleList, n: int) -> None:
        self._model, self._blocks, self._n = model, blocks, n
        self._trunk = list(blocks[:n])
        self._states: dict[tuple[int, ...], Tensor] = {}

    @classmethod
    def of(cls, model: nn.Module, settings: Settings, examples: Sequence[Any]) -> "Trunk | None":
        """That of a model with adapters in its last blocks; None where it has none to speak of.

        Args:
            model: Within PEFT.
            settings: Of the run.
            examples: All that will be read.
        """
        if settings.is_full or not settings.last_layers or settings.site_rates:
            return None
        inner: Any = model.get_base_model()  # type: ignore[operator]
        inner = getattr(inner, getattr(inner, "base_model_prefix", ""), None)
        blocks = getattr(inner, "layers", None)
        # With rotary embeddings nothing but the blocks reads positions: Llama and its kin.
        if not isinstance(blocks, nn.ModuleList) or not hasattr(inner, "rotary_emb"):
            return None
        n = len(blocks) - settings.last_layers
        width = next(blocks.parameters()).element_size() * inner.config.hidden_size
        if n < 1 or width * sum(len(one.input_ids) for one in examples) > _MOST_BYTES:
            return None
        return cls(model, blocks, n)

    def collate(self, work: Work, batch: Sequence[Any]) -> dict[str, Tensor]:
        """A batch in which the trunk's states stand in place of the tokens."""
        made = work.collate(batch)
        ids = made.pop("input_ids")
        states = [self._state(one.input_ids) for one in batch]
        padded = states[0].new_zeros(*ids.shape, states[0].shape[-1])
        for row, state in zip(padded, states, strict=True):
            row[: len(state)] = state
        return {_EMBEDDED: padded, **made}

    @contextlib.contextmanager
    def skipped(self) -> Iterator[None]:
        """A block in which the model reads what `collate` gives: the trunk hands it on."""
        with self._with([_Passed() for _ in range(self._n)]):
            yield

    @contextlib.contextmanager
    def _with(self, blocks: Sequence[nn.Module]) -> Iterator[None]:
        """Others in place of the trunk's."""
        held = [self._blocks[k] for k in range(self._n)]
        for k, block in enumerate(blocks):
            self._blocks[k] = block
        try:
            yield
        finally:
            for k, block in enumerate(held):
                self._blocks[k] = block

    def fill(self, examples: Sequence[Any]) -> None:
        """Run the trunk on what has not been through it yet."""
        for one in examples:
            self._state(one.input_ids)

    def _state(self, ids: Sequence[int]) -> Tensor:
        key = tuple(ids)
        if key not in self._states:
            self._states[key] = self._run(key)
        return self._states[key]

    def _run(self, ids: tuple[int, ...]) -> Tensor:
        found: list[Tensor] = []

        def catch(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            found.append(args[0] if args else kwargs["hidden_states"])
            raise _Reached

        first = self._blocks[self._n]
        handle = first.register_forward_pre_hook(catch, with_kwargs=True)
        was_training = self._model.training
        self._model.eval()
        device = next(self._model.parameters()).device
        try:
            with torch.no_grad(), self._with(self._trunk):
                self._model(input_ids=torch.tensor([ids], device=device))
        except _Reached:
            pass
        finally:
            handle.remove()
            self._model.train(was_training)
        return found[0][0].clone()


class _Reached(Exception):  # noqa: N818 - nothing is wrong
    """The trunk has been run."""


class _Passed(nn.Module):
    """A block that hands on what it is given."""

    def forward(self, hidden_states: Tensor, *_: Any, **__: Any) -> Tensor:
        return hidden_states
