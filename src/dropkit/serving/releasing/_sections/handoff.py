"""What goes to a person? What `dropkit.uncertainty.Handoff.save` has written."""

from dropkit.serving.releasing._limit import Section, at_least, at_most

_SOURCE = "Angelopoulos et al. 2021, Learn then Test, arXiv:2110.01052"
_STEP = "Fit the hand-over again with this promise; it says where the data cannot support it."

HANDOFF = Section(
    "handoff",
    "`dropkit.uncertainty.Handoff.save`",
    lambda report: report.get("format") == "dropkit handoff",
    (
        at_most(
            "risk",
            lambda report: report["risk"],
            about="error among answers that are given, as promised, in [0, 1]",
            next_step=_STEP,
            source=_SOURCE,
        ),
        at_most(
            "delta",
            lambda report: report["delta"],
            about="chance that the promise does not hold, in [0, 1]",
            next_step=_STEP,
            source=_SOURCE,
        ),
        at_most(
            "handed-over",
            lambda report: 1.0 - report["n_answered"] / report["n_examples"],
            about="share of examples that goes to a person, in [0, 1]",
            next_step="A better score or a better model hands over less; so does a higher risk.",
            source=_SOURCE,
        ),
        at_least(
            "examples",
            lambda report: report["n_examples"],
            about="labelled examples that the promise rests on",
            next_step="Label more examples of what is met in service, and fit it again.",
            source=_SOURCE,
        ),
    ),
)
