"""What every rule is: a class with its explanation, its source, and a check."""

import inspect
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from dropkit.auditing.artefacts.artefact import Artefact
from dropkit.auditing.finding import Finding, Severity
from dropkit.auditing.observations import Observations, SeenSite

#: What the first digit of a code says.
FAMILIES = {
    "1": "mode",
    "2": "dead rate",
    "3": "placement",
    "4": "scale",
    "5": "randomness",
    "6": "rate",
    "7": "serving",
}


class Rule:
    """A rule. Its docstring is its page: a summary, and the three headings of `sections`.

    Attributes:
        code: ``DRP``, the family's digit and two digits; never used again.
        name: Reads after "allow".
        severity: Of its findings, unless one says otherwise.
        since: The version of dropkit that has it first.
        source: Where the claim is shown: a paper, an issue of a project, or a page of torch's.
    """

    code: ClassVar[str]
    name: ClassVar[str]
    severity: ClassVar[Severity]
    since: ClassVar[str]
    source: ClassVar[str]

    def check(self, seen: Observations) -> Iterator[Finding]:
        """What is wrong in the model that `seen` is of. When unsure, nothing."""
        raise NotImplementedError

    def check_artefact(self, artefact: Artefact) -> Iterator[Finding]:
        """What is wrong in an exported model, which is read and not run; nothing for most rules."""
        del artefact
        yield from ()

    def finding(
        self,
        site: SeenSite | str,
        message: str,
        *,
        evidence: Mapping[str, Any] | None = None,
        proved: bool = True,
        where: str | None = None,
        severity: Severity | None = None,
        instead: str | None = None,
    ) -> Finding:
        """A finding of this rule.

        Args:
            site: Where; a name for what is no site.
            message: One sentence with the numbers that were seen.
            evidence: These numbers by name.
            proved: Whether a run showed it.
            where: ``file:line``; that of the site if left out.
            severity: If it is not the rule's.
            instead: If it is not what the rule's page says, in one or two sentences.
        """
        name, line = (site, None) if isinstance(site, str) else (site.name, site.where)
        return Finding(
            code=self.code,
            name=self.name,
            severity=severity or self.severity,
            site=name,
            where=where or line,
            message=message,
            evidence=dict(evidence or {}),
            instead=instead or " ".join(self.sections()["Instead"].split()),
            proved=proved,
        )

    @classmethod
    def family(cls) -> str:
        """Name of the family that its code says."""
        return FAMILIES[cls.code[3]]

    @classmethod
    def summary(cls) -> str:
        """The first line of its page."""
        return (inspect.getdoc(cls) or "").partition("\n")[0]

    @classmethod
    def sections(cls) -> dict[str, str]:
        """The text under each heading of its page, by heading."""
        _, *parts = ("\n" + (inspect.getdoc(cls) or "")).split("\n## ")
        texts = (part.partition("\n") for part in parts)
        return {heading.strip(): text.strip() for heading, _, text in texts}
