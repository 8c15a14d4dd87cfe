"""DRP108."""

from collections.abc import Iterator

from torch import nn

from dropkit.auditing.finding import Finding
from dropkit.auditing.handed_over import is_half_awake, only_dropout_is_awake
from dropkit.auditing.observations import Observations, SeenSite
from dropkit.auditing.rule import Rule
from dropkit.auditing.words import counted


class SleepingInMonteCarlo(Rule):
    """Dropout that stays off though all dropout modules of the model were woken.

    ## Why it matters
    Monte Carlo code puts the model in eval and each ``nn.Dropout`` in training. Attention that
    asks for a mode of its own, ``nn.MultiheadAttention``, recurrent layers and functions stay
    off, so the spread of the predictions is too small.

    ## Instead
    Use ``dropkit.awaken(model)``, which wakes every site and nothing else.

    ## When it is fine
    Where only some sites are to be on; wake these by name, with ``dropkit.awaken(model, only=...)``.
    """

    code, name, severity, since = "DRP108", "sleeping-in-monte-carlo", "warning", "0.1"
    source = (
        "https://github.com/huggingface/transformers/blob/main/src/transformers/models/bert/"
        "modeling_bert.py"
    )

    def check(self, seen: Observations) -> Iterator[Finding]:
        """Sites that draw in training and not as handed over, where the recipe was followed."""
        if not is_half_awake(seen) or not only_dropout_is_awake(seen):
            return
        plain = [m for m in seen.model.modules() if isinstance(m, nn.Dropout)]
        if not plain or not all(module.training for module in plain):
            return
        awake = seen.drawn_in(seen.as_given)
        for site in seen.sites:
            if site.draws_in_training and site.name not in awake:
                yield self.finding(
                    site,
                    f"{site.kind} draws nothing: {_owner(seen, site)} is in eval, while "
                    f"{counted(len(plain), 'nn.Dropout is', 'nn.Dropout are')} in training mode.",
                    evidence={"rate": site.rate, "awake": len(awake), "modules": len(plain)},
                )


def _owner(seen: Observations, site: SeenSite) -> str:
    return f"`{seen.name_of(site.module)}`" if seen.name_of(site.module) else "the model"
