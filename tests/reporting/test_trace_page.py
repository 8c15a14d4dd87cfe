"""The page, the picture and the text of a trace: all of it is shown, as text, without a network."""

import dataclasses
import io
import itertools
import json
import math
import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from dropkit.core.address import Address
from dropkit.core.estimate import Estimate
from dropkit.errors import MissingExtraError, OptionError
from dropkit.reporting._trace_risk import level_of, signs_of
from dropkit.reporting._trace_view import view_trace
from dropkit.reporting.trace_page import write_trace_json, write_trace_page
from dropkit.reporting.trace_picture import write_trace_picture
from dropkit.reporting.trace_text import trace_text
from dropkit.sites.find import Site
from dropkit.tracing._signals import Histogram
from dropkit.tracing.result import SiteTrace, Trace
from support_browser import open_page, with_script

MakeTrace = Callable[..., Trace]
HOSTILE = '<script>alert("1")</script>'


def _row(at: int, n_sites: int, name: str) -> SiteTrace:
    share = (1.0 + math.sin(2.1 * at)) / n_sites
    half = Estimate(share, 0.5 * share, min(2.0 * share, 1.0))
    return SiteTrace(
        site=Site(name, "Dropout", 0.1, active=True, where=f"model.py:{at}", calls=1, elements=640),
        code=f"x = self.drop(x)  # {at} {HOSTILE}",
        address=Address(at, 1),
        measured_rate=0.1,
        shape=(4, 160),
        mean_in=0.0,
        variance_in=1.0,
        mean_out=0.01,
        variance_out=1.1,
        gradient_kept=0.95,
        first_order=half,
        total=half,
        output_first_order=half,
        output_total=half,
        penalty=Estimate(0.01 * at, -0.1, 0.2),
        flips=0.3 if at == 1 else 0.0,
        forward_share=0.02,
        backward_share=0.01,
        forward_share_torch=0.05,
        backward_share_torch=0.01,
        bytes_kept=24,
        bytes_kept_torch=2560,
        histogram=Histogram(-3.0, 3.0, (1, 5, 9, 5, 1), (3, 4, 8, 4, 1)),
    )


@pytest.fixture
def make_trace() -> MakeTrace:
    """Builds a trace by a formula; further arguments replace its fields."""

    def make(n_sites: int = 5, name: str | None = None, **changes: object) -> Trace:
        names = [f"layers.{at // 2}.{('attn', 'mlp')[at % 2]}_drop" for at in range(n_sites)]
        if name is not None:
            names[-1] = name
        trace = Trace(
            sites=tuple(_row(at, n_sites, name) for at, name in enumerate(names)),
            target="loss",
            loss=1.5,
            loss_deviation=0.1,
            disagreement=0.05,
            seed=0,
            samples=64,
            blocks=12,
            runs=180,
            forward_ms={"torch": 5.0, "dropkit": 4.0},
            backward_ms={"torch": 9.0, "dropkit": 8.0},
            wall_s=2.0,
            confidence=0.95,
            not_seen=("Something was not seen.",),
            about={"model": "Model", "dropkit": "0.1.0", "threads": 1},
        )
        return dataclasses.replace(trace, **changes)  # type: ignore[arg-type]

    return make


def _page(trace: Trace, folder: Path) -> Path:
    write_trace_page(trace, folder / "page.html")
    return folder / "page.html"


def test_every_site_is_a_station(make_trace: MakeTrace) -> None:
    """Both chains hold a station a site, higher where leverage is, in the order of the data."""
    page = view_trace(make_trace(5))
    for chain in page.chains:
        assert [f"site-{at}" for at in range(5)] == [s.anchor for s in chain.stations]
        heights = [-station.y for station in chain.stations]
        shares = [row.total.value for row in make_trace(5).sites if row.total]
        assert sorted(range(5), key=heights.__getitem__) == sorted(range(5), key=shares.__getitem__)
        assert all(s.high <= s.y <= s.low for s in chain.stations)


def test_long_chain_fits(make_trace: MakeTrace) -> None:
    """200 stations keep apart and inside, and names of their groups do not overlap."""
    chain = view_trace(make_trace(200)).chains[0]
    places = [station.x for station in chain.stations]
    assert all(b - a > 4.0 for a, b in itertools.pairwise(places))
    assert chain.frame.left < places[0] < places[-1] < chain.frame.right
    assert all(s.width < 5.0 for s in chain.stations)
    named = [group for group in chain.groups if group.name]
    assert 10 < len(named) < len(chain.groups)


