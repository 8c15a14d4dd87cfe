"""Counts what a model answers in service, and alarms where it is not as it was released."""

import contextlib
import contextvars
import logging
import random
import threading
from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from dropkit.errors import OptionError
from dropkit.serving.monitoring._baseline import Baseline
from dropkit.serving.monitoring._counts import EDGES, Counts, Drift, drift
from dropkit.serving.monitoring._endpoint import Endpoint
from dropkit.serving.monitoring._exposition import Exposition

logger = logging.getLogger("dropkit.serving")

#: While a request is repeated, nothing is counted: it is nobody's.
_is_repeat: contextvars.ContextVar[bool] = contextvars.ContextVar("is_repeat", default=False)


@dataclass(frozen=True)
class Alarm:
    """Something about the service that is not as it was, or not as it may be.

    Attributes:
        of: ``"repeats"``, ``"latency_s"``, ``"disagreement"`` or ``"handed_over"``.
        message: One sentence with the numbers.
        next_step: What to do.
    """

    of: str
    message: str
    next_step: str


class Monitor:
    """Watches a service: latency, disagreement of sub-networks, hand-over, answers that change.

    It keeps counts in bins and no text, no tensor and no answer. Thread-safe.

    Args:
        share: Of requests that are answered a second time, in [0, 1], to see whether the answers
            agree: in service they must, unless dropout is left on.
        tolerance: Greatest absolute difference of two numbers of an answer and its repeat that is
            none; 0 asks for equal bits.
        ignore: Keys of a JSON answer that may differ, such as an id.
        baseline: Counts at the release, or the path of their file; None watches no drift.
        window: How many of the last answers are compared with the baseline, and how many of the
            last repeats an alarm speaks of.
        threshold: Population stability index from which a drift is an alarm; 0.25 is customary.
        alpha: And only where chance alone would bring such an index less often than this.
        on_alarm: Called once when an alarm begins; all alarms are logged as warnings too. What it
            raises is logged, and goes no further.
        seed: Of the choice of requests to repeat; None for one from the system.

    Raises:
        MissingExtraError: prometheus-client is not installed.
        OptionError: A number is outside its range.

    Source:
        The index and its customary threshold: Siddiqi 2006, Credit Risk Scorecards, Wiley.
    """

    def __init__(  # noqa: PLR0913 - each is a choice of whoever runs the service
        self,
        *,
        share: float = 0.01,
        tolerance: float = 0.0,
        ignore: Collection[str] = (),
        baseline: Baseline | str | Path | None = None,
        window: int = 1000,
        threshold: float = 0.25,
        alpha: float = 1e-3,
        on_alarm: Callable[[Alarm], None] | None = None,
        seed: int | None = None,
    ) -> None:
        for name, value, low, high in (
            ("share", share, 0.0, 1.0),
            ("tolerance", tolerance, 0.0, float("inf")),
            ("threshold", threshold, 0.0, float("inf")),
            ("alpha", alpha, 0.0, 1.0),
        ):
            if not low <= value <= high:  # nan fails this too
                raise OptionError(f"`{name}` must be in [{low:g}, {high:g}]; got {value!r}.")
        if type(window) is not int or window < 1:
            raise OptionError(f"`window` must be a whole number of at least 1; got {window!r}.")
        self.share, self.tolerance, self.ignore = share, tolerance, frozenset(ignore)
        self.threshold, self.alpha = threshold, alpha
        self.baseline = Baseline.load(baseline) if isinstance(baseline, str | Path) else baseline
        self._counts = {of: Counts(of, window) for of in EDGES}
        self._on_alarm = on_alarm
        self._ringing: dict[str, Alarm] = {}
        self._repeats: deque[bool] = deque(maxlen=window)
        self._n_repeats = self._n_differing = 0
        self._random = random.Random(seed)  # noqa: S311 - a sample of requests is no secret
        self._lock = threading.Lock()  # of the counts
        self._checking = threading.Lock()  # or an older look would end an alarm that has begun
        self._prometheus = Exposition(self.check)

    def observe(
        self,
        *,
        latency_s: float | None = None,
        disagreement: float | None = None,
        handed_over: bool | None = None,
    ) -> None:
        """Count one answer; what is None was not measured. Nothing is counted within a repeat.

        Args:
            latency_s: Seconds from the request to the end of the answer.
            disagreement: Of the sub-networks, in [0, 1], such as `MCPrediction.variation_ratio`.
            handed_over: Whether it went to a person.
        """
        if _is_repeat.get():
            return
        given = {
            "latency_s": latency_s,
            "disagreement": disagreement,
            "handed_over": None if handed_over is None else float(handed_over),
        }
        with self._lock:
            for of, value in given.items():
                if value is not None:
                    self._counts[of].add(value)
                    self._prometheus.observe(of, value)

    def answered(self, status: int) -> None:
        """Count a response by the first digit of its status."""
        self._prometheus.requests.labels(f"{status // 100}xx").inc()

    def is_chosen(self) -> bool:
        """Whether this request is to be repeated, by chance."""
        if not self.share or _is_repeat.get():
            return False
        with self._lock:
            return self._random.random() < self.share

    @contextlib.contextmanager
    def repeating(self) -> Iterator[None]:
        """A block in which `observe` counts nothing."""
        token = _is_repeat.set(True)
        try:
            yield
        finally:
            _is_repeat.reset(token)

    def repeated(self, *, is_same: bool) -> None:
        """Count a repeat; the first whose answers differ begins an alarm."""
        with self._lock:
            self._repeats.append(is_same)
            self._n_repeats += 1
            self._n_differing += not is_same
        self._prometheus.repeats.labels("same" if is_same else "differs").inc()
        if not is_same:
            self.check()

    def drifts(self) -> tuple[Drift, ...]:
        """How far each quantity of the baseline has moved; those nothing is known of are left out."""
        if self.baseline is None:
            return ()
        with self._lock:
            recent = {of: self._counts[of].recent() for of in self.baseline.counts}
        found = [drift(of, self.baseline.counts[of], recent[of]) for of in recent]
        return tuple(one for one in found if one is not None)

    def check(self) -> tuple[Alarm, ...]:
        """The alarms as of now; those that begin are logged and handed to `on_alarm`."""
        with self._checking:
            drifts = self.drifts()
            alarms = {alarm.of: alarm for alarm in self._alarms(drifts)}
            begun = [alarm for of, alarm in alarms.items() if of not in self._ringing]
            self._ringing = alarms
            for one in drifts:
                self._prometheus.drift.labels(one.of).set(one.index)
            for of in ("repeats", *EDGES):
                self._prometheus.alarm.labels(of).set(of in alarms)
        for alarm in begun:
            logger.warning("%s %s", alarm.message, alarm.next_step)
            if self._on_alarm is not None:
                try:
                    self._on_alarm(alarm)
                except Exception:  # the caller answers a request, or /metrics
                    logger.exception("`on_alarm` has raised")
        return tuple(alarms.values())

    def record_baseline(self) -> Baseline:
        """All that was counted so far, as the baseline of a release."""
        with self._lock:
            counts = {of: tuple(one.total) for of, one in self._counts.items() if any(one.total)}
            return Baseline(counts, self._n_repeats, self._n_differing)

    def metrics(self) -> bytes:
        """The counts as Prometheus reads them; drift and alarms are as of this call."""
        return self._prometheus.text()

    def serve(self, port: int, address: str = "127.0.0.1") -> Endpoint:
        """Answer Prometheus from a thread of its own, until `Endpoint.close`.

        For services without ASGI; `MonitorMiddleware` does it in those that have it.

        Args:
            port: In [0, 65535]; 0 takes a free one.
            address: Of the interface; only this machine can ask unless told otherwise.

        Raises:
            OptionError: `port` is outside its range.
            OSError: The port is taken, or the address is not this machine's.
        """
        if type(port) is not int or not 0 <= port <= 65535:
            raise OptionError(f"`port` must be a whole number in [0, 65535]; got {port!r}.")
        return self._prometheus.serve(port, address)

    def _alarms(self, drifts: Sequence[Drift]) -> Iterator[Alarm]:
        with self._lock:
            n_repeats, n_same = len(self._repeats), sum(self._repeats)
        if n_same < n_repeats:
            yield Alarm(
                "repeats",
                f"{n_repeats - n_same} of the last {n_repeats} repeated requests were answered "
                "otherwise than before.",
                "Look for dropout that is left on: dropkit.freeze(model), dropkit.audit.",
            )
        for one in drifts:
            if one.index >= self.threshold and one.p_value <= self.alpha:
                yield Alarm(
                    one.of,
                    f"{one.of} has drifted from the release's: stability index {one.index:.2f} "
                    f"over the last {one.n_recent} answers (p = {one.p_value:.1e}).",
                    "Look at what is asked now that was not asked then; dropkit probe says which "
                    "of the four causes it is.",
                )
