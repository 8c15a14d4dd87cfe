"""The rules, one a file; this tuple is the only list of them."""

from dropkit.auditing.rule import Rule
from dropkit.auditing.rules.dropout_in_eval import DropoutInEval

#: Sorted by code.
RULES: tuple[type[Rule], ...] = (DropoutInEval,)
