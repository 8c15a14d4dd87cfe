"""What an audit could not see."""

from collections.abc import Iterator

import torch
from torch import nn

from dropkit.auditing.observations import Observations


def not_seen(seen: Observations) -> Iterator[str]:
    """Sentences for people, one for each thing."""
    if not any(site.draws_in_training or site.draws_in_eval for site in seen.sites):
        kept = len(seen.sites)
        what = (
            f"all of its rates ({kept}) are 0 or unused" if kept else "there is nothing to look at"
        )
        yield f"The model has no dropout that acts: {what}."
    if seen.training.why_no_backward is not None:
        yield seen.training.why_no_backward
    quantized = [name for name, module in seen.model.named_modules() if _is_quantized(module)]
    if quantized:
        yield (
            f"The model is quantized (`{quantized[0] or type(seen.model).__name__}`, "
            f"{len(quantized)} in all): what such layers do with what is dropped was seen in low "
            "precision only."
        )
    scripted = [n for n, m in seen.model.named_modules() if isinstance(m, torch.jit.ScriptModule)]
    if scripted:
        yield (
            f"`{scripted[0] or type(seen.model).__name__}` is TorchScript: its calls have no line "
            "of Python, and rates in its code were not seen."
        )


def _is_quantized(module: nn.Module) -> bool:
    kind = type(module)
    if "quantized" in kind.__module__ or "bitsandbytes" in kind.__module__:
        return True
    own = [*module.parameters(recurse=False), *module.buffers(recurse=False)]
    return any(x.is_quantized for x in own)
