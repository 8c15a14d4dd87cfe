"""Sites whose rates follow schedules, from step to step and through a checkpoint."""

import contextlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from dropkit.errors import OptionError
from dropkit.nn._formulas import whole
from dropkit.nn.schedules import Schedule
from dropkit.sites.change import Change


class ScheduledSite(NamedTuple):
    """A site and the schedule that its rate follows.

    Attributes:
        name: Of the site; a name of its own among those that are scheduled together.
        schedule: Its rate at each step.
        set_rate: Called with a rate in [0, 1], makes it the site's.
    """

    name: str
    schedule: Schedule
    set_rate: Callable[[float], object]


class ScheduledRates(Change):
    """Rates that follow schedules: set now, and anew with each `step`.

    A change of a model like any other: it ends with ``undo()``, or with its ``with`` block. From
    then on steps are still counted, and no rate is set any more.

    Args:
        sites: What is scheduled. The rates of step 0 are set at once.
        steps: What undoing does, as for `Change`.

    Raises:
        OptionError: Two sites bear the same name.

    >>> layer = dropkit.nn.Dropout(0.0)
    >>> site = ScheduledSite("drop", Schedule.late(0.5, start=2), lambda p: setattr(layer, "p", p))
    >>> rates = ScheduledRates([site])
    >>> for _ in range(3):
    ...     with dropkit.masks_at(seed=0, step=rates.current_step):
    ...         print(rates.current_step, layer.p, layer(torch.ones(4)))
    ...     rates.step()
    0 0.0 tensor([1., 1., 1., 1.])
    1 0.0 tensor([1., 1., 1., 1.])
    2 0.5 tensor([2., 2., 0., 2.])
    """

    def __init__(
        self, sites: Iterable[ScheduledSite], steps: contextlib.ExitStack | None = None
    ) -> None:
        super().__init__(contextlib.ExitStack() if steps is None else steps)
        self._sites = list(sites)
        self._is_undone = False
        names = [site.name for site in self._sites]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise OptionError(f"`sites` must bear different names; {twice} come more than once.")
        self.go_to(0)

    @property
    def current_step(self) -> int:
        """The step whose rates are set; also what `dropkit.masks_at` takes as `step`."""
        return self._step

    @property
    def rates(self) -> dict[str, float]:
        """The rate of each site at the current step."""
        return {site.name: site.schedule(self._step) for site in self._sites}

    def step(self) -> None:
        """Go to the next step and set its rates.

        It belongs behind the backward pass: what activation checkpointing recomputes there is
        dropped at the rates of that moment.
        """
        self.go_to(self._step + 1)

    def go_to(self, step: int) -> None:
        """Go to `step` and set its rates.

        Args:
            step: A whole number from 0 on.

        Raises:
            OptionError: `step` is none.
        """
        self._step = whole(step, "step")
        if not self._is_undone:
            for site in self._sites:
                site.set_rate(site.schedule(self._step))

    def undo(self) -> None:
        """Put everything back, once, and set no more rates."""
        self._is_undone = True
        super().undo()

    def state_dict(self) -> dict[str, Any]:
        """Step and schedules as plain data, which ``torch.load(weights_only=True)`` reads."""
        schedules = {site.name: site.schedule.to_dict() for site in self._sites}
        return {"step": self._step, "schedules": schedules}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from `state`: its step, and its schedules in place of those given here.

        Args:
            state: From `state_dict` of rates that scheduled the same sites.

        Raises:
            OptionError: `state` is something else, or schedules other sites; nothing is changed.
        """
        if getattr(state, "keys", set)() != {"step", "schedules"}:
            raise OptionError(f"`state` must be what `state_dict` gives; got {state!r}.")
        step = whole(state["step"], "step")
        schedules = {name: Schedule.from_dict(data) for name, data in state["schedules"].items()}
        names = {site.name for site in self._sites}
        if schedules.keys() != names:
            missing, unknown = sorted(names - schedules.keys()), sorted(schedules.keys() - names)
            raise OptionError(
                f"`state` must schedule the sites that are scheduled here; it lacks {missing} and "
                f"has {unknown} besides. Schedule the same sites, then load."
            )
        self._sites = [site._replace(schedule=schedules[site.name]) for site in self._sites]
        self.go_to(step)
