"""An audit as an assertion in somebody's test."""

import re

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - everybody's name for it
from torch import Tensor, nn

from dropkit.auditing.allowances import Allowance
from dropkit.errors import OptionError
from dropkit.testing import assert_audit_clean


class Leaky(nn.Module):
    """Drops in eval."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.head = nn.Linear(4, 8), nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        """``(batch, 4)`` to ``(batch, 2)``."""
        return self.head(F.dropout(self.inner(x), 0.25))


X = torch.ones(3, 4)


def test_failure_lists_the_findings() -> None:
    """The text of the assertion is what one needs to begin."""
    with pytest.raises(AssertionError) as caught:
        assert_audit_clean(Leaky(), X)
    first, line = str(caught.value).splitlines()
    assert "the audit has 1 error:" == first
    assert re.fullmatch(
        r"error DRP101 dropout-in-eval at dropout \(.*test_assert_audit_clean\.py:\d+\): dropout "
        r"draws masks for 24 elements at rate 0\.25 in eval mode\. Pass `training=self\.training`.*",
        line,
    )


def test_clean_model_passes() -> None:
    """And the audit comes back, with what does not fail."""
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Dropout(0.9), nn.Linear(8, 2))
    audit = assert_audit_clean(model, X)
    assert ["DRP601"] == [finding.code for finding in audit.findings]


def test_notes_fail_where_asked() -> None:
    """`fail_on` is the gravity from which on findings fail."""
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Dropout(0.9), nn.Linear(8, 2))
    with pytest.raises(AssertionError, match=r"^the audit has 1 info:\ninfo DRP601"):
        assert_audit_clean(model, X, fail_on="info")
    assert_audit_clean(model, X, fail_on="info", ignore=["rate"])


def test_allowed_finding_passes() -> None:
    """What someone has looked at may stand, at the sites that were named."""
    allowed = Allowance("dropout-in-eval", "it samples", site="drop*")
    assert {"allowed": 1}.items() <= assert_audit_clean(Leaky(), X, allow=[allowed]).facts.items()
    with pytest.raises(AssertionError):
        assert_audit_clean(Leaky(), X, allow=[Allowance("DRP101", "it samples", site="head.*")])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: Allowance("DRP101", " "),
            "`reason` must say why DRP101 is no fault at site '*'; it is empty.",
        ),
        (
            lambda: Allowance("dropout-in-evil", "so"),
            "a rule must be named by its code or name; got 'dropout-in-evil'. "
            "Did you mean 'dropout-in-eval'?",
        ),
        (
            lambda: assert_audit_clean(Leaky(), X, fail_on="fatal"),
            "`fail_on` must be one of error, warning, info; got 'fatal'.",
        ),
    ],
)
def test_misuse(make, message) -> None:
    """One sentence each."""
    with pytest.raises(OptionError, match="^" + re.escape(message) + "$"):
        make()
