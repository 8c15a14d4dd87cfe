"""A study's result as one HTML page that opens from disk."""

from pathlib import Path

from dropkit.core.files import write_text
from dropkit.reporting._page import view_page
from dropkit.reporting._template import fill
from dropkit.studies.result import StudyResult


def write_study_page(result: StudyResult, path: Path) -> None:
    """Write `result` as one self-contained page: no script, font or picture from elsewhere.

    Args:
        result: What the study found. Every text in it is escaped.
        path: Where to; its folder must exist. Replaced in one step, kept where writing fails.

    Raises:
        MissingExtraError: jinja2 is not installed.
        OSError: The folder is missing or cannot be written.
    """
    write_text(path, fill("study.html.j2", view_page(result)))
