"""A study's result as a JSON file."""

from pathlib import Path

from dropkit.core.files import write_text
from dropkit.reporting._json import json_text
from dropkit.studies.result import StudyResult


def write_json(result: StudyResult, path: Path) -> None:
    """Write every number of `result` as strict JSON.

    JSON knows neither nan nor the infinities, so each of them becomes null; an interval with a
    null end is one that nothing is known of.

    Args:
        result: What the study found.
        path: Where to; its folder must exist. Replaced in one step, kept where writing fails.

    Raises:
        OSError: The folder is missing or cannot be written.
    """
    write_text(path, json_text(result.to_dict()))
