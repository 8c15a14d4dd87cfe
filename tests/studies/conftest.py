"""What the tests of studies share."""

import numpy as np
import pytest


@pytest.fixture
def rng(seed) -> np.random.Generator:
    """Chance, from the suite's seed."""
    return np.random.default_rng(seed)
