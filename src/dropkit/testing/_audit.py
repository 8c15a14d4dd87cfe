"""An audit as an assertion."""

from collections.abc import Iterable
from typing import Any

from torch import nn

from dropkit.auditing.allowances import Allowance, without_allowed
from dropkit.auditing.audit import Audit, audit
from dropkit.auditing.finding import SEVERITIES, Severity
from dropkit.auditing.runs import Loss
from dropkit.errors import OptionError
from dropkit.reporting.findings import at_or_above, counted, told


def assert_audit_clean(
    model: nn.Module,
    batch: Any,
    *,
    loss: Loss | None = None,
    fail_on: Severity = "warning",
    select: Iterable[str] = (),
    ignore: Iterable[str] = (),
    allow: Iterable[Allowance] = (),
) -> Audit:
    """Fail, with all findings in words, if an audit of `model` finds something.

    Args:
        model: As `dropkit.audit` takes it, and so `batch`, `loss`, `select` and `ignore`.
        batch: What it is called with.
        loss: From its output to a tensor of one element.
        fail_on: ``"info"``, ``"warning"`` or ``"error"``: findings below do not fail.
        select: Rules to ask; empty for all.
        ignore: Rules not to ask.
        allow: Findings that may stand, each with its reason.

    Returns:
        The audit without what is allowed.

    Raises:
        AssertionError: There are findings at `fail_on` or above.
        OptionError: An argument is outside the values that it may take.
        AuditError: The model cannot be run.

    >>> model = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Dropout(0.3), nn.Linear(2, 2))
    >>> dropkit.testing.assert_audit_clean(model, torch.ones(5, 2)).findings
    ()
    """
    __tracebackhide__ = True
    if fail_on not in SEVERITIES:
        raise OptionError(f"`fail_on` must be one of {', '.join(SEVERITIES)}; got {fail_on!r}.")
    found = audit(model, batch, loss=loss, select=select, ignore=ignore)
    found = without_allowed(found, tuple(allow))
    grave = at_or_above(found.findings, fail_on)
    if grave:
        lines = [f"{one.severity} {one.code} {one.name} at {told(one, None)}" for one in grave]
        raise AssertionError("\n".join([f"the audit has {counted(grave)}:", *lines]))
    return found
