"""A trace as one HTML page that opens from disk, and as a JSON file."""

from pathlib import Path

from dropkit.core.files import write_text
from dropkit.reporting._json import json_text
from dropkit.reporting._template import fill
from dropkit.reporting._trace_view import view_trace
from dropkit.tracing.result import Trace


def write_trace_page(trace: Trace, path: Path) -> None:
    """Write `trace` as one self-contained page: no script, font or picture from elsewhere.

    Args:
        trace: What was found. Every text in it is escaped.
        path: Where to; its folder must exist. Replaced in one step, kept where writing fails.

    Raises:
        MissingExtraError: jinja2 is not installed.
        OSError: The folder is missing or cannot be written.
    """
    write_text(path, fill("trace.html.j2", view_trace(trace)))


def write_trace_json(trace: Trace, path: Path) -> None:
    """Write every number of `trace` as strict JSON; nan and infinities are null.

    Args:
        trace: What was found.
        path: Where to.

    Raises:
        OSError: The folder is missing or cannot be written.
    """
    write_text(path, json_text(trace.to_dict()))
