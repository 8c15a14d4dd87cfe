"""DRP405."""

from collections.abc import Iterator

import torch

from dropkit.auditing.finding import Finding
from dropkit.auditing.observations import Observations
from dropkit.auditing.rule import Rule

_ON_THE_WAY = frozenset({"shape", "scale", "reduce", "join"})


class AttentionWeightsAfterDropout(Rule):
    """Attention weights that the model returns after dropout was applied to them.

    ## Why it matters
    In training some weights are zero and the others are scaled, so that a row does not sum to 1.
    A loss on them, or a plot of them, sees the mask. ``nn.MultiheadAttention`` and the eager
    attention of transformers return them so.

    ## Instead
    Look at attention weights in eval mode, or compute those that a loss needs from queries and keys.

    ## When it is fine
    Nothing reads them in training; ``need_weights=False`` saves computing them.
    """

    code, name, severity, since = "DRP405", "attention-weights-after-dropout", "info", "0.1"
    source = "https://github.com/pytorch/pytorch/issues/90842"

    def check(self, seen: Observations) -> Iterator[Finding]:
        """Dropped outputs of a softmax that reach an output of the model as they are."""
        for site in seen.acting:
            if not any(drop.made_by == "softmax" for drop in site.drops):
                continue
            for edge in seen.edges(site, "output", only=_ON_THE_WAY):
                weights = seen.training.outputs.get(edge.name)
                if weights is None or not weights.dim():
                    continue
                sums = weights.double().sum(-1)
                low, high = float(sums.min()), float(sums.max())
                if torch.isclose(sums, torch.ones_like(sums), atol=1e-2).all():
                    continue
                name = f"output `{edge.name}`" if edge.name else "output"
                yield self.finding(
                    site,
                    f"The model's {name} holds attention weights after dropout: "
                    f"in training its rows sum to {low:.3g} to {high:.3g}.",
                    evidence={"output": edge.name, "sums": [low, high]},
                )
                break
