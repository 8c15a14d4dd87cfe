"""The study's page trusts no text in it, asks nothing of the network, and works in a browser."""

import dataclasses
import re
from collections.abc import Callable
from pathlib import Path

from dropkit.reporting.study_page import write_study_page
from dropkit.studies.result import StudyResult, TrialRecord
from support_browser import Outline, open_page, with_script

MakeResult = Callable[..., StudyResult]

HOSTILE = '<script>alert("1")</script>'


def _render(result: StudyResult, folder: Path) -> str:
    write_study_page(result, folder / "page.html")
    return (folder / "page.html").read_text("utf-8")


def _rename(result: StudyResult, old: str, new: str) -> StudyResult:
    """`result` with another name for one arm that is not the baseline."""

    def name(arm: str) -> str:
        return new if arm == old else arm

    return dataclasses.replace(
        result,
        arms=[
            dataclasses.replace(arm, arm=dataclasses.replace(arm.arm, name=name(arm.arm.name)))
            for arm in result.arms
        ],
        differences=[dataclasses.replace(item, arm=name(item.arm)) for item in result.differences],
        trials=[dataclasses.replace(trial, arm=name(trial.arm)) for trial in result.trials],
        verdict=dataclasses.replace(result.verdict, best=name(result.verdict.best or "")),
    )


def test_every_text_is_escaped(make_result: MakeResult, tmp_path: Path) -> None:
    """Markup in names, title, facts, sentences and errors is shown as text."""
    full = _rename(make_result(), "dropout 0.3", HOSTILE)
    result = dataclasses.replace(
        full,
        title=HOSTILE,
        about={HOSTILE: HOSTILE},
        verdict=dataclasses.replace(full.verdict, sentence=HOSTILE, rests_on=[HOSTILE]),
        trials=[*full.trials, TrialRecord(HOSTILE, 9, {}, error=HOSTILE)],
    )
    text = _render(result, tmp_path)
    assert "<script>alert" not in text
    assert "&lt;script&gt;alert(&#34;1&#34;)&lt;/script&gt;" in text
    assert Outline(text).count("script") == 1


def test_page_names_nothing_outside_itself(make_result: MakeResult, tmp_path: Path) -> None:
    """No address, source, link or import leads out of the file, and the browser is told so."""
    text = _render(make_result(), tmp_path)
    assert re.findall(r"https?:|//[a-z]|\bsrc=|\bhref=|url\(|@import|xmlns", text) == []
    policy = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
    assert Outline(text).count("meta", content=policy) == 1


def test_pictures_have_names_for_screen_readers(make_result: MakeResult, tmp_path: Path) -> None:
    """Each picture is an image with a title and a description that exist."""
    outline = Outline(_render(make_result(), tmp_path))
    pictures = [found for tag, found in outline.tags if tag == "svg" and found.get("role") == "img"]
    identifiers = [found["id"] for _, found in outline.tags if "id" in found]
    assert len(pictures) == 7
    assert len(set(identifiers)) == len(identifiers)
    for picture in pictures:
        assert set((picture["aria-labelledby"] or "").split()) <= set(identifiers)


def test_real_browser_shows_the_page(make_result: MakeResult, tmp_path: Path) -> None:
    """Chromium draws all pictures and rows, runs the script, and shows a hostile name as text."""
    result = _rename(make_result(), "dropout 0.3", HOSTILE)
    _render(result, tmp_path)
    dom, said = open_page(tmp_path / "page.html", tmp_path / "profile")
    assert said == []
    outline = Outline(dom)
    assert outline.count("svg", role="img") == 7
    assert outline.count("table", **{"data-ready": "true"}) == 1
    assert outline.count("button") == 10
    assert outline.count("tr") == 7
    assert outline.count("script") == 1
    assert '&lt;script&gt;alert("1")&lt;/script&gt;</span>' in dom


def test_real_browser_sorts_the_table(make_result: MakeResult, tmp_path: Path) -> None:
    """A click on a header orders the rows by that column's numbers and says so; two reverse it."""
    _render(make_result(), tmp_path)
    button = "const press = document.querySelectorAll('th button')[3];"
    orders = []
    for times in (1, 2):
        script = button + "press.click();" * times
        pressed = with_script(tmp_path / "page.html", script, tmp_path / "pressed.html")
        dom, _ = open_page(pressed, tmp_path / "profile")
        direction = ("ascending", "descending")[times - 1]
        assert Outline(dom).count("th", **{"aria-sort": direction}) == 1
        orders.append(re.findall(r'<th scope="row" data-order="([^"]+)"', dom))
    losses = {arm.arm.name: arm.means["validation_loss"] for arm in make_result().arms}
    assert orders[0] == sorted(losses, key=losses.__getitem__)
    assert orders[1] == orders[0][::-1]
