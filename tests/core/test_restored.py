"""When all `masks_at` blocks have closed, torch is exactly as it was."""

import threading
from typing import Any

import pytest
import torch
import torch.utils.checkpoint as torch_checkpoint
from torch import nn
from torch.nn.modules import module as nn_module

import dropkit
from dropkit import masks_at


def _state() -> dict[str, Any]:
    function = torch_checkpoint.CheckpointFunction
    return {
        "forward": function.forward,
        "kind of forward": type(function.__dict__["forward"]),
        "attributes": sorted(vars(function)),
        "generator": torch_checkpoint._checkpoint_without_reentrant_generator,
        "checkpoint": torch_checkpoint.checkpoint,
        "pre-hooks": dict(nn_module._global_forward_pre_hooks),
        "hooks": dict(nn_module._global_forward_hooks),
    }


def test_after_a_block() -> None:
    """One block, and blocks in blocks, leave nothing behind."""
    before = _state()
    with masks_at(seed=1), masks_at(seed=2):
        nn.Sequential(dropkit.nn.Dropout(0.5))(torch.ones(3))
    assert before == _state()


def test_after_an_error() -> None:
    """A block that ends in an error leaves nothing behind."""
    before = _state()
    with pytest.raises(RuntimeError, match=r"^inside$"), masks_at(seed=1):
        raise RuntimeError("inside")
    assert before == _state()


def test_after_a_refused_block() -> None:
    """A block that was never entered leaves nothing behind."""
    before = _state()
    with pytest.raises(dropkit.errors.AddressError):
        masks_at(seed=-1)
    assert before == _state()


def test_after_overlapping_blocks() -> None:
    """Blocks of two threads that overlap leave nothing behind, whichever closes last."""
    before, opened, may_close = _state(), threading.Event(), threading.Event()

    def other() -> None:
        with masks_at(seed=2):
            opened.set()
            may_close.wait(20)

    thread = threading.Thread(target=other)
    with masks_at(seed=1):
        thread.start()
        assert opened.wait(20)
    assert before != _state()
    may_close.set()
    thread.join()
    assert before == _state()