def test_without_a_loss_there_is_one_chain(make_trace: MakeTrace) -> None:
    """What was not measured is not drawn, and a dash in the table."""
    trace = make_trace(3)
    rows = [dataclasses.replace(row, total=None, penalty=None) for row in trace.sites]
    page = view_trace(dataclasses.replace(trace, sites=tuple(rows), target="output"))
    assert ["On the output"] == [chain.title for chain in page.chains]
    assert {"\N{EM DASH}"} == {row.cells[2].text for row in page.rows}


def test_signs_of_risk(make_trace: MakeTrace) -> None:
    """Each sign has a level and a sentence with its number; the worst comes first."""
    row = dataclasses.replace(
        make_trace(2).sites[0], variance_ratio=1.4, never_kept=0.2, saturation=0.95, correlation=0.7
    )
    assert [
        "The next batch norm meets 1.40 times the variance in training that it meets in use, and "
        "keeps the wrong one (Li et al. 2019).",
        "No sample of the batch kept 20% of the units. They learn nothing from it.",
        "95% of what it drops is on the flat part of an activation.",
        "Units move together (mean absolute correlation 0.70). What one loses the others still "
        "tell.",
    ] == [sign.text for sign in signs_of(row)]
    assert "high" == level_of(row)
    assert "calm" == level_of(make_trace(2).sites[0])


def test_rate_that_is_not_the_one_asked_for(make_trace: MakeTrace) -> None:
    """A measured rate beyond five deviations of a binomial draw is a sign."""
    row = dataclasses.replace(make_trace(1).sites[0], measured_rate=0.3)
    assert ["It was asked to drop 0.1 and dropped 0.3."] == [sign.text for sign in signs_of(row)]


def test_every_text_is_escaped(make_trace: MakeTrace, tmp_path: Path) -> None:
    """Markup in names, lines and sentences is shown as text; so in the picture."""
    trace = make_trace(3, HOSTILE, not_seen=(HOSTILE,), about={"model": HOSTILE})
    text = _page(trace, tmp_path).read_text("utf-8")
    write_trace_picture(trace, tmp_path / "chain.svg")
    for found in (text, (tmp_path / "chain.svg").read_text("utf-8")):
        assert "<script>alert" not in found
        assert "&lt;script&gt;alert(" in found


def test_page_names_nothing_outside_itself(make_trace: MakeTrace, tmp_path: Path) -> None:
    """No address or source leads out of the file, links only within it, and the browser is told."""
    text = _page(make_trace(), tmp_path).read_text("utf-8")
    assert [] == re.findall(r'https?:|//[a-z]|\bsrc=|href="(?!#)|url\(|@import|xmlns', text)
    policy = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
    assert f'content="{policy}"' in text


def test_real_browser_shows_the_page(make_trace: MakeTrace, tmp_path: Path) -> None:
    """Chromium draws all, says nothing on its console, and shows a hostile name as text."""
    page = _page(make_trace(5, HOSTILE), tmp_path)
    dom, console = open_page(page, tmp_path / "profile")
    assert [] == console
    assert 10 == len(re.findall(r"<a href=\"#site-\d\" class=\"station", dom))
    assert 1 == len(re.findall(r'<article class="site[^"]* chosen"', dom))
    assert 1 == dom.count("<script>")
    assert '&lt;script&gt;alert("1")&lt;/script&gt;</h3>' in dom


def test_console_check_can_fail(make_trace: MakeTrace, tmp_path: Path) -> None:
    """A script that throws, and a request that the policy refuses, are said on the console."""
    page = _page(make_trace(1), tmp_path)
    for script in ("undefined.x;", "new Image().src = 'file:///no.png';"):
        broken = with_script(page, script, tmp_path / "broken.html")
        assert open_page(broken, tmp_path / "profile")[1]


