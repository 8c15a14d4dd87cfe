"""DRP103."""

from collections.abc import Iterator

from dropkit.auditing.declared import is_declared
from dropkit.auditing.finding import Finding
from dropkit.auditing.observations import Observations
from dropkit.auditing.rule import Rule


class UnregisteredDropout(Rule):
    """A dropout module that the model does not own, and so cannot put in eval.

    ## Why it matters
    A module that is made inside ``forward``, or kept in a plain list or dict, is in training mode
    whatever the model is in: ``model.eval()`` goes to registered modules only.

    ## Instead
    Make it in ``__init__`` as an attribute, in an ``nn.ModuleList`` or an ``nn.ModuleDict``.

    ## When it is fine
    Where it is put in eval by hand: then it is not reported.
    """

    code, name, severity, since = "DRP103", "unregistered-dropout", "error", "0.1"
    source = "https://docs.pytorch.org/docs/stable/generated/torch.nn.ModuleList.html"

    def check(self, seen: Observations) -> Iterator[Finding]:
        """Strangers in training mode in the run in eval mode."""
        for stranger in seen.evaluation.strangers:
            caller = stranger.caller
            if not stranger.is_training or stranger.rate <= 0.0:
                continue
            if is_declared(seen, caller.module):
                continue
            yield self.finding(
                seen.name_of(caller.module),
                f"{stranger.kind}(p={stranger.rate:g}) is not among the modules of the model, "
                "and drops in eval mode.",
                evidence={"kind": stranger.kind, "rate": stranger.rate},
                where=None if caller.line is None else str(caller.line),
            )
