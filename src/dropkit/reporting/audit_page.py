"""An audit as one HTML page that opens from disk."""

from collections.abc import Sequence

from dropkit.auditing.audit import Audit
from dropkit.auditing.rule import Rule
from dropkit.reporting._audit_view import view_audit
from dropkit.reporting._template import fill


def audit_page(audit: Audit, rules: Sequence[type[Rule]], *, title: str, version: str) -> str:
    """The text of one self-contained page: no script, and nothing from elsewhere.

    Args:
        audit: What was found. Every text in it is escaped.
        rules: All that were asked; those that found something are explained.
        title: What was audited.
        version: Of dropkit.

    Raises:
        MissingExtraError: jinja2 is not installed.
    """
    return fill("audit.html.j2", view_audit(audit, rules, title=title, version=version))
