"""DRP104."""

from collections.abc import Iterator

from torch import nn

from dropkit.auditing.declared import is_declared
from dropkit.auditing.finding import Finding
from dropkit.auditing.observations import Observations, SeenSite
from dropkit.auditing.rule import Rule
from dropkit.auditing.stays_on import in_training_mode
from dropkit.auditing.words import counted


class EvalNotFollowed(Rule):
    """A part of the model that is in training mode after ``model.eval()``, and drops.

    ## Why it matters
    Its ``train`` does not pass the mode on, or its ``forward`` switches training mode on: then
    nothing that a user does puts it in eval, and predictions are random.

    ## Instead
    Let ``train(mode)`` call ``super().train(mode)``, and change no modes in ``forward``.

    ## When it is fine
    Monte Carlo wrappers. Their class says so in its name, as ``MCDropout`` does, or with
    ``dropkit_always_on = True``.
    """

    code, name, severity, since = "DRP104", "eval-not-followed", "error", "0.1"
    source = (
        "https://docs.pytorch.org/docs/stable/generated/torch.nn.Module.html#torch.nn.Module.eval"
    )

    def check(self, seen: Observations) -> Iterator[Finding]:
        """Modules in training mode in the run in eval mode, the outermost of them."""
        outermost: dict[nn.Module, list[SeenSite]] = {}
        for site in seen.sites:
            if not (site.draws_in_eval and in_training_mode(seen, site)):
                continue
            if not is_declared(seen, site.module):
                awake = seen.evaluation.called_in_training
                around = [one for one in seen.ancestors(site.module) if one in awake]
                outermost.setdefault(around[-1], []).append(site)
        for module, sites in outermost.items():
            was_so = seen.evaluation.modes[module]
            how = "is put back in training mode by a forward"
            if was_so:
                how = "stays in training mode after `eval()`"
            yield self.finding(
                seen.name_of(module),
                f"{type(module).__name__} {how}, and "
                f"{counted(len(sites), 'site draws', 'sites draw')} in it.",
                evidence={"sites": [site.name for site in sites], "before_the_forward": was_so},
                where=sites[0].where,
            )
