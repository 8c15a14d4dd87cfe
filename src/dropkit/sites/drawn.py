"""Of which site a mask is that is drawn right now."""

from collections.abc import Mapping

from torch import nn

from dropkit.core.scope import site_name
from dropkit.sites.caller import Caller, Line, find_caller
from dropkit.sites.find import Names
from dropkit.sites.replaced import current_call
from dropkit.sites.sources import sources_of


class Drawn:
    """Names what is drawn while a model runs, as a run that was watched has named it.

    Args:
        model: Which runs.
        names: What `look_for_sites` has found.
    """

    def __init__(self, model: nn.Module, names: Names) -> None:
        self._paths = {module: site_name(path) for path, module in model.named_modules()}
        self._whole = {
            module: path
            for module, path in self._paths.items()
            if any(source.is_whole for source in sources_of(path, module))
        }
        self._names: Mapping[tuple[nn.Module, Line | None, str], str] = names
        self._by_line = {key[:2]: name for key, name in names.items()}

    def name(self, module: nn.Module | None = None) -> str | None:
        """The site's name; None where no module of the model runs.

        Args:
            module: The layer that draws, where that is known; else the stack is read.
        """
        if module in self._whole:
            return self._whole[module]
        found = self.locate()
        return None if found is None else found[0]

    def locate(self) -> tuple[str, nn.Module] | None:
        """The site's name, and the innermost module that runs."""
        caller = find_caller(self._paths)
        return None if caller is None else (self._name_of(caller), caller.module)

    def _name_of(self, caller: Caller) -> str:
        if caller.module in self._whole:
            return self._whole[caller.module]
        call = current_call()
        function = "" if call is None else call.function
        key = caller.module, caller.line, function
        if key in self._names:
            return self._names[key]
        if key[:2] in self._by_line:
            return self._by_line[key[:2]]
        return f"{self._paths[caller.module]}.{function or 'unnamed'}".lstrip(".")
