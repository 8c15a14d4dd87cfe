"""scipy.stats, which belongs to an extra and is imported where it is used."""

import importlib
from typing import Any

from dropkit.errors import MissingExtraError


def stats() -> Any:
    """The module ``scipy.stats``.

    Raises:
        MissingExtraError: scipy is not installed.
    """
    try:
        return importlib.import_module("scipy.stats")
    except ImportError as error:
        message = "memorization needs scipy: pip install 'dropkit[finetune]'."
        raise MissingExtraError(message) from error
