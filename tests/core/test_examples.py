"""The examples in the docstrings of the rooms from core to sites run, and print what they say."""

import doctest
import importlib
import pkgutil

import pytest
import torch

import dropkit
import dropkit.core
import dropkit.functional
import dropkit.nn
import dropkit.sites

ROOMS = [dropkit.core, dropkit.functional, dropkit.nn, dropkit.sites]
MODULES = [
    module.name for room in ROOMS for module in pkgutil.iter_modules(room.__path__, f"{room.__name__}.")
    if not module.name.endswith("libdropkit_core")  # the C core, no module of Python
]


@pytest.mark.parametrize("name", MODULES)
def test_examples(name: str) -> None:
    """Each example prints what it says."""
    globs = {"torch": torch, "nn": torch.nn, "dropkit": dropkit}
    failures: list[str] = []
    runner = doctest.DocTestRunner(verbose=False)
    for test in doctest.DocTestFinder().find(importlib.import_module(name), extraglobs=globs):
        runner.run(test, out=failures.append)
    assert "" == "".join(failures)


def test_there_are_examples() -> None:
    """The finder above does find examples."""
    module = importlib.import_module("dropkit.core.address")
    assert 2 <= sum(len(test.examples) for test in doctest.DocTestFinder().find(module))
