"""The rules, one a file; this tuple is the only list of them."""

from dropkit.auditing.rule import Rule

RULES: tuple[type[Rule], ...] = ()
