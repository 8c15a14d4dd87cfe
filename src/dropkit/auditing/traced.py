"""What one run of a model shows."""

from dataclasses import dataclass, field

from torch import Tensor, nn

from dropkit.auditing.drops import Drop, Moments
from dropkit.auditing.flow import Flow
from dropkit.sites.caller import Caller
from dropkit.sites.watch import Event, Run


@dataclass(frozen=True)
class Stranger:
    """A dropout module that ran in a forward, but is none of the model's.

    Attributes:
        kind: Its class.
        rate: Its ``p``.
        caller: The module and the line that called it.
        is_training: The mode that it was in.
    """

    kind: str
    rate: float
    caller: Caller
    is_training: bool


@dataclass
class Traced:
    """What was seen of one run.

    Attributes:
        run: Events of the forward and, behind them, of the backward; the output is not kept.
        n_forward: How many of the events are the forward's.
        drops: Each mask that was applied in the forward.
        flow: What these reach.
        outputs: The model's floating tensors by name, detached; the prediction is the first.
        moments: Of the input of each batch norm: per module, one for each call.
        modes: Whether each module was in training mode when the run began.
        called_in_training: Modules that were in training mode when they were called.
        strangers: Dropout modules that are none of the model's, each place once.
        loss: What was differentiated; None where no backward was run.
        why_no_backward: A sentence, where one was asked for and could not be run.
        gradients: Of the parameters by name, where asked for.
    """

    run: Run
    n_forward: int = 0
    drops: list[Drop] = field(default_factory=list)
    flow: Flow = field(default_factory=Flow)
    outputs: dict[str, Tensor] = field(default_factory=dict)
    moments: dict[nn.Module, list[Moments]] = field(default_factory=dict)
    modes: dict[nn.Module, bool] = field(default_factory=dict)
    called_in_training: set[nn.Module] = field(default_factory=set)
    strangers: list[Stranger] = field(default_factory=list)
    loss: float | None = None
    why_no_backward: str | None = None
    gradients: dict[str, Tensor] = field(default_factory=dict)

    @property
    def forward_events(self) -> list[Event]:
        """Those of the forward."""
        return self.run.events[: self.n_forward]

    @property
    def backward_events(self) -> list[Event]:
        """Those of what was computed again in the backward, and of the loss."""
        return self.run.events[self.n_forward :]
