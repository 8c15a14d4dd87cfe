"""The passes of a probe over its requests: as the service is, and with dropout silenced."""

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import nn

from dropkit.errors import ProbeError
from dropkit.serving._guard import guard
from dropkit.serving._guarded import GuardRecord
from dropkit.serving._reply import Reply, reply_of
from dropkit.serving._service import Ask, timed
from dropkit.sites.silence import silence


@dataclass(eq=False)
class Passes:
    """The answers, pass by pass.

    Attributes:
        as_is: For each pass the replies, in the order of the requests; None for a failed one.
        silenced: The same while the model's dropout was silenced; empty without a model.
        pairs: Seconds of an answer as it is and of one silenced, of the same request.
        guard: What the model drew when it was as it is.
    """

    as_is: list[list[Reply | None]]
    silenced: list[list[Reply | None]]
    pairs: list[tuple[float, float]]
    guard: GuardRecord | None


class Asking:
    """Asks, times, and keeps what went wrong."""

    def __init__(self, ask: Ask, read: Callable[[Any], Any]) -> None:
        self._ask, self._read = ask, read
        self.seconds: list[float] = []
        self.sentences: list[str] = []
        self.failed = 0

    def warm_up(self, request: Any) -> None:
        """Ask once, and forget what comes."""
        with contextlib.suppress(ProbeError):
            self._ask(request)

    def __call__(self, request: Any, *, counts: bool) -> tuple[Reply | None, float]:
        """The answer, or None, and the seconds."""
        try:
            answer, seconds = timed(self._ask, request)
            reply = reply_of(self._read(answer))
        except ProbeError as error:
            self.failed += 1
            if str(error) not in self.sentences:
                self.sentences.append(str(error))
            return None, 0.0
        if counts:
            self.seconds.append(seconds)
        return reply, seconds


def run_passes(
    asking: Asking, requests: Sequence[Any], repeats: int, model: nn.Module | None
) -> Passes:
    """Ask each request `repeats` times; with a model as often again while its dropout is silenced."""
    found = Passes([], [], [], None)
    if model is None:
        for _ in range(repeats):
            found.as_is.append([asking(request, counts=True)[0] for request in requests])
        return found
    with guard(model, "count") as watch:
        quiet = []  # what was called while it was silenced, which is not how the service is
        for number in range(repeats):
            rows: tuple[list[Reply | None], list[Reply | None]] = ([], [])
            for place, request in enumerate(requests):
                is_first = (number + place) % 2  # neither is always asked first
                took = {}
                for is_silenced in (is_first == 1, is_first == 0):
                    before = watch.record()
                    with silence(model) if is_silenced else contextlib.nullcontext():
                        reply, took[is_silenced] = asking(request, counts=not is_silenced)
                    rows[is_silenced].append(reply)
                    if is_silenced:
                        quiet.append((before, watch.record()))
                if rows[0][-1] is not None and rows[1][-1] is not None:
                    found.pairs.append((took[False], took[True]))
            found.as_is.append(rows[0])
            found.silenced.append(rows[1])
        found.guard = _without(watch.record(), quiet)
    return found


def _without(record: GuardRecord, quiet: Sequence[tuple[GuardRecord, GuardRecord]]) -> GuardRecord:
    """The record without what was counted between the two of each pair."""

    def rest(name: str) -> int:
        within = sum(getattr(after, name) - getattr(before, name) for before, after in quiet)
        return int(getattr(record, name) - within)

    return replace(
        record,
        forwards=rest("forwards"),
        in_training_mode=rest("in_training_mode"),
        with_draws=rest("with_draws"),
        moved_generator=rest("moved_generator"),
    )
