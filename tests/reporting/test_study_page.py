"""The page shows the whole result."""

import dataclasses
import math
import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from dropkit.core.estimate import Estimate
from dropkit.errors import MissingExtraError
from dropkit.reporting._page import StudyPage, view_page
from dropkit.reporting.study_page import write_study_page
from dropkit.studies.plan import Arm
from dropkit.studies.result import Decision, StudyResult, TrialRecord

MakeResult = Callable[..., StudyResult]


def _render(result: StudyResult, folder: Path) -> str:
    write_study_page(result, folder / "page.html")
    return (folder / "page.html").read_text("utf-8")


def _numbers(page: StudyPage) -> list[float]:
    """Every place in every picture."""
    found: list[float] = []
    queue: list[object] = [page.forest, page.curves]
    while queue:
        item = queue.pop()
        if dataclasses.is_dataclass(item):
            queue.extend(getattr(item, field.name) for field in dataclasses.fields(item))
        elif isinstance(item, tuple):
            queue.extend(item)
        elif isinstance(item, int | float):
            found.append(item)
    return found


def test_every_arm_but_the_baseline_has_a_row_of_pairs(make_result: MakeResult) -> None:
    """The picture has a row for each arm, and a dot for each of its pairs."""
    result = make_result()
    forest = view_page(result).forest
    assert forest is not None
    assert [row.name for row in forest.rows] == [arm.arm.name for arm in result.arms[1:]]
    assert [len(row.dots) for row in forest.rows] == [5] * 5
    assert forest.rows[0].dots[2].label.startswith("dropout 0.1, replicate 2: \N{MINUS SIGN}0.")


def test_places_keep_the_order_of_the_numbers(make_result: MakeResult) -> None:
    """Wider intervals enclose narrower ones, and a mean left of zero lies left of the zero line."""
    result = make_result()
    forest = view_page(result).forest
    assert forest is not None
    row = forest.rows[1]
    assert row.mean is not None
    assert row.interval is not None
    assert row.jointly is not None
    assert row.elsewhere is not None
    starts = [row.elsewhere.start, row.jointly.start, row.interval.start, row.mean]
    ends = [row.mean, row.interval.end, row.jointly.end, row.elsewhere.end]
    assert starts + ends == sorted(starts + ends)
    assert row.mean < forest.zero
    assert forest.band is not None
    assert forest.band[0] < forest.zero < forest.band[0] + forest.band[1]


def test_only_judged_arms_have_joint_intervals(make_result: MakeResult) -> None:
    """An arm that the verdict does not look at has its own interval and no other."""
    forest = view_page(make_result()).forest
    assert forest is not None
    assert [row.jointly is not None for row in forest.rows] == [True, True, True, False, False]
    assert [row.interval is not None for row in forest.rows] == [True] * 5


def test_interval_beyond_the_picture_has_an_arrow(make_result: MakeResult) -> None:
    """An interval many times wider than the pairs is cut, marked, and explained."""
    result = make_result()
    wide = dataclasses.replace(result.differences[0], jointly=Estimate(-0.1, -50.0, 49.8))
    forest = view_page(
        dataclasses.replace(result, differences=[wide, *result.differences[1:]])
    ).forest
    assert forest is not None
    bar = forest.rows[0].jointly
    assert bar is not None
    assert (bar.start, bar.is_open_left, bar.end, bar.is_open_right) == (1.0, True, 99.0, True)
    assert forest.remarks == ("An arrow marks an interval that runs on beyond the picture.",)


def test_one_replicate_has_dots_and_no_interval(make_result: MakeResult, tmp_path: Path) -> None:
    """Nothing that is not a number reaches the page, and the page says why intervals lack."""
    result = make_result(1)
    page = view_page(result)
    assert page.forest is not None
    assert [row.interval for row in page.forest.rows] == [None] * 5
    assert [row.ends for row in page.forest.rows] == ["no interval"] * 5
    assert page.forest.remarks == (
        "One replicate gives no interval: how far the next would differ cannot be told from it.",
    )
    assert all(math.isfinite(number) for number in _numbers(page))
    assert not re.search(r"\b(nan|inf|infinity)\b", _render(result, tmp_path), re.IGNORECASE)


