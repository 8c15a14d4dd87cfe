"""``dropkit compare`` prints two recorded runs beside each other."""

from pathlib import Path

import torch
from torch import nn
from typer.testing import CliRunner

import dropkit
from dropkit.cli.app import app


def test_compare(tmp_path: Path) -> None:
    """Each site's numbers are in a row; a site that one run lacks is named."""
    for name, rate in (("a.jsonl", 0.2), ("b.jsonl", 0.5)):
        model = nn.Sequential(nn.Linear(4, 50), nn.Dropout(rate))
        if rate == 0.5:
            model.append(nn.Dropout(0.1))
        with dropkit.Recorder(model, every=1, path=tmp_path / name) as recorder:
            model(torch.ones(8, 4)).sum().backward()
            recorder.step(loss=1.0)
    paths = [str(tmp_path / name) for name in ("a.jsonl", "b.jsonl")]
    done = CliRunner().invoke(app, ["compare", *paths], catch_exceptions=False)
    assert 0 == done.exit_code
    assert "measured rate" in done.output
    assert "+0.3" in done.output
    assert "only b has: 2" in done.output
