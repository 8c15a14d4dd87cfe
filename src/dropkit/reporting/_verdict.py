"""The verdict, ready to be shown first."""

import math
from dataclasses import dataclass

from dropkit.reporting import _wording as wording
from dropkit.studies.result import Decision, StudyResult

_HEADLINES: dict[Decision, tuple[str, str]] = {
    "helps": ("helps", "Dropout helps"),
    "harms": ("harms", "Dropout harms"),
    "no practical difference": ("same", "No practical difference"),
    "not enough evidence": ("unknown", "Not enough evidence"),
}


@dataclass(frozen=True)
class Fact:
    """A value with its name, both in words."""

    name: str
    value: str


@dataclass(frozen=True)
class VerdictView:
    """The decision and what stands behind it.

    Attributes:
        mark: Which sign and colour the template draws: helps, harms, same or unknown.
        headline: The decision.
        sentence: The numbers behind it.
        facts: Its key numbers.
        rests_on: A sentence each.
    """

    mark: str
    headline: str
    sentence: str
    facts: tuple[Fact, ...]
    rests_on: tuple[str, ...]


def view_verdict(result: StudyResult, decimals: int) -> VerdictView:
    """The verdict of `result`, its differences written with `decimals`."""
    verdict = result.verdict
    mark, headline = _HEADLINES[verdict.decision]
    facts = []
    if verdict.best is not None:
        facts.append(Fact("Best dropout arm", verdict.best))
    if verdict.effect is not None and math.isfinite(verdict.effect.value):
        name = f"{wording.readable(result.metric)} against {result.baseline}"
        value = wording.signed(verdict.effect.value, decimals)
        facts.append(Fact(wording.capitalized(name), value))
        level = wording.percentage(result.confidence)
        facts.append(
            Fact(f"{level} interval, all arms at once", wording.interval(verdict.effect, decimals))
        )
    if len(verdict.best_set) > 1:
        facts.append(Fact("May be the best rate", ", ".join(verdict.best_set)))
    if result.margin > 0.0:
        margin = wording.fixed(result.margin, decimals)
        facts.append(Fact("Of no practical interest", f"within ±{margin}"))
    sentence = _without_headline(verdict.sentence, headline)
    return VerdictView(mark, headline, sentence, tuple(facts), tuple(verdict.rests_on))


def _without_headline(sentence: str, headline: str) -> str:
    """The sentence from after its opening words, where the headline above it says the same."""
    rest = sentence.removeprefix(f"{headline}: ")
    return sentence if rest == sentence else wording.capitalized(rest)
