"""``python -m dropkit``: the same as ``dropkit``."""

from dropkit.cli import main

main()
