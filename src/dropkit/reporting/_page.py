"""The whole page as data: everything that the template shows, and nothing that it must compute."""

import math
from dataclasses import dataclass

from dropkit.reporting import _wording as wording
from dropkit.reporting._curves import Curves, view_curves
from dropkit.reporting._explanations import Explanation, explain
from dropkit.reporting._forest import Forest, view_forest
from dropkit.reporting._palette import series_of_arms
from dropkit.reporting._signals import NextStepView, view_next_step
from dropkit.reporting._table import Table, view_table
from dropkit.reporting._verdict import Fact, VerdictView, view_verdict
from dropkit.studies.result import StudyResult

#: Facts beside the title; the foot of the page has them all.
_N_FACTS_ON_TOP = 3


@dataclass(frozen=True)
class Failure:
    """A trial that raised: its arm, the CSS class of the arm's colour, replicate and reason."""

    arm: str
    series: str
    replicate: int
    error: str


@dataclass(frozen=True)
class StudyPage:
    """Everything on the page, top to bottom.

    Attributes:
        title: What was studied.
        baseline: Name of the arm that the others are compared with.
        metric: What is compared, in words.
        facts: The most telling ones.
        notices: What limits the numbers and must not be missed, a sentence each.
        verdict: Shown first.
        forest: None where no replicate is complete.
        next_step: What to change next; None where no rules were asked.
        table: An arm a row.
        curves: None where nothing was measured on the way.
        explanations: How to read the page.
        failures: Trials that raised.
        about: What the study ran on.
        made_by: Which dropkit wrote the page.
    """

    title: str
    baseline: str
    metric: str
    facts: tuple[Fact, ...]
    notices: tuple[str, ...]
    verdict: VerdictView
    forest: Forest | None
    next_step: NextStepView | None
    table: Table
    curves: Curves | None
    explanations: tuple[Explanation, ...]
    failures: tuple[Failure, ...]
    about: tuple[Fact, ...]
    made_by: str


def view_page(result: StudyResult) -> StudyPage:
    """The page that shows `result`."""
    series = series_of_arms(result)
    decimals = _difference_decimals(result)
    about = tuple(Fact(*wording.fact(key, value)) for key, value in result.about.items())
    version = result.about.get("dropkit")
    return StudyPage(
        title=result.title,
        baseline=result.baseline,
        metric=wording.readable(result.metric),
        facts=(*_progress(result), *about[:_N_FACTS_ON_TOP]),
        notices=_notices(result),
        verdict=view_verdict(result, decimals),
        forest=view_forest(result, series, decimals),
        next_step=view_next_step(result),
        table=view_table(result, series, decimals),
        curves=view_curves(result, series),
        explanations=explain(result, decimals),
        failures=tuple(
            Failure(trial.arm, series.get(trial.arm, "series-0"), trial.replicate, trial.error)
            for trial in result.trials
            if trial.error is not None
        ),
        about=about,
        made_by=f"dropkit {version}" if version is not None else "dropkit",
    )


def _difference_decimals(result: StudyResult) -> int:
    """Decimals that show two digits of the margin, or of the largest difference without one."""
    sizes = [abs(difference.estimate.value) for difference in result.differences]
    largest = max((size for size in sizes if math.isfinite(size)), default=0.0)
    return wording.decimals_for(result.margin if result.margin > 0.0 else largest)


def _progress(result: StudyResult) -> tuple[Fact, ...]:
    return (
        Fact("replicates", f"{result.n_complete} of {result.n_replicates} complete"),
        Fact("arms", str(len(result.arms))),
    )


def _notices(result: StudyResult) -> tuple[str, ...]:
    if result.is_decided:
        return (
            f"This study ended when it was decided, after {result.n_complete} of at most "
            f"{result.n_replicates} replicates. Its intervals hold at every look on the way.",
        )
    n_missing = result.n_replicates - result.n_complete
    if not result.was_stopped and n_missing <= 0:
        return ()
    begin = "This study was stopped early. " if result.was_stopped else ""
    if result.n_complete == 0:
        return (f"{begin}No replicate was finished by every arm, so nothing can be compared yet.",)
    noun = "replicate" if result.n_replicates == 1 else "replicates"
    return (
        f"{begin}The numbers rest on {result.n_complete} of {result.n_replicates} planned "
        f"{noun}: those that every arm finished.",
    )
