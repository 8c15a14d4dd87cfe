"""The blocks below the first one that is trained say the same every time: they are asked once."""

import contextlib
import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from dropkit.sites.find import find_sites

#: What is remembered, at most; what comes after that is computed each time.
MOST_MIB = 1024.0

_INPUTS = {"input_ids", "attention_mask", "labels", "return_dict"}


@contextlib.contextmanager
def remember_prefix(model: nn.Module, *, most_mib: float = MOST_MIB) -> Iterator[int]:
    """Inside the block the frozen blocks of `model` below the first trained one run once a text.

    Each text is run alone, without padding, so that what is remembered does not depend on the batch
    that it first came in: a run that goes on from a checkpoint gets the same bits. They are those of
    a padded batch but for rounding. A batch that is padded in front, or goes on from a cache of keys
    and values, as in generation, runs through all blocks.

    Nothing is remembered where that could be wrong or gains nothing: dropout acts below the first
    trained block or beside the blocks, something there is trained, or the model is not one of
    transformers on a CPU.

    Args:
        model: On transformers' `PreTrainedModel`, or an adapter of PEFT around one. Its rates and
            what is trained must not change inside the block.
        most_mib: Of memory for what is remembered, 4 bytes times width times tokens.

    Yields:
        How many blocks are spared; 0 where nothing is remembered.
    """
    found = _find(model)
    if found is None:
        yield 0
        return
    body, blocks, n_frozen = found
    prefix = _Prefix(body, n_frozen, int(most_mib * 2**20))
    with contextlib.ExitStack() as steps:
        for k, block in enumerate(blocks):
            steps.callback(_put_back, block, vars(block).get("forward"))
            vars(block)["forward"] = partial(prefix.run, k, block.forward)
        handle = body.register_forward_pre_hook(prefix.before, with_kwargs=True)
        steps.callback(handle.remove)
        steps.callback(body.register_forward_hook(prefix.after, always_call=True).remove)
        yield n_frozen


def _put_back(block: nn.Module, own: Any) -> None:
    """The class's ``forward`` again, or the block's own where it had one."""
    vars(block).pop("forward", None)
    if own is not None:
        vars(block)["forward"] = own


def _find(model: nn.Module) -> tuple[nn.Module, nn.ModuleList, int] | None:
    """The part with the blocks, these, and how many at its begin are frozen and drop nothing."""
    base = getattr(model, "get_base_model", lambda: model)()
    body = getattr(base, "base_model", None)
    n_blocks = getattr(getattr(base, "config", None), "num_hidden_layers", 0)
    if not isinstance(body, nn.Module):
        return None
    if any(getattr(module, "gradient_checkpointing", False) for module in body.modules()):
        return None  # what is run again in the backward pass would not know its batch
    if any(p.device.type != "cpu" for p in body.parameters()):
        return None
    named = {
        name: module
        for name, module in body.named_modules()
        if isinstance(module, nn.ModuleList) and len(module) == n_blocks
    }
    if len(named) != 1:
        return None
    (path, blocks), *_ = named.items()
    moving = {name for name, p in body.named_parameters() if p.requires_grad}
    moving |= {site.name for site in find_sites(body) if site.rate != 0.0}
    numbers = {_block_of(name, path) for name in moving}
    if None in numbers:
        return None
    first = min((k for k in numbers if k is not None), default=0)
    return (body, blocks, first) if first else None


def _block_of(name: str, path: str) -> int | None:
    """The number of the block that `name` lies in; None beside the blocks."""
    inside = name.removeprefix(f"{path}.")
    number = inside.partition(".")[0]
    return int(number) if inside != name and number.isdigit() else None


