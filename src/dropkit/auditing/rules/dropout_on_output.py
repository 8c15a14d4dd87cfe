"""DRP303."""

from collections.abc import Iterator

from torch import Tensor
from torch.utils._pytree import tree_leaves

from dropkit.auditing.finding import Finding
from dropkit.auditing.observations import Observations
from dropkit.auditing.rule import Rule

_NOTHING_LEARNED = frozenset({"shape", "scale", "elementwise", "relu"})


class DropoutOnOutput(Rule):
    """Dropout on what the model predicts: logits, or the output of a regression.

    ## Why it matters
    No layer behind it can make up for what is lost. The loss of a dropped prediction is that of a
    prediction of zero, and those that are kept are scaled away from what is right in use.

    ## Instead
    Move the dropout in front of the last linear layer.

    ## When it is fine
    What the model returns are features, of which other layers learn.
    """

    code, name, severity, since = "DRP303", "dropout-on-output", "warning", "0.1"
    source = "Srivastava et al. 2014, JMLR 15, section 4: input and hidden units are dropped"

    def check(self, seen: Observations) -> Iterator[Finding]:
        """Sites between the last linear layer and an output that is no feature of the input."""
        shapes = [x.shape for x in tree_leaves(seen.batch) if isinstance(x, Tensor)]
        for site in seen.acting:
            drop = next((one for one in site.drops if one.made_by == "linear"), None)
            if drop is None or drop.x is None or drop.y is None:
                continue
            lost = float((drop.y == 0).double().mean())
            for edge in seen.edges(site, "output", only=_NOTHING_LEARNED):
                output = seen.training.outputs.get(edge.name)
                if output is None or output.shape in shapes:
                    continue
                name = f"output `{edge.name}`" if edge.name else "output"
                yield self.finding(
                    site,
                    f"Drops the model's {name} of shape {tuple(output.shape)}, behind its last "
                    f"linear layer: {lost:.0%} of it was lost in training.",
                    evidence={"output": edge.name, "shape": list(output.shape), "lost": lost},
                )
                break
