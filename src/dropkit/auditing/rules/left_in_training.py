"""DRP106."""

from collections.abc import Iterator

from torch import nn

from dropkit.auditing.declared import is_declared
from dropkit.auditing.finding import Finding
from dropkit.auditing.handed_over import is_half_awake, only_dropout_is_awake
from dropkit.auditing.observations import Observations
from dropkit.auditing.rule import Rule
from dropkit.auditing.words import counted


class LeftInTraining(Rule):
    """A part of a model in eval mode that was left in training mode, and drops.

    ## Why it matters
    The model says that it is in eval, and its predictions are random all the same. So it goes
    where a part is put in training mode, or is added, after ``model.eval()``.

    ## Instead
    Call ``model.eval()`` last, on the whole model.

    ## When it is fine
    Monte Carlo dropout that wakes nothing but dropout, as ``dropkit.awaken`` does; that is not
    reported.
    """

    code, name, severity, since = "DRP106", "left-in-training", "warning", "0.1"
    source = (
        "https://docs.pytorch.org/docs/stable/notes/autograd.html#evaluation-mode-nn-module-eval"
    )

    def check(self, seen: Observations) -> Iterator[Finding]:
        """The outermost modules in training mode, of the model as it was handed over."""
        if not is_half_awake(seen) or only_dropout_is_awake(seen):
            return
        modes = seen.as_given.modes
        drawn = seen.drawn_in(seen.as_given)
        outermost: dict[nn.Module, list[str]] = {}
        for site in seen.sites:
            if site.name in drawn and not is_declared(seen, site.module):
                awake = [one for one in seen.ancestors(site.module) if modes.get(one)]
                if awake and not only_dropout_is_awake(seen, awake[-1]):
                    outermost.setdefault(awake[-1], []).append(site.name)
        for module, names in outermost.items():
            yield self.finding(
                seen.name_of(module),
                f"{type(module).__name__} is in training mode inside a model in eval mode, and "
                f"{counted(len(names), 'site draws', 'sites draw')} in it.",
                evidence={"sites": names},
            )
