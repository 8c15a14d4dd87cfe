"""Memorization as training goes on: what the second and the tenth look at the same data do."""

from collections.abc import Sequence
from typing import Any

from torch import nn

from dropkit.errors import OptionError
from dropkit.finetuning.memorizing._memorization import Memorization, memorization


class MemorizationCurve:
    """Call it once an epoch; it keeps what `memorization` measured.

    The epoch is how often each example was seen so far, so that the points are a curve over
    repetitions of the same data.

    Args:
        train: As `memorization` takes it.
        held_out: Likewise.
        options: Its other arguments, by name.

    Attributes:
        points: ``(epoch, Memorization)``, in order; read it, it is the result.

    Source:
        Over repetitions: Carlini et al. 2023, ICLR, arXiv:2202.07646, section 4.2.

    >>> _ = torch.manual_seed(0)
    >>> model = nn.Sequential(nn.Embedding(5, 4), nn.Linear(4, 5))
    >>> train, held_out = torch.randint(5, (6, 9)), torch.randint(5, (6, 9))
    >>> curve = MemorizationCurve(train, held_out, prefixes=())
    >>> for epoch in range(2):
    ...     _ = curve(model, epoch)
    >>> [(epoch, point.n_train) for epoch, point in curve.points]
    [(0, 6), (1, 6)]
    """

    def __init__(self, train: Sequence[Any], held_out: Sequence[Any], **options: Any) -> None:
        self._train, self._held_out, self._options = train, held_out, options
        self.points: tuple[tuple[float, Memorization], ...] = ()

    def __call__(self, model: nn.Module, epoch: float) -> Memorization:
        """Measure, and keep it as the point of this epoch.

        Args:
            model: As it is now.
            epoch: Number of passes over the data so far; above that of the last call.

        Raises:
            OptionError: `epoch` is not above that of the last call.
        """
        if self.points and not epoch > self.points[-1][0]:
            raise OptionError(
                f"`epoch` must be above that of the last point, {self.points[-1][0]}; got {epoch}."
            )
        found = memorization(model, self._train, self._held_out, **self._options)
        self.points = (*self.points, (epoch, found))
        return found

    def to_dict(self) -> dict[str, Any]:
        """The points, as dicts, lists, texts and numbers."""
        return {"points": [{"epoch": epoch, **found.to_dict()} for epoch, found in self.points]}
