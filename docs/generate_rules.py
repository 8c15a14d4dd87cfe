"""Write a page for each rule of the audit, and their index, from the rules themselves.

``python docs/generate_rules.py`` writes them; with ``--check`` it says which are not as they should
be, and ends with status 1 if any is.
"""

import sys
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

from dropkit.auditing.rule import Rule
from dropkit.auditing.rules import RULES
from dropkit.reporting.findings import plain
from dropkit.reporting.rule_text import rule_text

FOLDER = Path(__file__).parent / "rules"


def pages() -> Iterator[tuple[str, str]]:
    """Name and text of each page."""
    yield "index.md", _index()
    for rule in RULES:
        yield f"{rule.code}.md", _page(rule)


def _page(rule: type[Rule]) -> str:
    text = rule_text(rule)
    allow = (
        "## To let it stand\n\n"
        "In `pyproject.toml`, with the reason:\n\n"
        "```toml\n"
        "[[tool.dropkit.audit.allow]]\n"
        f'code = "{rule.code}"\n'
        'site = "*"  # a pattern over the names of sites\n'
        'reason = "..."\n'
        "```\n\n"
    )
    return text.replace("## Source\n", f"{allow}## Source\n") + "\n[All rules](index.md)\n"


def _index() -> str:
    parts = ["# Rules of the audit\n", f"{len(RULES)} rules; [how to ask them](../audit.md).\n"]
    for family, rules in groupby(RULES, lambda rule: rule.family()):
        parts += [f"## {family.capitalize()}\n", "| code | name | severity | finds |"]
        parts.append("| --- | --- | --- | --- |")
        for rule in rules:
            summary = plain(rule.summary())
            parts.append(
                f"| [{rule.code}]({rule.code}.md) | {rule.name} | {rule.severity} | {summary} |"
            )
        parts.append("")
    return "\n".join(parts)


def main() -> int:
    """Write the pages, or compare them."""
    wanted = dict(pages())
    there = {path.name: path.read_text(encoding="utf-8") for path in FOLDER.glob("*.md")}
    if "--check" in sys.argv[1:]:
        wrong = sorted(name for name in {*wanted, *there} if wanted.get(name) != there.get(name))
        for name in wrong:
            print(f"docs/rules/{name} is not what the rules say: python docs/generate_rules.py")
        return int(bool(wrong))
    for name, text in wanted.items():
        (FOLDER / name).write_text(text, encoding="utf-8")
    for name in set(there) - set(wanted):
        (FOLDER / name).unlink()
    return 0


if __name__ == "__main__":
    sys.exit(main())
