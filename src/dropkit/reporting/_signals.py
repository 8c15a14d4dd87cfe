"""What to change next, and each signal that was looked for."""

from dataclasses import dataclass

from dropkit.reporting import _wording as wording
from dropkit.studies.result import Signal, State, StudyResult

_ORDER: tuple[State, ...] = ("fired", "silent", "not measured")


@dataclass(frozen=True)
class SignalRow:
    """One rule: its name and kind, whether it fired, what it found, on which numbers, and why.

    Attributes:
        name: The rule's.
        kind: What the change would be to.
        state: "fired", "silent" or "not measured".
        mark: CSS class of the state.
        message: What was found.
        step: What to do; empty where it did not fire.
        evidence: The numbers and thresholds in words; may be empty.
        source: Where the rule is from.
    """

    name: str
    kind: str
    state: str
    mark: str
    message: str
    step: str
    evidence: str
    source: str


@dataclass(frozen=True)
class NextStepView:
    """The next step in words, what it is about, and the signals: those that fired first."""

    kind: str
    sentence: str
    rows: tuple[SignalRow, ...]


def view_next_step(result: StudyResult) -> NextStepView | None:
    """The next step of `result`; None where no rules were asked."""
    step = result.verdict.next_step
    if step is None:
        return None
    found = sorted(result.verdict.signals, key=lambda signal: _ORDER.index(signal.state))
    return NextStepView(step.kind, step.sentence, tuple(_row(signal) for signal in found))


def _row(signal: Signal) -> SignalRow:
    evidence = ", ".join(
        f"{wording.readable(key)} {value:.4g}" for key, value in signal.evidence.items()
    )
    return SignalRow(
        name=signal.name,
        kind=signal.kind,
        state=signal.state,
        mark=signal.state.replace(" ", "-"),
        message=signal.message,
        step=signal.step if signal.state == "fired" else "",
        evidence=evidence,
        source=signal.source,
    )
