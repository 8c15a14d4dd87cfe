"""Checks for the tests of your own models."""

from dropkit.testing._audit import assert_audit_clean

__all__ = ["assert_audit_clean"]