def test_real_browser_chooses_a_site(make_trace: MakeTrace, tmp_path: Path) -> None:
    """A click on a station, and an arrow key behind it, choose the site whose numbers are shown."""
    script = (
        "const links = document.querySelectorAll('.chain a');"
        "links[2].dispatchEvent(new MouseEvent('click', {bubbles: true, cancelable: true}));"
        "links[2].dispatchEvent(new KeyboardEvent('keydown', {key: 'ArrowRight', bubbles: true}));"
    )
    pressed = with_script(_page(make_trace(), tmp_path), script, tmp_path / "pressed.html")
    dom, console = open_page(pressed, tmp_path / "profile")
    assert [] == console
    assert ["site-3"] == re.findall(r'<article class="site[^"]* chosen" id="([^"]+)"', dom)
    assert {"#site-3"} == set(re.findall(r'<a href="(#site-\d)" class="station[^"]* chosen"', dom))


def test_real_browser_sorts_200_sites(make_trace: MakeTrace, tmp_path: Path) -> None:
    """A click on a header orders 200 rows by that column's numbers."""
    script = "document.querySelectorAll('th button')[3].click();"
    trace = make_trace(200)
    pressed = with_script(_page(trace, tmp_path), script, tmp_path / "pressed.html")
    dom, console = open_page(pressed, tmp_path / "profile")
    assert [] == console
    found = re.findall(r'<th scope="row" data-order="([^"]+)"', dom)
    shares = {row.site.name: row.total.value for row in trace.sites if row.total}
    assert sorted(shares, key=shares.__getitem__) == found


def test_pictures(make_trace: MakeTrace, tmp_path: Path) -> None:
    """The ending says what is written; a PNG is as wide as three times the SVG."""
    trace = make_trace(4)
    write_trace_picture(trace, tmp_path / "chain.svg")
    text = (tmp_path / "chain.svg").read_text("utf-8")
    assert text.startswith("<svg ")
    assert "var(" not in text
    pytest.importorskip("resvg_py")
    write_trace_picture(trace, tmp_path / "chain.png")
    data = (tmp_path / "chain.png").read_bytes()
    assert b"\x89PNG" == data[:4]
    assert 3 * 1032 == int.from_bytes(data[16:20], "big")


def test_what_pictures_refuse(make_trace: MakeTrace, tmp_path: Path, monkeypatch) -> None:
    """Another ending, no site, and a missing package are told in a sentence each."""
    with pytest.raises(OptionError, match=r"^`path` must end in \.svg or \.png; got 'a\.pdf'\.$"):
        write_trace_picture(make_trace(), tmp_path / "a.pdf")
    with pytest.raises(OptionError, match=r"^`trace` must have a site to draw; got none\.$"):
        write_trace_picture(make_trace(1, sites=()), tmp_path / "a.svg")
    monkeypatch.setitem(sys.modules, "resvg_py", None)
    message = "PNG pictures need resvg-py: pip install 'dropkit[png]'."
    with pytest.raises(MissingExtraError, match="^" + re.escape(message) + "$"):
        write_trace_picture(make_trace(), tmp_path / "a.png")
    assert [] == list(tmp_path.iterdir())


def test_json_holds_every_number(make_trace: MakeTrace, tmp_path: Path) -> None:
    """What is read back is what `to_dict` gives; what is not finite is null."""
    trace = make_trace(2, loss=math.nan)
    write_trace_json(trace, tmp_path / "trace.json")
    found = json.loads((tmp_path / "trace.json").read_text("utf-8"))
    assert found["loss"] is None
    assert found["sites"][1]["total"] == dataclasses.asdict(trace.sites[1])["total"]
    assert [1, 5, 9, 5, 1] == found["sites"][0]["histogram"]["before"]


def _text(trace: Trace) -> str:
    console = Console(file=io.StringIO(), width=110, color_system=None)
    console.print(trace_text(trace))
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_terminal(make_trace: MakeTrace) -> None:
    """A row a site, the worst signs, what was not seen; markup in a name is text."""
    text = _text(make_trace(3, "[bold]x[/]"))
    assert "[bold]x[/]" in text
    assert "layers.0.mlp_drop: Another mask at this site alone changes 30% of the pred" in text
    assert "- Something was not seen." in text
    assert "leverage on loss" in text


def test_empty_trace(make_trace: MakeTrace, tmp_path: Path) -> None:
    """A model without dropout has a page and a text that say so."""
    trace = make_trace(1, sites=(), not_seen=("There is nothing to trace.",))
    assert "This model draws no mask in training." in _text(trace)
    assert "There is nothing to trace." in _page(trace, tmp_path).read_text("utf-8")
