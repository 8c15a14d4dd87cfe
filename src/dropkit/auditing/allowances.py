"""Findings that someone has looked at and lets stand, with the reason."""

import dataclasses
import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from dropkit.auditing.audit import Audit
from dropkit.auditing.finding import Finding
from dropkit.auditing.rule import Rule
from dropkit.auditing.rules import RULES
from dropkit.errors import OptionError


@dataclass(frozen=True)
class Allowance:
    """Lets findings of a rule stand.

    Attributes:
        code: Code or name of the rule.
        reason: Why it is no fault here.
        site: Glob pattern over the names of sites; ``*`` matches dots too.

    Raises:
        OptionError: There is no such rule, or the reason is empty.
    """

    code: str
    reason: str
    site: str = "*"

    def __post_init__(self) -> None:
        find_rule(self.code)
        if not self.reason.strip():
            raise OptionError(
                f"`reason` must say why {self.code} is no fault at site {self.site!r}; it is empty."
            )

    def covers(self, finding: Finding) -> bool:
        """Whether it lets `finding` stand."""
        return self.code in (finding.code, finding.name) and fnmatchcase(finding.site, self.site)


def without_allowed(audit: Audit, allowances: Sequence[Allowance]) -> Audit:
    """`audit` without the findings that are allowed; the fact ``"allowed"`` counts these."""
    if not allowances:
        return audit
    kept = tuple(
        finding for finding in audit.findings if not any(one.covers(finding) for one in allowances)
    )
    facts = {**audit.facts, "allowed": len(audit.findings) - len(kept)}
    return dataclasses.replace(audit, findings=kept, facts=facts)


def find_rule(word: str) -> type[Rule]:
    """The rule of this code or name.

    Raises:
        OptionError: There is none.
    """
    for rule in RULES:
        if word in (rule.code, rule.name):
            return rule
    known = [text for rule in RULES for text in (rule.code, rule.name)]
    near = difflib.get_close_matches(word, known, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    raise OptionError(f"a rule must be named by its code or name; got {word!r}.{hint}")
