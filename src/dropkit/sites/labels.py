"""The names of sites that are calls of functions."""

from weakref import WeakKeyDictionary

from torch import nn

from dropkit.core.scope import site_name
from dropkit.sites.caller import Caller
from dropkit.sites.sources import Source, sources_of


class Labels:
    """Gives each call its site's name: by where its rate is kept, or by the function.

    Args:
        model: Whose sites are named. It is not kept alive.
    """

    def __init__(self, model: nn.Module) -> None:
        self.names: WeakKeyDictionary[nn.Module, str] = WeakKeyDictionary()
        for path, module in model.named_modules():
            self.names[module] = site_name(path)
        self._labels: dict[tuple[object, ...], str] = {}

    def own_source(self, module: nn.Module) -> Source | None:
        """That of a module which is there to drop."""
        own = [source for source in self._sources_of(module) if source.is_whole]
        return own[0] if len(own) == 1 else None

    def layer_drop(self, module: nn.Module) -> Source | None:
        """Where the module keeps the rate at which it skips its layers."""
        own = [s for s in self._sources_of(module) if s.kind == "LayerDrop" and not s.is_whole]
        return own[0] if own else None

    def source_with(self, module: nn.Module, rate: float) -> Source | None:
        """The one at this very rate, of `module` itself or of a module that it holds."""
        for holder in (module, *module.children()):
            for source in self._sources_of(holder):
                if source.rate == rate:
                    return source
        return None

    def _sources_of(self, module: nn.Module) -> list[Source]:
        return list(sources_of(self.names.get(module, ""), module))

    def name_of(self, caller: Caller, function: str, source: Source | None) -> str:
        """The site's name. A second line that has the same one gets a number."""
        if source is not None and source == self.own_source(caller.module):
            return source.name  # all calls of a module that is there to drop are one site
        path = self.names[caller.module]
        name = f"{path}.{function}".lstrip(".") if source is None else source.name
        key = (name, id(caller.module), caller.line, function)
        if key not in self._labels:
            n_before = sum(other[0] == name for other in self._labels)
            self._labels[key] = f"{name}#{n_before + 1}" if n_before else name
        return self._labels[key]
