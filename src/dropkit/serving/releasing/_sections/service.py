"""How did it answer when it was tried? What `dropkit.serving.Baseline.save` has written."""

from collections.abc import Callable

from dropkit.serving.monitoring._counts import quantile
from dropkit.serving.releasing._limit import Report, Section, at_least, at_most

_SOURCE = "dropkit.serving.Monitor"


def _upper(of: str, q: float) -> Callable[[Report], float | None]:
    """Upper end of the bin in which a quantile lies; None where nothing was counted."""

    def get(report: Report) -> float | None:
        counts = report["counts"].get(of)
        return None if counts is None else quantile(report["edges"][of], counts, q)

    return get


def _handed_over(report: Report) -> float | None:
    counts = report["counts"].get("handed_over")
    return counts[1] / sum(counts) if counts and sum(counts) else None


SERVICE = Section(
    "service",
    "`dropkit.serving.Monitor.record_baseline().save`",
    lambda report: report.get("format") == "dropkit service baseline",
    (
        at_most(
            "p95-s",
            _upper("latency_s", 0.95),
            about="seconds in which 95 of 100 answers came (end of a bin)",
            next_step="Ask fewer sub-networks an answer, or serve from more processes.",
            source=_SOURCE,
        ),
        at_most(
            "disagreement-p95",
            _upper("disagreement", 0.95),
            about="of 95 in 100 answers, in [0, 1] (end of a bin)",
            next_step="Look at what is asked that the model was not trained on.",
            source=_SOURCE,
        ),
        at_most(
            "handed-over",
            _handed_over,
            about="share of answers that went to a person, in [0, 1]",
            next_step="A better score or a better model hands over less; so does a higher risk.",
            source=_SOURCE,
        ),
        at_most(
            "differing",
            lambda report: report["differing"] if report["repeats"] else None,
            about="repeated requests with another answer",
            next_step="Look for dropout that is left on: dropkit.freeze(model), dropkit.audit.",
            source=_SOURCE,
        ),
        at_least(
            "repeats",
            lambda report: report["repeats"],
            about="requests that were answered twice",
            next_step="Try it with more requests, or with a greater `share` of repeats.",
            source=_SOURCE,
        ),
        at_least(
            "answers",
            lambda report: max((sum(counts) for counts in report["counts"].values()), default=0),
            about="answers that were counted",
            next_step="Try it with more requests.",
            source=_SOURCE,
        ),
    ),
)
