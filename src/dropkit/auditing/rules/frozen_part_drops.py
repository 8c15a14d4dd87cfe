"""DRP107."""

from collections.abc import Iterator

from torch import nn

from dropkit.auditing.declared import is_declared
from dropkit.auditing.finding import Finding
from dropkit.auditing.observations import Observations, SeenSite
from dropkit.auditing.operations import DIRECT
from dropkit.auditing.rule import Rule
from dropkit.auditing.words import counted

_SHORT = DIRECT | {"norm", "add"}


class FrozenPartDrops(Rule):
    """A part of the model that does not learn, but still drops in training.

    ## Why it matters
    Nothing in it can adapt to the masks: they are noise on the features that the rest learns
    from, and these differ from the features in use.

    ## Instead
    Put the frozen part in eval mode after each ``model.train()``, as in an own ``train`` method.

    ## When it is fine
    Where the noise is wanted, as in a mean teacher; then ignore this rule for the model. Frozen
    layers with adapters in them are not reported, and frozen layers of a stack whose other layers
    learn are information only.
    """

    code, name, severity, since = "DRP107", "frozen-part-drops", "warning", "0.1"
    source = "https://github.com/allenai/allennlp/issues/4895"

    def check(self, seen: Observations) -> Iterator[Finding]:
        """Sites within a frozen module that feed its layers, and sites without gradients."""
        if seen.training.loss is None:
            return
        parts: dict[tuple[nn.Module, bool], list[SeenSite]] = {}
        for site in seen.sites:
            if not site.draws_in_training or is_declared(seen, site.module):
                continue
            key = _part(seen, site)
            if key is not None:
                parts.setdefault(key, []).append(site)
        for (part, in_no_grad), sites in parts.items():
            why = "runs without gradients" if in_no_grad else "has no parameter that learns"
            yield self.finding(
                seen.name_of(part),
                f"{type(part).__name__} {why}, and "
                f"{counted(len(sites), 'site draws', 'sites draw')} in it in training mode.",
                evidence={"sites": [site.name for site in sites], "in_no_grad": in_no_grad},
                where=sites[0].where,
                severity="info" if _is_one_of_many(seen, part) else None,
            )


def _part(seen: Observations, site: SeenSite) -> tuple[nn.Module, bool] | None:
    """The outermost module that does not learn around a site, and whether gradients are off."""
    if not site.drops or any(drop.has_grad for drop in site.drops):
        return None
    if any(event.n_draws for event in site.in_backward):
        return None  # activation checkpointing: it learns when it is computed again
    inner = seen.ancestors(site.module)[:-1]
    inner = [one for one in inner if one is not seen.model]
    if all(drop.in_no_grad for drop in site.drops):
        called = [one for one in inner if seen.training.run.n_calls.get(one)]
        return (called[-1] if called else seen.model), True
    frozen = [one for one in inner if _is_frozen(one)]
    if not frozen:
        return None
    within = set(frozen[-1].modules())
    feeds = [edge for edge in seen.edges(site, only=_SHORT) if edge.kind in ("linear", "attention")]
    return (frozen[-1], False) if any(edge.module in within for edge in feeds) else None


def _is_one_of_many(seen: Observations, part: nn.Module) -> bool:
    """Whether other layers of its stack learn: freezing the lower ones is common practice."""
    around = seen.ancestors(part)
    siblings = around[1].children() if len(around) > 1 else ()
    return any(
        other is not part and type(other) is type(part) and not _is_frozen(other)
        for other in siblings
    )


def _is_frozen(module: nn.Module) -> bool:
    parameters = list(module.parameters())
    return bool(parameters) and not any(p.requires_grad for p in parameters)
