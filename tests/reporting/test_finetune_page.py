"""A fine-tuning's page shows every arm and measure, and trusts no text, the model's least of all."""

import dataclasses
import math
import re
from collections.abc import Callable
from pathlib import Path

from dropkit.core.estimate import Estimate
from dropkit.finetuning.result import Adapter, ArmOutcome, FinetuneResult, Moment, Sample, Speed
from dropkit.reporting._finetune_view import view_finetuning
from dropkit.reporting.finetune_page import write_finetune_page
from dropkit.studies.result import StudyResult
from support_browser import Outline, open_page

MakeResult = Callable[..., StudyResult]

HOSTILE = '<script>alert("1")</script>'


def _result(study: StudyResult) -> FinetuneResult:
    """What a fine-tuning with the study's first four arms could have found."""
    arms = tuple(
        ArmOutcome(
            name=arm.arm.name,
            rate=0.1 * k,
            curve=(Moment(0, 3.0, 3.1, 22.2, 0.3, 4.0), Moment(1, 2.0, 2.5, 12.2, 0.4, 4.1)),
            best_epoch=1,
            measures={
                "membership_auc": Estimate(0.8 - 0.1 * k, 0.7 - 0.1 * k, 0.9 - 0.1 * k),
                "extracted_train": Estimate(0.4 - 0.1 * k, math.nan, math.nan),
                "held_out_loss": Estimate(2.5, 2.4, 2.6),
            },
        )
        for k, arm in enumerate(study.arms[:4])
    )
    return FinetuneResult(
        settings={"epochs": 3},
        about={},
        data={"train": {"n_conversations": 32, "left_out": []}, "split": {"n_exact_copies": 2}},
        arms=arms,
        samples=(Sample("Where?", "There.", {arm.name: f"By {arm.name}." for arm in arms}),),
        study=study,
        speed=Speed(2.5, 0.4, 1234.0, {"training": 30.0, "memorization": 10.0}, 41.0),
        adapter=Adapter(arms[1].name, 0.1, 0, 2, 2.4, is_full=False),
    )


def _render(result: FinetuneResult, folder: Path) -> str:
    write_finetune_page(result, folder / "page.html")
    return (folder / "page.html").read_text("utf-8")


def test_each_measure_has_a_panel_with_each_arm(make_result: MakeResult) -> None:
    """Values, intervals where there are any, and what to compare with."""
    page = view_finetuning(_result(make_result()))
    assert ["Membership inference", "Said verbatim", "Held-out loss"] == [
        panel.title for panel in page.panels
    ]
    first = page.panels[0]
    assert ["0.800 (0.700 to 0.900)", "0.700 (0.600 to 0.800)"] == [
        bar.value for bar in first.bars[:2]
    ]
    assert first.bars[0].at > first.bars[1].at > first.zero
    assert all(bar.start < bar.at < bar.end for bar in first.bars)
    assert [None] * 4 == [bar.start for bar in page.panels[1].bars]
    assert ["0.400", "0.300", "0.200", "0.100"] == [bar.value for bar in page.panels[1].bars]


def test_facts_are_said(make_result: MakeResult, tmp_path: Path) -> None:
    """What was kept, answers side by side, data, time."""
    text = _render(_result(make_result()), tmp_path)
    for words in (
        "The adapter of dropout 0.1 after epoch 2 of 3 was kept: held-out loss 2.400 nats",
        "By no dropout.",
        "By dropout 0.3.",
        "There.",
        "30 s (75%)",
        "exact copies",
        "Dropout helps",
    ):
        assert words in text


def test_what_was_not_measured_is_not_shown(make_result: MakeResult, tmp_path: Path) -> None:
    """No measures, samples, data or adapter: a page all the same."""
    full = _result(make_result())
    bare = dataclasses.replace(
        full,
        arms=tuple(dataclasses.replace(arm, measures={}) for arm in full.arms),
        samples=(),
        data={},
        adapter=None,
    )
    text = _render(bare, tmp_path)
    assert "What each arm memorized" not in text
    assert "What each arm answers" not in text
    assert "No trial was finished, so nothing was kept." in text


def test_every_text_is_escaped(make_result: MakeResult, tmp_path: Path) -> None:
    """A question, an answer and an arm's name are shown as text."""
    full = _result(make_result())
    arms = (dataclasses.replace(full.arms[0], name=HOSTILE), *full.arms[1:])
    result = dataclasses.replace(
        full, arms=arms, samples=(Sample(HOSTILE, HOSTILE, {HOSTILE: HOSTILE}),)
    )
    text = _render(result, tmp_path)
    assert "<script>alert" not in text
    assert text.count("&lt;script&gt;alert(&#34;1&#34;)&lt;/script&gt;") >= 5
    assert 1 == Outline(text).count("script")


def test_page_names_nothing_outside_itself(make_result: MakeResult, tmp_path: Path) -> None:
    """No address, source, link or import leads out of the file, and the browser is told so."""
    text = _render(_result(make_result()), tmp_path)
    assert [] == re.findall(r"https?:|//[a-z]|\bsrc=|\bhref=|url\(|@import|xmlns", text)
    policy = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
    assert 1 == Outline(text).count("meta", content=policy)


def test_real_browser_shows_the_page(make_result: MakeResult, tmp_path: Path) -> None:
    """Chromium has nothing to say about it."""
    _render(_result(make_result()), tmp_path)
    dom, said = open_page(tmp_path / "page.html", tmp_path / "profile")
    assert said == []
    assert 12 == Outline(dom).count("circle", **{"class": "at"})
