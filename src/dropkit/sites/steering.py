"""Steers that decide by a site's name."""

from collections.abc import Callable
from weakref import WeakSet

from torch import nn

from dropkit.sites.caller import find_caller
from dropkit.sites.labels import Labels
from dropkit.sites.replaced import Call, Steer
from dropkit.sites.sources import Source


class NamedSteer(Steer):
    """Decides on the calls of one model, by the names of their sites.

    Args:
        model: Calls from elsewhere are let pass. It is not kept alive.
    """

    def __init__(self, model: nn.Module) -> None:
        self.labels = Labels(model)

    def see(self, call: Call) -> None:
        """Find the call's site, and decide."""
        caller = find_caller(self.labels.names)
        if caller is None:
            return
        own = self.labels.own_source(caller.module)
        source = own or self.labels.source_with(caller.module, call.rate)
        name = self.labels.name_of(caller, call.function, source)
        self.decide(call, name, source, is_whole=own is not None)

    def must_see(self, call: Call) -> bool:
        """Any call may be the model's."""
        del call
        return True

    def decide(self, call: Call, name: str, source: Source | None, *, is_whole: bool) -> None:
        """Change the rate or the mode of a call.

        Args:
            call: From the model.
            name: Of its site.
            source: Where the model keeps the rate; None where it is written in the code.
            is_whole: Whether the module that calls is there to drop, and all its calls are a site.
        """
        raise NotImplementedError


class OffSteer(Steer):
    """Lets no call of a model draw."""

    def __init__(self, model: nn.Module) -> None:
        self._modules = WeakSet(model.modules())

    def see(self, call: Call) -> None:
        """Turn off a call of the model."""
        if find_caller(self._modules) is not None:
            call.is_training = False

    def must_see(self, call: Call) -> bool:
        """A call that draws may be the model's."""
        return call.draws


class RateSteer(NamedSteer):
    """Sets the rates that are written in a model's code.

    Args:
        model: Whose calls are steered.
        rate_of: The rate of a site of this name; None to leave it.
        the_one: The rate of all sites, where it is one: a call that has it need not be seen.
    """

    def __init__(
        self,
        model: nn.Module,
        rate_of: Callable[[str], float | None],
        the_one: Callable[[], float] | None,
    ) -> None:
        super().__init__(model)
        self._rate_of, self._the_one = rate_of, the_one

    def decide(self, call: Call, name: str, source: Source | None, *, is_whole: bool) -> None:
        """What a module keeps was set there, unless only this call of several is meant."""
        if is_whole or (source is not None and name == source.name):
            return
        rate = self._rate_of(name)
        if rate is not None:
            _set(call, rate)

    def must_see(self, call: Call) -> bool:
        """A call at another rate may be the model's."""
        return self._the_one is None or (call.is_training and call.rate != self._the_one())


def _set(call: Call, rate: float) -> None:
    if call.function.startswith("bernoulli"):  # the mask's scale is the model's own business
        call.is_training = call.is_training and rate > 0.0
    elif call.is_gated or call.rate > 0.0:  # else 0 says that it is not to drop now
        call.rate = rate
