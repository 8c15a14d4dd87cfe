"""What the examples in docstrings may take as imported."""

import importlib.util
from typing import Any

import pytest
import torch

import dropkit

# A module that needs its extra cannot be asked for its examples without it.
_NEEDS = {
    "lightning": [
        "src/dropkit/studies/recipes/lightning.py",
        "src/dropkit/studies/recipes/lightning_masks.py",
    ],
    "triton": ["src/dropkit/core/triton.py"],
    "transformers": [
        "src/dropkit/studies/recipes/trainer.py",
        "src/dropkit/studies/recipes/trainer_masks.py",
    ],
}
collect_ignore = [
    path
    for extra, paths in _NEEDS.items()
    if importlib.util.find_spec(extra) is None
    for path in paths
]


@pytest.fixture(autouse=True)
def _imported(doctest_namespace: dict[str, Any]) -> None:
    """Examples show what is theirs, not the imports that all of them share."""
    doctest_namespace.update(torch=torch, nn=torch.nn, dropkit=dropkit)