def test_without_a_complete_replicate_there_is_a_page(
    make_result: MakeResult, tmp_path: Path
) -> None:
    """A study stopped at once shows what it has: arms, dashes and the reason."""
    full = make_result()
    result = dataclasses.replace(
        full,
        n_complete=0,
        was_stopped=True,
        arms=[dataclasses.replace(arm, n_finished=0, means={}, curve=()) for arm in full.arms],
        differences=(),
        verdict=dataclasses.replace(
            full.verdict, decision="not enough evidence", best=None, effect=None, rests_on=()
        ),
        trials=(),
    )
    page = view_page(result)
    assert (page.forest, page.curves) == (None, None)
    assert {cell.text for row in page.table.rows for cell in row.cells[2:6]} == {"\N{EM DASH}"}
    assert page.notices == (
        "This study was stopped early. No replicate was finished by every arm, so nothing can be "
        "compared yet.",
    )
    assert "No pair of trials is complete" in _render(result, tmp_path)


def test_stopped_study_says_what_the_numbers_rest_on(make_result: MakeResult) -> None:
    """The notice names complete and planned replicates; a whole study has no notice."""
    whole = make_result(3)
    stopped = dataclasses.replace(whole, was_stopped=True, n_replicates=5)
    assert view_page(whole).notices == ()
    assert view_page(stopped).notices == (
        "This study was stopped early. The numbers rest on 3 of 5 planned replicates: those that "
        "every arm finished.",
    )


@pytest.mark.parametrize(
    ("decision", "mark", "headline"),
    [
        ("helps", "helps", "Dropout helps"),
        ("harms", "harms", "Dropout harms"),
        ("no practical difference", "same", "No practical difference"),
        ("not enough evidence", "unknown", "Not enough evidence"),
    ],
)
def test_each_decision_has_its_words_and_mark(
    make_result: MakeResult, tmp_path: Path, decision: Decision, mark: str, headline: str
) -> None:
    """A decision is told by words and by the shape of its mark, not by colour alone."""
    full = make_result()
    result = dataclasses.replace(
        full, verdict=dataclasses.replace(full.verdict, decision=decision, sentence="So it is.")
    )
    verdict = view_page(result).verdict
    assert (verdict.mark, verdict.headline, verdict.sentence) == (mark, headline, "So it is.")
    assert f"</span> {headline}</h2>" in _render(result, tmp_path)


def test_sentence_does_not_repeat_the_headline(make_result: MakeResult) -> None:
    """Opening words that the headline has said are left out below it."""
    full = make_result()
    verdict = dataclasses.replace(full.verdict, sentence="Dropout helps: it does, by 0.2.")
    page = view_page(dataclasses.replace(full, verdict=verdict))
    assert page.verdict.sentence == "It does, by 0.2."


def test_table_has_known_metrics_first_and_unknown_last(make_result: MakeResult) -> None:
    """Columns come in one order, and a key that nobody foresaw is a column in words."""
    full = make_result()
    first = dataclasses.replace(full.arms[0], means={**full.arms[0].means, "top_5_error": 0.25})
    table = view_page(dataclasses.replace(full, arms=[first, *full.arms[1:]])).table
    assert [column.name for column in table.columns] == [
        "Arm",
        "Drop rate",
        "Weight decay",
        "Validation loss",
        "Accuracy",
        "Train\N{EN DASH}validation gap",
        "Calibration error (ECE)",
        "Difference (95% interval)",
        "Training loss",
        "Lowest validation loss",
        "Top 5 error",
    ]
    assert [row.cells[-1].text for row in table.rows] == ["0.250"] + ["\N{EM DASH}"] * 5
    assert [row.is_baseline for row in table.rows] == [True] + [False] * 5
    assert table.rows[0].cells[6].text == "baseline"


def test_rates_by_pattern_have_a_line_each(make_result: MakeResult) -> None:
    """An arm with a rate for each pattern shows all of them and sorts by the highest."""
    full = make_result()
    rates = {"encoder.*": 0.1, "head": 0.5}
    arm = dataclasses.replace(full.arms[1], arm=Arm(full.arms[1].arm.name, rates))
    table = view_page(dataclasses.replace(full, arms=[full.arms[0], arm, *full.arms[2:]])).table
    cell = table.rows[1].cells[0]
    assert (cell.text, cell.order) == ("encoder.*: 0.1\nhead: 0.5", "0.5")


