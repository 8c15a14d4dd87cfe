"""One colour an arm, the same in every picture and table."""

from dropkit.studies.result import StudyResult

#: Colours that `study.css` defines beside the baseline's grey; after them they come again.
N_COLOURS = 8


def series_of_arms(result: StudyResult) -> dict[str, str]:
    """The CSS class of each arm's colour: ``series-0`` for the baseline, others in order.

    Colours come from Okabe and Ito 2008, "Color Universal Design", darkened or lightened until
    they stand out from the page. Every swatch has its arm's name beside it, so colour is never
    the only mark.
    """
    others = [arm.arm.name for arm in result.arms if arm.arm.name != result.baseline]
    series = {name: f"series-{1 + index % N_COLOURS}" for index, name in enumerate(others)}
    return {**series, result.baseline: "series-0"}
