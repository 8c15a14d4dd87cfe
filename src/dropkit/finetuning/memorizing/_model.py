"""How a causal language model is asked: in eval, without dropout, without a trace."""

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from dropkit.errors import OptionError, ShapeError
from dropkit.sites.held import hold
from dropkit.sites.silence import silence


@contextlib.contextmanager
def quiet(model: nn.Module) -> Iterator[None]:
    """Inside the block `model` is in eval and drops nothing; no gradients.

    What the model says is not held back by its settings for generation, such as an end of text or
    a penalty on repetition. Modes, rates, these settings and torch's generator are put back behind
    the block, also where an error is raised.
    """
    with contextlib.ExitStack() as steps:
        steps.enter_context(torch.random.fork_rng(devices=_devices()))
        steps.enter_context(silence(model))
        for module in model.modules():
            hold(module, "training", False, steps)
            if "generation_config" in vars(module):
                hold(module, "generation_config", type(module.generation_config)(), steps)
        steps.enter_context(torch.no_grad())
        yield


def _devices() -> list[int]:
    return list(range(torch.cuda.device_count())) if torch.cuda.is_initialized() else []


def device_of(model: nn.Module) -> torch.device:
    """Where its first parameter lies; the CPU where it has none."""
    return next((p.device for p in model.parameters()), torch.device("cpu"))


def logits_of(output: Any, ids: Tensor) -> Tensor:
    """The scores of the next token, ``(B, T, V)``, in what the model gave for ``(B, T)`` ids.

    Raises:
        OptionError: It gave no floating tensor, nor anything with ``logits``.
        ShapeError: The tensor is not of that shape.
    """
    found = output if isinstance(output, Tensor) else getattr(output, "logits", None)
    if not isinstance(found, Tensor) or not found.is_floating_point():
        raise OptionError(
            "`model` must return a floating tensor or something with `logits`; got a "
            f"{type(output).__name__}."
        )
    if found.dim() != 3 or found.shape[:2] != ids.shape:
        raise ShapeError(
            f"`model` must give logits of shape (B, T, V) for ids of shape {tuple(ids.shape)}; got "
            f"{tuple(found.shape)}."
        )
    return found


def greedy(model: nn.Module, prefixes: list[Tensor], n_tokens: int) -> Tensor:
    """The likeliest next token, `n_tokens` times over, whatever it is.

    Args:
        model: Quiet. One that has a ``generate``, as transformers' models do, is asked by it, with
            a cache of keys and values; any other reads its whole text anew for each token.
        prefixes: ``(k,)`` int64 each, of any lengths above 0.
        n_tokens: At least 1.

    Returns:
        ``(B, n_tokens)`` int64 on the CPU.
    """
    device, generate = device_of(model), getattr(model, "generate", None)
    if callable(generate):
        side: dict[str, Any] = {"batch_first": True, "padding_side": "left"}
        ids = pad_sequence(prefixes, **side).to(device)
        mask = pad_sequence([torch.ones_like(x) for x in prefixes], **side).to(device)
        said: Tensor = generate(
            input_ids=ids,
            attention_mask=mask,
            max_new_tokens=n_tokens,
            do_sample=False,
            pad_token_id=0,
        )
        return said[:, ids.shape[1] :].cpu()
    lengths = torch.tensor([len(x) for x in prefixes])
    rows = torch.arange(len(prefixes))
    text = nn.functional.pad(pad_sequence(prefixes, batch_first=True), (0, n_tokens))
    for i in range(n_tokens):
        read = text[:, : int(lengths.max()) + i].to(device)
        ends = logits_of(model(read), read)[rows, lengths + i - 1]
        text[rows, lengths + i] = ends.argmax(-1).cpu()
    return torch.stack([row[k : k + n_tokens] for row, k in zip(text, lengths, strict=True)])
