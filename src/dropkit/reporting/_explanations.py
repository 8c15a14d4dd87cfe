"""How to read the page, in plain words and with this study's numbers."""

from dataclasses import dataclass

from dropkit.reporting import _wording as wording
from dropkit.studies.result import StudyResult


@dataclass(frozen=True)
class Explanation:
    """A term and what it means here."""

    term: str
    text: str


def explain(result: StudyResult, decimals: int) -> tuple[Explanation, ...]:
    """What a reader must know to judge `result`."""
    level = wording.percentage(result.confidence)
    n_joint = sum(difference.jointly is not None for difference in result.differences)
    return (
        Explanation(
            "Paired replicates",
            "Each replicate draws everything that chance decides anew, and all its arms share "
            "that draw. What luck does to one arm it does to the others too, so the difference "
            "of a pair is steadier than either number alone. Each dot is one pair: an arm minus "
            f"{result.baseline}, in one replicate.",
        ),
        Explanation(
            "Thick bar: one arm",
            f"The {level} interval of the mean difference for this arm alone, {_how(result)}. It "
            "fits an arm that was singled out before the study.",
        ),
        Explanation(
            "Thin line: all arms at once",
            f"Whoever picks the best of several arms picks luck too. The thin lines are wider, so "
            f"that the {_count(n_joint)} the verdict looks at hold together with {level} "
            "confidence (Bonferroni). Arms that the verdict does not look at have none.",
        ),
        *_elsewhere(result),
        Explanation("Margin", _margin(result, decimals)),
        *_metrics(result),
    )


def _how(result: StudyResult) -> str:
    if result.is_anytime:
        return (
            "by a confidence sequence over the pairs: it holds however often one looked and "
            "whenever the study ended, and is wider for it (Wang and Ramdas 2024)"
        )
    return "by Student's t over the pairs, for the one look when all replicates were done"


def _count(n: int) -> str:
    return "one interval" if n == 1 else f"{n} intervals"


def _elsewhere(result: StudyResult) -> tuple[Explanation, ...]:
    if result.resample_ratio <= 0.0:
        return ()
    text = (
        "All replicates re-split one data set, so thick bar and thin line speak for that data set. "
        "The splits share examples and lie closer together than new data would. For another data "
        "set of this kind the variance of the mean is taken as s² (1/n + validation/training) in "
        f"place of s²/n, with validation/training = {result.resample_ratio:.2g} (the correction "
        "of Nadeau and Bengio 2003)."
    )
    return (Explanation("Dotted line: other data", text),)


def _margin(result: StudyResult, decimals: int) -> str:
    crossing = (
        "An interval that crosses zero does not show that two arms are alike; it may only be wide."
    )
    if result.margin <= 0.0:
        return f"This study set none: every difference counts, however small. {crossing}"
    metric = wording.readable(result.metric)
    return (
        f"Differences of the {metric} within ±{wording.fixed(result.margin, decimals)} count as "
        "too small to matter in practice; they are the shaded band. Two arms are alike in "
        "practice where two one-sided tests, of a difference beyond either end of the band, both "
        f"say so. {crossing}"
    )


def _metrics(result: StudyResult) -> tuple[Explanation, ...]:
    keys = {key for arm in result.arms for key in arm.means}
    known = {
        "gap": Explanation(
            "Train\N{EN DASH}validation gap",
            "How far apart the training and the validation loss are at the end; a wide gap is "
            "the sign of overfitting that dropout is meant to narrow.",
        ),
        "ece": Explanation(
            "Calibration error (ECE)",
            "Expected calibration error, a share from 0 to 1: how far a model's stated confidence "
            "is from how often it is right. 0 is best.",
        ),
    }
    return tuple(text for key, text in known.items() if key in keys)
