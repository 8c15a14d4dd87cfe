"""The ``dropkit`` command."""

import sys

from dropkit.errors import DkError


def main() -> None:
    """Run the command; what the user did wrong becomes one line and exit status 2."""
    try:
        from dropkit.cli.app import app  # noqa: PLC0415 - typer belongs to an extra
    except ModuleNotFoundError as error:
        if error.name not in {"typer", "rich"}:
            raise
        sys.exit("dropkit: the command line needs typer and rich: pip install 'dropkit[cli]'.")
    try:
        app()
    except DkError as error:
        print(f"dropkit: {error}", file=sys.stderr)  # noqa: T201 - a command speaks
        sys.exit(2)
