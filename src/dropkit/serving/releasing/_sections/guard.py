"""Did the model draw masks in service? What `dropkit.serving.Guard.save` has written."""

from dropkit.serving.releasing._limit import Report, Section, at_least, at_most

_SOURCE = "dropkit.guard"
_STEP = "Serve the model that dropkit.freeze makes; the guard's record names the places that drew."


def _draws(report: Report) -> int:
    return sum(site["count"] for site in report["sites"])


GUARD = Section(
    "guard",
    "`dropkit.guard(...).save`",
    lambda report: report.get("format") == "dropkit guard",
    (
        at_most(
            "draws",
            _draws,
            about="masks that were drawn, or about to be",
            next_step=_STEP,
            source=_SOURCE,
        ),
        at_most(
            "in-training-mode",
            lambda report: report["in_training_mode"],
            about="forwards in training mode",
            next_step="Call eval() before the model is served.",
            source=_SOURCE,
        ),
        at_most(
            "moved-generator",
            lambda report: report["moved_generator"],
            about="forwards behind which torch's generator stood elsewhere",
            next_step="Look for code that draws behind Python: torch.jit, C, another thread.",
            source=_SOURCE,
        ),
        at_least(
            "forwards",
            lambda report: report["forwards"],
            about="forwards that were guarded",
            next_step="Guard the model for longer before it is judged.",
            source=_SOURCE,
        ),
    ),
)
