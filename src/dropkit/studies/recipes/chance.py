"""What chance decides in a training loop that draws from the generators of the process."""

import contextlib
import random
from collections.abc import Iterator

import numpy as np
import torch

from dropkit.studies.trial import Trial


def seed_all(trial: Trial, purpose: str) -> int:
    """Python's, numpy's and torch's generators go on from the trial's seed for `purpose`.

    Returns:
        The seed, in [0, 2**32), for what keeps one of its own.
    """
    seed = trial.seed(purpose) % 2**32  # numpy takes no more
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - what loops and collators of others draw from
    torch.manual_seed(seed)
    return seed


@contextlib.contextmanager
def chance_put_back() -> Iterator[None]:
    """After the block the generators of the process stand where they stood."""
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002 - likewise
    try:
        with torch.random.fork_rng(list(range(torch.cuda.device_count()))):
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)  # noqa: NPY002 - likewise
