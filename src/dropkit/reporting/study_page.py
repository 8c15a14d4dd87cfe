"""A study's result as one HTML page that opens from disk."""

from pathlib import Path
from typing import TYPE_CHECKING

from dropkit.core.files import write_text
from dropkit.errors import MissingExtraError
from dropkit.reporting._page import StudyPage, view_page
from dropkit.studies.result import StudyResult

if TYPE_CHECKING:
    from jinja2 import Environment


def write_study_page(result: StudyResult, path: Path) -> None:
    """Write `result` as one self-contained page: no script, font or picture from elsewhere.

    Args:
        result: What the study found. Every text in it is escaped.
        path: Where to; its folder must exist. Replaced in one step, kept where writing fails.

    Raises:
        MissingExtraError: jinja2 is not installed.
        OSError: The folder is missing or cannot be written.
    """
    write_text(path, _render(view_page(result)))


def _render(page: StudyPage) -> str:
    return _environment().get_template("study.html.j2").render(page=page)


def _environment() -> "Environment":
    try:
        from jinja2 import Environment, FileSystemLoader, StrictUndefined  # noqa: PLC0415 - extra
    except ImportError as error:
        message = "the report needs jinja2: pip install 'dropkit[study]'."
        raise MissingExtraError(message) from error
    return Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
