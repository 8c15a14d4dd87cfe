"""An audit in SARIF 2.1.0, which GitHub's code scanning and many editors read.

Source: OASIS, "Static Analysis Results Interchange Format (SARIF) Version 2.1.0", and what GitHub
takes of it: docs.github.com, "SARIF support for code scanning".
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from dropkit.auditing.audit import Audit
from dropkit.auditing.finding import Finding
from dropkit.auditing.rule import Rule
from dropkit.reporting._json import json_text
from dropkit.reporting.findings import Place, place_of, plain, told
from dropkit.reporting.rule_text import rule_text

_SCHEMA = (
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
)
_LEVEL = {"error": "error", "warning": "warning", "info": "note"}
_ROOT = "%SRCROOT%"  # the checkout, by SARIF's custom


def audit_sarif(
    audit: Audit,
    rules: Sequence[type[Rule]],
    *,
    version: str,
    root: Path,
    default: str | None = None,
) -> str:
    """The findings, and all rules that were asked.

    Args:
        audit: What was found.
        rules: Described in the file; all that a finding may be of.
        version: Of dropkit.
        root: Of the checkout; a finding in other people's code is shown at `default`.
        default: ``file`` or ``file:line``. Without it such a finding has no file, and GitHub does
            not show it.
    """
    order = {rule.code: index for index, rule in enumerate(rules)}
    driver = {
        "name": "dropkit",
        "semanticVersion": version,
        "rules": [_rule(rule) for rule in rules],
    }
    run = {
        "tool": {"driver": driver},
        "columnKind": "unicodeCodePoints",
        "results": [
            _result(finding, order[finding.code], place_of(finding, root, default))
            for finding in audit.findings
        ],
    }
    return json_text({"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]})


def _rule(rule: type[Rule]) -> dict[str, Any]:
    text = rule_text(rule)
    return {
        "id": rule.code,
        "name": rule.name,
        "shortDescription": {"text": plain(rule.summary())},
        "fullDescription": {"text": plain(rule.summary())},
        "help": {"text": text, "markdown": text},
        "defaultConfiguration": {"level": _LEVEL[rule.severity]},
        "properties": {"tags": ["dropout", rule.family()]},
    }


def _result(finding: Finding, index: int, place: Place | None) -> dict[str, Any]:
    location: dict[str, Any] = {
        "logicalLocations": [{"fullyQualifiedName": finding.site, "kind": "member"}]
    }
    if place is not None:
        location["physicalLocation"] = {
            "artifactLocation": {"uri": quote(place.file), "uriBaseId": _ROOT},
            "region": {"startLine": place.line},
        }
    return {
        "ruleId": finding.code,
        "ruleIndex": index,
        "level": _LEVEL[finding.severity],
        "message": {"text": told(finding, place)},
        "locations": [location],
        # the line may move, and the numbers do: what stays is which rule, and where in the model
        "partialFingerprints": {"dropkit/v1": _fingerprint(finding)},
        "properties": {"proved": finding.proved, "evidence": dict(finding.evidence)},
    }


def _fingerprint(finding: Finding) -> str:
    return hashlib.sha256(f"{finding.code}\n{finding.site}".encode()).hexdigest()[:32]