@dataclass
class _Prefix:
    """What the frozen blocks said, by text.

    Attributes:
        body: The part with the blocks.
        n_frozen: How many are frozen.
        most_bytes: To keep, at most.
    """

    body: nn.Module
    n_frozen: int
    most_bytes: int
    said: dict[bytes, Tensor] = field(default_factory=dict)
    n_bytes: int = 0
    given: Tensor | None = None  # what the frozen blocks say to the batch at hand
    heard: list[Tensor] | None = None  # where the last of them is listened to
    is_usable: bool = True

    def before(self, _: nn.Module, arguments: tuple[Any, ...], named: Mapping[str, Any]) -> None:
        """Look up each text of a batch; those that are new run alone."""
        if self.heard is not None:
            return
        texts = self._texts(arguments, named) if self.is_usable else None
        rows = [self._row(text) for text in texts or ()]
        known = [row for row in rows if row is not None]
        if not known or len(known) < len(rows):
            return
        self.given = nn.utils.rnn.pad_sequence(known, batch_first=True)

    def after(self, *_: Any) -> None:
        """The batch is done."""
        if self.heard is None:
            self.given = None

    def run(self, k: int, forward: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        """Block `k`: itself, or what it said before."""
        hidden = arguments[0] if arguments else named.get("hidden_states")
        if self.heard is not None and k >= self.n_frozen and self.is_usable:
            if k == self.n_frozen and isinstance(hidden, Tensor):
                self.heard.append(hidden)
            return hidden
        if self.given is not None and k < self.n_frozen:
            return self.given if k == 0 else hidden
        output = forward(*arguments, **named)
        self.is_usable &= isinstance(output, Tensor)  # an older block, which gives a tuple
        return output

    def _texts(
        self, arguments: tuple[Any, ...], named: Mapping[str, Any]
    ) -> list[Tensor] | None:
        """Each row without its padding; None where a batch is more than texts padded behind."""
        bound = inspect.signature(self.body.forward).bind_partial(*arguments, **named)
        given = dict(bound.arguments)
        for name, parameter in bound.signature.parameters.items():
            if parameter.kind is parameter.VAR_KEYWORD:
                given |= given.pop(name, {})
        used = {name for name, value in given.items() if value is not None and value is not False}
        ids, mask = given.get("input_ids"), given.get("attention_mask")
        if used - _INPUTS or not isinstance(ids, Tensor) or ids.dim() != 2:
            return None
        if mask is None:
            return list(ids)
        lengths = mask.sum(1) if mask.shape == ids.shape else torch.zeros(len(ids))
        is_behind = torch.arange(ids.shape[1]) < lengths[:, None]
        if not lengths.all() or not torch.equal(is_behind, mask.bool()):
            return None
        if int(lengths.max()) < ids.shape[1]:
            return None  # padded beyond the longest
        return [row[: int(n)] for row, n in zip(ids, lengths, strict=True)]

    def _row(self, text: Tensor) -> Tensor | None:
        key = text.numpy().tobytes()
        if key in self.said:
            return self.said[key]
        found = self._alone(text)
        if found is not None and not self.said and not self._is_fixed(text, found):
            self.is_usable, found = False, None
        size = 0 if found is None else found.numel() * found.element_size()
        if found is not None and self.n_bytes + size <= self.most_bytes:
            self.said[key] = found
            self.n_bytes += size
        return found

    def _alone(self, text: Tensor) -> Tensor | None:
        """``(T, width)``: what the frozen blocks say to one text."""
        self.heard = []
        try:
            with torch.no_grad():
                self.body(input_ids=text[None], attention_mask=torch.ones_like(text)[None])
            return self.heard[0][0] if self.heard and self.is_usable else None
        finally:
            self.heard = None

    def _is_fixed(self, text: Tensor, found: Tensor) -> bool:
        """Whether in training they say the same again: a rate in code is in no list of sites."""
        modes = [(module, module.training) for module in self.body.modules()]
        with torch.random.fork_rng(devices=[]):
            self.body.train()
            again = self._alone(text)
        for module, was_training in modes:
            module.training = was_training
        return again is not None and torch.equal(again, found)
