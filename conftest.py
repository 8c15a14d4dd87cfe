"""What the examples in docstrings may take as imported."""

from typing import Any

import pytest
import torch

import dropkit


@pytest.fixture(autouse=True)
def _imported(doctest_namespace: dict[str, Any]) -> None:
    """Examples show what is theirs, not the imports that all of them share."""
    doctest_namespace.update(torch=torch, nn=torch.nn, dropkit=dropkit)
