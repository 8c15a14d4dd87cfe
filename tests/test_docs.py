"""What the documentation says is what happens."""

import doctest
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_examples_run(page: Path) -> None:
    """The Python examples of a page, run in order, print what the page shows."""
    text = page.read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    examples = textwrap.dedent("\n".join(blocks))
    test = doctest.DocTestParser().get_doctest(examples, {}, page.name, str(page), 0)
    failed, _ = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE).run(test)
    assert failed == 0


def test_pages_of_rules_are_what_the_rules_say() -> None:
    """The pages that are written from the rules were written since these changed."""
    done = subprocess.run(
        [sys.executable, ROOT / "docs" / "generate_rules.py", "--check"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (0, "", "") == (done.returncode, done.stdout, done.stderr)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    """A relative link names a file of the repository."""
    prose = re.sub(
        r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE
    )
    links = re.findall(r"\]\(([^)#]+)[^)]*\)", prose)
    missing = [x for x in links if "://" not in x and not (page.parent / x).exists()]
    assert missing == []
