"""A fine-tuning's report: JSON, and the page beside it."""

from pathlib import Path

from dropkit.core.files import write_text
from dropkit.finetuning.result import FinetuneResult
from dropkit.reporting._json import json_text
from dropkit.reporting.finetune_page import write_finetune_page


def write_reports(result: FinetuneResult, folder: Path) -> None:
    """Write ``report.json`` and ``report.html`` into `folder`.

    Raises:
        OSError: The folder is missing or cannot be written.
    """
    write_text(folder / "report.json", json_text(result.to_dict()))
    write_finetune_page(result, folder / "report.html")
