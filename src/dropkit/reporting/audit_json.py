"""An audit as JSON."""

from dropkit.auditing.audit import Audit
from dropkit.reporting._json import json_text


def audit_json(audit: Audit) -> str:
    """All that `audit` holds, as strict JSON: numbers that JSON has not are null."""
    return json_text(audit.to_dict())
