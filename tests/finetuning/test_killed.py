"""A fine-tuning that is killed at any moment goes on and ends with the same bits."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file


def _command(folder: Path, out: Path) -> list[str]:
    options = {
        "--model": folder / "model",
        "--data": folder / "chats.jsonl",
        "--out": out,
        "--rates": "0,0.3",
        "--epochs": 6,
        "--replicates": 1,
        "--learning-rate": 0.003,
        "--threads": 1,
    }
    pairs = [str(part) for pair in options.items() for part in pair]
    return [sys.executable, "-m", "dropkit", "finetune", *pairs, "--keep-run"]


def _weights(out: Path) -> dict[str, torch.Tensor]:
    run = out.with_name(f"{out.name}.run")
    return {
        f"{path.parent.parent.name}/{name}": weight
        for path in sorted(run.glob("arm*/best/*.safetensors"))
        for name, weight in load_file(path).items()
    }


@pytest.mark.long
def test_killed_run_goes_on(folder: Path, tmp_path: Path) -> None:
    """``kill -9`` in the first arm, and again later; then the weights of an uninterrupted run."""
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    subprocess.run(_command(folder, whole), env=env, check=True, capture_output=True)
    n_killed = 0
    for mark in ("arm0-replicate0/curve.json", "arm1-replicate0/curve.json"):
        process = subprocess.Popen(
            _command(folder, cut), env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        place = tmp_path / "cut.run" / mark
        while process.poll() is None and not place.is_file():
            time.sleep(0.02)
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            n_killed += 1
        process.wait()
        assert not cut.exists()
    assert n_killed == 2
    subprocess.run(_command(folder, cut), env=env, check=True, capture_output=True)
    expected, got = _weights(whole), _weights(cut)
    assert len(expected) == 2 * 8
    assert set(expected) == set(got)
    assert all(torch.equal(expected[name], got[name]) for name in expected)
