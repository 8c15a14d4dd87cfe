"""DRP603."""

from collections.abc import Iterator

from torch import nn

from dropkit.auditing.finding import Finding
from dropkit.auditing.kinds import FINE_TUNING, usual_for
from dropkit.auditing.observations import Observations
from dropkit.auditing.rule import Rule
from dropkit.auditing.words import counted


class DropoutInSinglePass(Rule):
    """Dropout in the pretraining of a language model that meets each text once.

    ## Why it matters
    Dropout holds back overfitting, and there is none to hold back: the next batch is always new.
    What is left is its cost. Masked and autoregressive models of up to 1.4 billion weights came
    out better without it, in language modelling and in what was built on them.

    ## Instead
    Pretrain at rate 0, and put dropout back for fine-tuning, where texts come again and again.

    ## When it is fine
    The texts are met several times after all, or a model is fine-tuned.

    This rule speaks only if it is told: ``dropkit.audit(model, batch, epochs=1)``.
    """

    code, name, severity, since = "DRP603", "dropout-in-single-pass", "info", "0.1"
    source = "Liu, Bauer and Manning 2025, Findings of ACL, arXiv:2505.24788"

    def check(self, seen: Observations) -> Iterator[Finding]:
        """Whether it was said that there is one pass, and all of a language model learns."""
        if seen.epochs is None or seen.epochs > 1.0 or not seen.acting:
            return
        if not all(p.requires_grad for p in seen.model.parameters()):
            return  # fine-tuning
        if not any(isinstance(module, nn.Embedding) for module in seen.model.modules()):
            return
        if any(usual_for(seen, site) is FINE_TUNING for site in seen.acting):
            return
        rates = [site.rate for site in seen.acting if site.rate is not None]
        highest = f" at rates up to {max(rates):g}" if rates else ""
        yield self.finding(
            "",
            f"{counted(len(seen.acting), 'site drops', 'sites drop')}{highest}, and no text is met "
            f"twice (epochs={seen.epochs:g}).",
            evidence={"epochs": seen.epochs, "sites": len(seen.acting)},
            proved=False,
        )