def test_arms_keep_their_colour(make_result: MakeResult) -> None:
    """Picture, table and curves give an arm one colour, and no two arms the same."""
    page = view_page(make_result())
    assert page.forest is not None
    assert page.curves is not None
    table = {row.name: row.series for row in page.table.rows}
    assert {panel.name: panel.series for panel in page.curves.panels} == table
    assert {row.name: row.series for row in page.forest.rows}.items() <= table.items()
    assert table["no dropout"] == "series-0"
    assert len(set(table.values())) == 6


def test_curves_have_the_baseline_as_ghost(make_result: MakeResult) -> None:
    """Every panel but the baseline's own has its validation curve in grey behind."""
    curves = view_page(make_result()).curves
    assert curves is not None
    baseline, *others = curves.panels
    assert baseline.ghost is None
    assert baseline.validation is not None
    assert [panel.ghost for panel in others] == [baseline.validation] * 5
    assert len(baseline.validation.spots) == 10


def test_gap_in_the_data_is_a_gap_in_the_curve(make_result: MakeResult) -> None:
    """A loss that is not a number breaks the line and never becomes a place."""
    full = make_result()
    points = list(full.arms[0].curve)
    points[4] = dataclasses.replace(points[4], metrics={"validation_loss": math.nan})
    broken = dataclasses.replace(full.arms[0], curve=points)
    page = view_page(dataclasses.replace(full, arms=[broken, *full.arms[1:]]))
    assert page.curves is not None
    line = page.curves.panels[0].validation
    assert line is not None
    assert (line.path.count("M"), line.path.count("L")) == (2, 7)
    assert all(math.isfinite(number) for number in _numbers(page))


def test_correction_is_explained_where_it_is_used(make_result: MakeResult) -> None:
    """Nadeau and Bengio are named where replicates re-split one data set, and only there."""
    used = " ".join(item.text for item in view_page(make_result()).explanations)
    unused = view_page(make_result(resample_ratio=0.0)).explanations
    assert "validation/training = 0.25" in used
    assert "Nadeau and Bengio 2003" in used
    assert "Nadeau" not in " ".join(item.text for item in unused)


def test_without_a_margin_there_is_no_band(make_result: MakeResult, tmp_path: Path) -> None:
    """A margin of 0 draws no band and claims none."""
    result = make_result(margin=0.0)
    page = view_page(result)
    assert page.forest is not None
    assert page.forest.band is None
    assert 'class="band' not in _render(result, tmp_path)


def test_failed_trials_are_listed(make_result: MakeResult, tmp_path: Path) -> None:
    """Each failed trial is named with its reason."""
    full = make_result()
    failed = TrialRecord("dropout 0.5", 7, {}, error="RuntimeError: the loss was lost")
    result = dataclasses.replace(full, trials=[*full.trials, failed])
    assert [(item.arm, item.replicate, item.error) for item in view_page(result).failures] == [
        ("dropout 0.5", 7, "RuntimeError: the loss was lost")
    ]
    assert "RuntimeError: the loss was lost" in _render(result, tmp_path)
    assert "Failed trials" not in _render(full, tmp_path)


def test_missing_jinja_names_the_extra(
    make_result: MakeResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without jinja2 the error says what to install, and no file is written."""
    monkeypatch.setitem(sys.modules, "jinja2", None)
    message = "the report needs jinja2: pip install 'dropkit[study]'."
    with pytest.raises(MissingExtraError, match="^" + re.escape(message) + "$"):
        write_study_page(make_result(), tmp_path / "page.html")
    assert list(tmp_path.iterdir()) == []


def test_failed_write_keeps_the_old_page(
    make_result: MakeResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the new page cannot take its place, the old one stays and no draft is left."""

    def fail(_: Path, __: Path) -> None:
        raise PermissionError

    (tmp_path / "page.html").write_text("old", "utf-8")
    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(PermissionError, match=r"^$"):
        write_study_page(make_result(), tmp_path / "page.html")
    assert [path.read_text("utf-8") for path in tmp_path.iterdir()] == ["old"]
