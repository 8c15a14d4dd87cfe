"""Chosen dropout of a model on, and everything else as in use."""

import contextlib
from collections.abc import Sequence

from torch import nn

from dropkit.errors import SiteError
from dropkit.sites.change import Change
from dropkit.sites.code import reads
from dropkit.sites.held import hold
from dropkit.sites.patterns import check_patterns, matches, possible_calls
from dropkit.sites.replaced import Call, ReplacedFunctions
from dropkit.sites.sources import Source, find_sources
from dropkit.sites.steering import NamedSteer


def awaken(model: nn.Module, only: str | Sequence[str] | None = None) -> Change:
    """Put `model` in eval mode, with the dropout of the named sites on.

    Everything else is as in use: other dropout, batch norm, and what else asks for the mode. A
    module that is in training mode for the sake of its own dropout has no other site on.

    Args:
        model: Any module.
        only: Glob patterns over the names that `find_sites` gives; None for all sites.

    Returns:
        A handle with ``undo()``, usable in ``with``, which puts every mode back.

    Raises:
        SiteError: A pattern matches no site, or the model has no dropout.

    >>> model = nn.Sequential(nn.BatchNorm1d(2), nn.Dropout(0.3), nn.Dropout(0.2))
    >>> with awaken(model, only="1"):
    ...     [module.training for module in model]
    [False, True, False]
    """
    patterns = ["*"] if only is None else [only] if isinstance(only, str) else list(only)
    sources, calls = find_sources(model), possible_calls(model)
    check_patterns(patterns, sources, [name for _, name in calls], argument="only")
    if not patterns:
        raise SiteError("`only` must name at least one site; got no pattern.")
    steps = contextlib.ExitStack()
    for module in model.modules():
        hold(module, "training", False, steps)
    opened = {module for module, name in calls if matches(patterns, name)}
    for source in sources:
        if matches(patterns, source.name):
            opened.add(source.module)
    for module in [module for module in model.modules() if _asks_for(module, opened)]:
        module.training = True
    for module in opened:
        module.training = True
    for source in sources:
        if source.kind == "LayerDrop" and not matches(patterns, source.name):
            source.set(0.0, steps)
    steps.enter_context(ReplacedFunctions(model, OnlySteer(model, patterns)))
    return Change(steps)


def _asks_for(module: nn.Module, opened: set[nn.Module]) -> bool:
    """Whether a child's dropout is on only while `module` itself is in training mode.

    So it is where a module reads the rate of a child and calls a function with it, and in torch's
    transformer layers, which have a way without their children in eval.
    """
    children = [child for child in module.children() if child in opened]
    if isinstance(module, (nn.TransformerEncoderLayer, nn.TransformerDecoderLayer)):
        return bool(children)
    has_rate = any(hasattr(child, "p") for child in children)
    return has_rate and reads(type(module), "p") and reads(module.__class__, "training")


class OnlySteer(NamedSteer):
    """Turns calls on where their site is named, and off elsewhere.

    Args:
        model: Whose calls are steered.
        patterns: Globs over the names of sites.
    """

    def __init__(self, model: nn.Module, patterns: Sequence[str]) -> None:
        super().__init__(model)
        self._patterns = patterns

    def decide(self, call: Call, name: str, source: Source | None, *, is_whole: bool) -> None:
        """On where it is named and can be told to; else off."""
        del source, is_whole
        if not matches(self._patterns, name):
            call.is_training = False
        elif call.is_gated:
            call.is_training = True
