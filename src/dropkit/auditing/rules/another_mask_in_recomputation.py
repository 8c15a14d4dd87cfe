"""DRP504."""

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from dropkit.auditing.finding import Finding
from dropkit.auditing.observations import Observations
from dropkit.auditing.recomputation import DrawnFrom, preserving
from dropkit.auditing.rule import Rule
from dropkit.auditing.words import counted


class AnotherMaskInRecomputation(Rule):
    """Dropout that loses other elements when activation checkpointing computes it again.

    ## Why it matters
    The backward then differentiates another sub-network than the one whose loss was computed: at
    rate 0.5 about half of all elements get the gradient of the wrong mask, and nothing says so.

    ## Instead
    Leave ``preserve_rng_state=True``, which is the default of ``torch.utils.checkpoint``. A
    checkpoint of your own must put the generator back before it computes again. dropkit's named
    masks (``dropkit.masks_at``) are drawn alike whatever that says.

    ## When it is fine
    Never.
    """

    code, name, severity, since = "DRP504", "another-mask-in-recomputation", "error", "0.1"
    source = (
        "https://github.com/allenai/OLMo-core/issues/828, "
        "https://github.com/openai/guided-diffusion/issues/167, "
        "https://github.com/pytorch/pytorch/issues/190717"
    )

    def check(self, seen: Observations) -> Iterator[Finding]:
        """Draws of a backward from where no draw of its forward began; then the gradients."""
        sites = [s for s in seen.acting if any(event.n_draws for event in s.in_backward)]
        if not sites:
            return
        drawn = DrawnFrom()
        found = seen.again(seed=0, backward=True, around=drawn)
        n_other, n = drawn.n_other, drawn.n_in_backward
        if not n_other:
            return
        with preserving() as did_preserve:
            right = seen.again(seed=0, backward=True)
        share = _share_off(found.gradients, right.gradients) if did_preserve() else None
        off = "" if not share else f", and the gradients are {share:.0%} off"
        yield self.finding(
            sites[0],
            f"Of {counted(n, 'mask', 'masks')} that the backward draws again, the forward had "
            f"{n - n_other or 'none'}{off}.",
            evidence={
                "masks": n,
                "others": n_other,
                "gradient_error": share,
                "sites": [one.name for one in sites],
            },
        )


def _share_off(found: Mapping[str, Tensor], right: Mapping[str, Tensor]) -> float:
    """Distance of all gradients to the right ones, as a share of the size of these."""
    names = [name for name in right if name in found]
    off = torch.stack([(found[name] - right[name]).double().norm() for name in names])
    size = torch.stack([right[name].double().norm() for name in names])
    return float(off.norm() / size.norm().clamp_min(1e-300))
