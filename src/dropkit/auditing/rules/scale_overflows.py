"""DRP404."""

from collections.abc import Iterator

import torch

from dropkit.auditing.finding import Finding
from dropkit.auditing.observations import Observations
from dropkit.auditing.rule import Rule

#: No rate leaves less: a scale of more is none of dropout's.
_LOWEST_KEEP = 2.0**-16


class ScaleOverflows(Rule):
    """Numbers that the scale of dropout makes larger than their type can hold.

    ## Why it matters
    float16 ends at 65,504. What is kept is divided by ``1 - p``, so that a number which fits in
    eval can be infinite in training, and one of them makes the loss nan.

    ## Instead
    Lower the rate, normalize what comes in, or drop in bfloat16 or float32.

    ## When it is fine
    Never; a loss scaler skips such a step, and the next one overflows too.
    """

    code, name, severity, since = "DRP404", "scale-overflows", "error", "0.1"
    source = "https://docs.pytorch.org/docs/stable/notes/numerical_accuracy.html"

    def check(self, seen: Observations) -> Iterator[Finding]:
        """Sites whose input is finite, and whose output is not or would not be under another mask."""
        for site in seen.acting:
            for drop in site.drops:
                x, y = drop.x, drop.y
                if x is None or y is None or not x.is_floating_point() or not x.numel():
                    continue
                largest, limit = float(x.abs().max()), torch.finfo(x.dtype).max
                if not limit * _LOWEST_KEEP < largest <= limit:
                    continue
                scale = drop.scale
                if not largest * scale > limit:
                    continue
                n_infinite = int(y.isinf().sum())
                kind = str(x.dtype).removeprefix("torch.")
                dropped = "" if n_infinite else ", had the mask not dropped it"
                yield self.finding(
                    site,
                    f"An input of {largest:,.0f} times the scale {scale:.3g} is more "
                    f"than {kind} holds ({limit:,.0f}){dropped}.",
                    evidence={"largest": largest, "scale": scale, "infinite": n_infinite},
                )
                break
