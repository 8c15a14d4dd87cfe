"""DRP110."""

from collections.abc import Iterator

from dropkit.auditing.finding import Finding
from dropkit.auditing.observations import Observations
from dropkit.auditing.rule import Rule
from dropkit.auditing.words import counted


class HandedOverInEval(Rule):
    """A model that is to be trained, but was handed over in eval mode.

    ## Why it matters
    ``from_pretrained`` returns a model in eval mode. A loop that never calls ``train()`` learns
    without any dropout, whatever the config says.

    ## Instead
    Call ``model.train()`` before the loop, and again after each evaluation.

    ## When it is fine
    Where the loop calls ``train()`` itself. This is reported only where a ``loss`` was given.
    """

    code, name, severity, since = "DRP110", "handed-over-in-eval", "info", "0.1"
    source = "https://github.com/huggingface/transformers/issues/1703"

    def check(self, seen: Observations) -> Iterator[Finding]:
        """The mode of the whole model, with the sites that are off for it."""
        sites = [site for site in seen.sites if site.draws_in_training]
        if seen.loss is None or not sites or any(m.training for m in seen.model.modules()):
            return
        yield self.finding(
            "",
            "The model is in eval mode: until `train()` is called, "
            f"{counted(len(sites), 'site is', 'sites are')} off.",
            evidence={"sites": len(sites)},
            proved=False,
        )
