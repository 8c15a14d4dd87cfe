"""Is it as sure as it is right? What `dropkit.uncertainty.reliability` gives, as JSON."""

from dropkit.serving.releasing._limit import Section, at_most

_STEP = "Fit a temperature on held-out examples: dropkit.uncertainty.fit_temperature."
_SOURCE = "Guo et al. 2017, ICML, arXiv:1706.04599"

CALIBRATION = Section(
    "calibration",
    "`dropkit.uncertainty.reliability(...).to_dict()`",
    lambda report: {"confidence", "accuracy", "count", "error"} <= report.keys(),
    (
        at_most(
            "error",
            lambda report: report["error"],
            about="expected calibration error, in [0, 1]",
            next_step=_STEP,
            source=_SOURCE,
        ),
        at_most(
            "worst",
            lambda report: report["worst"],
            about="of all bins the greatest calibration error, in [0, 1]",
            next_step=_STEP,
            source=_SOURCE,
        ),
    ),
)
