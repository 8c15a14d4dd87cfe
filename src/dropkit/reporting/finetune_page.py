"""A fine-tuning's result as one HTML page that opens from disk."""

from pathlib import Path

from dropkit.core.files import write_text
from dropkit.finetuning.result import FinetuneResult
from dropkit.reporting._finetune_view import view_finetuning
from dropkit.reporting._template import fill


def write_finetune_page(result: FinetuneResult, path: Path) -> None:
    """Write `result` as one self-contained page: no script, font or picture from elsewhere.

    Args:
        result: What came out. Every text in it is escaped, the model's answers too.
        path: Where to; its folder must exist. Replaced in one step, kept where writing fails.

    Raises:
        MissingExtraError: jinja2 is not installed.
        OSError: The folder is missing or cannot be written.
    """
    write_text(path, fill("finetune.html.j2", view_finetuning(result)))
