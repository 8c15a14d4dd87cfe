"""What the page says beside the numbers: what to change next, and how the study ended."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

from dropkit.reporting._page import view_page
from dropkit.reporting.study_page import write_study_page
from dropkit.studies.plan import Arm
from dropkit.studies.result import NextStep, Signal, StudyResult

MakeResult = Callable[..., StudyResult]

HOSTILE = '<script>alert("1")</script>'


def _render(result: StudyResult, folder: Path) -> str:
    write_study_page(result, folder / "page.html")
    return (folder / "page.html").read_text("utf-8")


def test_next_step_and_every_signal_are_shown(make_result: MakeResult, tmp_path: Path) -> None:
    """The page says what to change next, which signals fired, first, and which did not."""
    full = make_result()
    silent = Signal("more-data", "data", "silent", "No.", "Get more.", {}, "a book")
    fired = Signal("underfits", "model", "fired", "It does.", "Grow it.", {"share": 0.9}, HOSTILE)
    step = NextStep("model", "Grow it.", ("underfits",))
    verdict = dataclasses.replace(full.verdict, next_step=step, signals=[silent, fired])
    result = dataclasses.replace(full, verdict=verdict)
    shown = view_page(result).next_step
    assert shown is not None
    assert ("model", "Grow it.") == (shown.kind, shown.sentence)
    assert [("underfits", "Grow it.", "share 0.9"), ("more-data", "", "")] == [
        (row.name, row.step, row.evidence) for row in shown.rows
    ]
    text = _render(result, tmp_path)
    assert "What to change next" in text
    assert "<script>alert" not in text
    assert "What to change next" not in _render(full, tmp_path)


def test_decided_study_says_why_it_is_short(make_result: MakeResult) -> None:
    """A watched study that ended early names its looks, and its intervals are explained so."""
    page = view_page(
        dataclasses.replace(make_result(), is_decided=True, is_anytime=True, n_replicates=30)
    )
    assert page.notices == (
        "This study ended when it was decided, after 5 of at most 30 replicates. Its intervals "
        "hold at every look on the way.",
    )
    said = " ".join(item.text for item in page.explanations)
    assert "by a confidence sequence over the pairs" in said
    assert "Student" not in said


def test_other_changes_of_an_arm_have_a_column(make_result: MakeResult) -> None:
    """A model change, a part of the data and a preset's name are told in the table."""
    full = make_result()
    changed = Arm("x", "a-preset", model_change={"width": 512}, data_fraction=0.25)
    arm = dataclasses.replace(full.arms[1], arm=dataclasses.replace(changed, name="dropout 0.1"))
    table = view_page(dataclasses.replace(full, arms=[full.arms[0], arm, *full.arms[2:]])).table
    assert "Change" == table.columns[3].name
    assert ("a-preset", "") == (table.rows[1].cells[0].text, table.rows[1].cells[0].order)
    assert ["\N{EM DASH}", "width: 512\ndata: 25%"] == [row.cells[2].text for row in table.rows[:2]]
