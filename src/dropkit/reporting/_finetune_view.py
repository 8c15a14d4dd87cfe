"""A fine-tuning's page as data: the study's page, and what each arm memorized and says."""

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dropkit.core.estimate import Estimate
from dropkit.finetuning.result import ArmOutcome, FinetuneResult
from dropkit.reporting import _wording as wording
from dropkit.reporting._page import StudyPage, view_page
from dropkit.reporting._palette import series_of_arms
from dropkit.reporting._scales import Scale, span_of
from dropkit.reporting._verdict import Fact

#: What is drawn, in order: title, what it says, and a number to compare with.
_MEASURES: Mapping[str, tuple[str, str, float | None]] = {
    "membership_auc": (
        "Membership inference",
        "Chance that a text that was trained on is told from one that was not, by its loss. At 0.5 "
        "one may as well guess.",
        0.5,
    ),
    "min_k_auc": ("Membership by Min-K%", "The same, by the least likely tokens.", 0.5),
    "extracted_train": (
        "Said verbatim",
        "Share of training texts that are continued word for word.",
        0.0,
    ),
    "extracted_held_out": (
        "Said verbatim, held out",
        "The same of texts that were not trained on: what a model says anyway.",
        0.0,
    ),
    "exposure": ("Exposure", "Bits of a planted secret that the model gives away.", 0.0),
    "gap": ("Train-held-out gap", "Held-out less training loss, in nats.", 0.0),
    "held_out_loss": ("Held-out loss", "After the last epoch, in nats.", None),
    "best_held_out_loss": ("Held-out loss at its best", "After the best epoch, in nats.", None),
    "forgotten": ("Forgotten", "Rise of the loss on general text, in nats.", 0.0),
}


@dataclass(frozen=True)
class Bar:
    """One arm in a panel; places in percent of its width.

    Attributes:
        name: The arm's.
        series: CSS class of its colour.
        value: In words, with its interval where it has one.
        at: Place of the value.
        start: Of the interval; None where it has none.
        end: Likewise.
    """

    name: str
    series: str
    value: str
    at: float
    start: float | None
    end: float | None


@dataclass(frozen=True)
class Panel:
    """One measure.

    Attributes:
        title: What is measured.
        lead: What it says, in a sentence or two.
        bars: An arm each.
        zero: Place of the number to compare with, in percent; None where there is none in sight.
    """

    title: str
    lead: str
    bars: tuple[Bar, ...]
    zero: float | None


@dataclass(frozen=True)
class Answer:
    """What an arm says to a question."""

    name: str
    series: str
    text: str


@dataclass(frozen=True)
class Talk:
    """A held-out question, its true answer, and the arms'."""

    question: str
    expected: str
    answers: tuple[Answer, ...]


@dataclass(frozen=True)
class FinetunePage(StudyPage):
    """The study's page and more.

    Attributes:
        kept: What came out, in a sentence.
        panels: A measure each.
        talks: Questions with answers.
        data: Counts and copies.
        speed: Where the time went.
    """

    kept: str
    panels: tuple[Panel, ...]
    talks: tuple[Talk, ...]
    data: tuple[Fact, ...]
    speed: tuple[Fact, ...]


def view_finetuning(result: FinetuneResult) -> FinetunePage:
    """The page that shows `result`."""
    study = view_page(result.study)
    parts = {field.name: getattr(study, field.name) for field in dataclasses.fields(study)}
    series = series_of_arms(result.study)
    panels = (_panel(key, result.arms, series) for key in _MEASURES)
    return FinetunePage(
        **parts,
        kept=_kept(result),
        panels=tuple(panel for panel in panels if panel is not None),
        talks=tuple(
            Talk(
                one.question,
                one.expected,
                tuple(
                    Answer(name, series.get(name, "series-0"), text)
                    for name, text in one.answers.items()
                ),
            )
            for one in result.samples
        ),
        data=_data(result.data),
        speed=_speed(result),
    )


def _kept(result: FinetuneResult) -> str:
    kept = result.adapter
    if kept is None:
        return "No trial was finished, so nothing was kept."
    what = "All weights" if kept.is_full else "The adapter"
    return (
        f"{what} of {kept.arm} after epoch {kept.epoch} of {result.settings['epochs']} was kept: "
        f"held-out loss {wording.fixed(kept.held_out_loss)} nats, replicate {kept.replicate + 1}."
    )


def _panel(key: str, arms: Any, series: Mapping[str, str]) -> Panel | None:
    found: list[tuple[ArmOutcome, Estimate]] = [
        (arm, arm.measures[key])
        for arm in arms
        if key in arm.measures and math.isfinite(arm.measures[key].value)
    ]
    title, lead, zero = _MEASURES[key]
    values = [v for _, e in found for v in (e.value, e.low, e.high)]
    span = span_of([*values, *([] if zero is None else [zero])])
    if not found or span is None:
        return None
    scale = Scale(*span, 4.0, 96.0)
    bars = []
    for arm, estimate in found:
        has_interval = math.isfinite(estimate.low) and math.isfinite(estimate.high)
        text = wording.fixed(estimate.value)
        if has_interval:
            text += f" ({wording.fixed(estimate.low)} to {wording.fixed(estimate.high)})"
        bars.append(
            Bar(
                arm.name,
                series.get(arm.name, "series-0"),
                text,
                scale.place(estimate.value),
                scale.place(estimate.low) if has_interval else None,
                scale.place(estimate.high) if has_interval else None,
            )
        )
    return Panel(title, lead, tuple(bars), None if zero is None else scale.place(zero))


def _data(data: Mapping[str, Any]) -> tuple[Fact, ...]:
    facts = []
    for part, words in (("train", "trained on"), ("held_out", "held out")):
        for key, value in (data.get(part) or {}).items():
            if isinstance(value, int) and not isinstance(value, bool):
                facts.append(Fact(f"{words}: {_counted(key)}", f"{value:,}"))
    for key, value in (data.get("split") or {}).items():
        if key not in {"n_train", "n_held_out"}:
            facts.append(Fact(_counted(key), f"{value:,}"))
    return tuple(facts)


def _counted(key: str) -> str:
    return wording.readable(key.removeprefix("n_"))


def _speed(result: FinetuneResult) -> tuple[Fact, ...]:
    speed = result.speed
    total = sum(speed.parts.values())
    facts = [
        Fact("steps a second", f"{speed.steps_per_s:.3g}"),
        Fact("peak memory (MiB)", f"{speed.peak_mib:,.0f}"),
    ]
    for part, seconds in sorted(speed.parts.items(), key=lambda item: -item[1]):
        share = seconds / total if total else 0.0
        facts.append(Fact(part, f"{seconds:,.0f} s ({share:.0%})"))
    return tuple(facts)
