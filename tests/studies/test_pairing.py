"""The benchmark of pairing: which chance arms share, and its ratio."""

import importlib
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from dropkit.studies.trial import Trial

BENCH = Path(__file__).parents[2] / "bench"


@pytest.fixture
def pairing(monkeypatch) -> ModuleType:
    """The benchmark, imported as it is run."""
    monkeypatch.setattr(sys, "path", [str(BENCH), *sys.path])
    return importlib.import_module("pairing")


def chances(pairing: ModuleType, name: str, purpose: str) -> list[int]:
    """Seeds of the arm of this name in two replicates."""
    [arm] = [arm for arm in pairing.ARMS if arm.name == name]
    return [pairing.Chance(arm, k).seed(purpose) for k in (0, 1)]


def test_a_fixed_split_is_the_only_chance_that_replicates_share(pairing) -> None:
    """Weights, order and masks are drawn anew; the split is, too, where it is not fixed."""
    shared = {
        purpose: [
            len(set(chances(pairing, f"0.5 {split} nested", purpose)))
            for split in ("fixed", "anew")
        ]
        for purpose in ("split", "weights", "order", "masks")
    }
    assert shared == {"split": [1, 2], "weights": [2, 2], "order": [2, 2], "masks": [2, 2]}


def test_only_independent_masks_are_an_arms_own(pairing) -> None:
    """All else is the replicate's, as a trial has it."""
    own, nested = (f"0.5 anew {masks}" for masks in ("own", "nested"))
    plain = [Trial(pairing.ARMS[0], k) for k in (0, 1)]
    for purpose in ("split", "weights", "order", "masks"):
        assert chances(pairing, nested, purpose) == [trial.seed(purpose) for trial in plain]
    assert chances(pairing, own, "weights") == chances(pairing, nested, "weights")
    assert not set(chances(pairing, own, "masks")) & set(chances(pairing, nested, "masks"))


def test_the_ratio_is_that_of_variances(pairing) -> None:
    """By hand: differences -2, 0, 2 have variance 4, the two sides 1 each."""
    left, right = np.array([1.0, 2.0, 3.0]), np.array([3.0, 2.0, 1.0])
    assert pairing.ratio(left, right) == pytest.approx(2.0)
    assert pairing.ratio(left, left + 5.0) == pytest.approx(0.0)


def test_the_interval_lies_around_the_ratio(pairing) -> None:
    """It holds what was measured, not 1, where two sides share three quarters of their variance."""
    common, own, other = np.random.default_rng(0).standard_normal((3, 400))  # fixed: not a chance
    left, right = 3**0.5 * common + own, 3**0.5 * common + other
    low, high = pairing.interval(left, right)
    assert low < pairing.ratio(left, right) < high < 0.4
    low, high = pairing.interval(own, other)
    assert 0.6 < low < pairing.ratio(own, other) < high
