"""The measures one by one: by hand, and against simulated truth."""

import itertools
import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor, nn

from dropkit.finetuning.memorizing._attack import attack
from dropkit.finetuning.memorizing._canary import Canary
from dropkit.finetuning.memorizing._examples import encoded
from dropkit.finetuning.memorizing._exposure import _exposure, exposures
from dropkit.finetuning.memorizing._extraction import extractions
from dropkit.finetuning.memorizing._intervals import auc_interval, difference
from dropkit.finetuning.memorizing._scores import scored
from dropkit.uncertainty import auroc

N_STUDIES = 2000


class Bigram(nn.Module):
    """The next token depends on this one alone."""

    def __init__(self, logits: Tensor) -> None:
        super().__init__()
        self.logits = logits

    def forward(self, ids: Tensor) -> Tensor:
        """``(B, T)`` to ``(B, T, V)``."""
        return self.logits[ids]


class Placed(nn.Module):
    """The next token depends on this one and on where it stands: no two texts are as likely."""

    def forward(self, ids: Tensor) -> Tensor:
        """``(B, T)`` to ``(B, T, 4)``."""
        table = torch.randn(4, 4, 4, generator=torch.Generator().manual_seed(3))
        return table[torch.arange(ids.shape[1]), ids]


def counting(n: int = 50) -> Bigram:
    """After `i` it says ``i + 1``, and is sure of it."""
    return Bigram(torch.eye(n).roll(1, 1) * 10)


def test_scores_by_hand() -> None:
    """Loss, Min-K% and Min-K%++ of three tokens, two of which have one chance in four."""
    chances = torch.tensor([[0.25, 0.75], [0.5, 0.5]])
    (found,) = scored(Bigram(chances.log()), encoded([torch.tensor([0, 0, 0, 1])], "train"), "", 1)
    quarter, three = math.log(0.25), math.log(0.75)
    assert -(2 * quarter + three) / 3 == pytest.approx(found.loss)
    assert quarter == pytest.approx(found.min_k(0.5))
    assert (2 * quarter + three) / 3 == pytest.approx(found.min_k(1.0))
    mean = 0.25 * quarter + 0.75 * three
    spread = math.sqrt(0.25 * quarter**2 + 0.75 * three**2 - mean**2)
    assert (quarter - mean) / spread == pytest.approx(found.min_k_plus_plus(0.1), rel=1e-5)


def test_rates_by_hand() -> None:
    """The threshold at a rate of 0.1 is what one in ten of the others passes."""
    found = attack([9.5, 8.5, 9.0, 1.0], [float(i) for i in range(10)] + [9.0] * 10, 0.95)
    assert {0.1} == set(found.true_positive_rates)
    assert 0.25 == found.true_positive_rates[0.1].value  # ties with the threshold do not pass
    assert {0.01, 0.1} == set(attack([1.0], [0.0] * 100, 0.95).true_positive_rates)
    assert {} == attack([1.0], [0.0] * 9, 0.95).true_positive_rates


def _covered(shift: float, seed: int, shrink: float = 1.0) -> int:
    """Of so many studies those whose interval holds the true area."""
    draw, truth, n_covered = np.random.default_rng(seed), stats.norm.cdf(shift / 2**0.5), 0
    is_positive = torch.arange(65) < 25
    for _ in range(N_STUDIES):
        scores = torch.from_numpy(draw.normal(size=65)) + shift * is_positive
        area = auroc(scores, is_positive)
        found = auc_interval(area, 25, 40, 0.95)
        low, high = (area + shrink * (end - area) for end in (found.low, found.high))
        n_covered += low <= truth <= high
    return n_covered


@pytest.mark.parametrize("shift", [0.0, 1.0, 2.5])
def test_auc_interval_covers(shift, seed, false_alarm) -> None:
    """At 95% it holds the truth in at least 94 of 100 studies, guessing and near certainty alike."""
    p_value = stats.binomtest(_covered(shift, seed), N_STUDIES, 0.94, alternative="less").pvalue
    assert p_value > false_alarm, f"p={p_value:.1e}; replay: DK_TEST_SEED={seed}"


def test_auc_check_can_fail(seed, false_alarm) -> None:
    """It sees intervals of three quarters of the width."""
    n_covered = _covered(0.0, seed, 0.75)
    assert stats.binomtest(n_covered, N_STUDIES, 0.94, alternative="less").pvalue < false_alarm


def test_auc_interval_by_hand() -> None:
    """At 0.5 its standard error is that of Mann and Whitney; at 1 it still has a width."""
    found = auc_interval(1.0, 20, 20, 0.95)
    assert 1.0 == found.high
    assert 0.8 < found.low < 0.9
    z, n = stats.norm.ppf(0.975), 30
    at_half = z * math.sqrt((2 * n + 1) / (12 * n**2))
    assert 0.5 == pytest.approx(auc_interval(0.5 + at_half, n, n, 0.95).low)


def test_difference_is_scipys() -> None:
    """Welch's interval is scipy's."""
    a, b = [1.0, 2.5, 3.0, 8.0], [0.5, 0.6, 0.4]
    ours = difference(a, b, 0.9)
    theirs = stats.ttest_ind(a, b, equal_var=False).confidence_interval(0.9)
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high))
    assert (1.0, 1.0, 1.0) == (*vars(difference([2.0, 2.0], [1.0, 1.0], 0.9)).values(),)
    assert math.inf == difference([2.0], [1.0, 1.0], 0.9).high


def test_extraction_by_hand() -> None:
    """Examples that count on are said, nearly so where one token differs, others not at all."""
    up = torch.arange(20)
    nearly = up.clone()
    nearly[-1] = 40
    train = [up, up + 20, nearly, up.flip(0), up[:11]]
    (found,) = extractions(
        counting(),
        encoded(train, "train"),
        encoded([up.flip(0)], "held_out"),
        prefixes=(4,),
        continuation=16,
        batch_size=3,
        confidence=0.95,
    )
    assert (4, 1) == (found.train.n, found.train.n_too_short)
    assert (0.5, 0.75) == (found.train.exact.value, found.train.near.value)
    assert (0.0, 1) == (found.held_out.near.value, found.held_out.n)


def test_chat_is_told_its_question() -> None:
    """The prefix is what stood before the answer and its beginning, turn by turn."""
    told: list[list[int]] = []

    class Listening(nn.Module):
        def forward(self, ids: Tensor) -> Tensor:
            told.extend(ids.tolist())
            return counting()(ids)

    ids = torch.tensor([7, 8, 30, 31, 9, 9, 20, 21, 22, 23, 24])
    labels = torch.tensor([-100, -100, 30, 31, -100, -100, 20, 21, 22, 23, 24])
    chat = encoded([SimpleNamespace(input_ids=ids, labels=labels)], "train")
    (found,) = extractions(
        Listening(),
        chat,
        chat,
        prefixes=(2,),
        continuation=2,
        batch_size=1,
        confidence=0.95,
    )
    assert 1.0 == found.train.exact.value
    assert ids[:8].tolist() == told[0]


def _ranked(canary: Canary, model: nn.Module, seed: int, references: int) -> float:
    (found,) = exposures(
        model, [canary], references=references, batch_size=512, confidence=0.95, seed=seed
    )
    return found.exposure.value


def test_null_exposure_is_exact() -> None:
    """Whatever the model, a random secret has each rank alike: above b bits with chance 2**-b."""
    secrets = list(itertools.product(range(4), repeat=3))
    found = [_ranked(Canary((0,), secret, (0, 1, 2, 3)), Placed(), 0, 100) for secret in secrets]
    assert [6 - math.log2(rank) for rank in range(64, 0, -1)] == pytest.approx(sorted(found))


@pytest.mark.parametrize("is_known", [False, True])
def test_null_exposure_of_samples(is_known, seed, false_alarm) -> None:
    """Ranked among samples, an unseen secret is above one bit half of the time; a known one is not.

    The second case is the check's power.
    """
    torch.manual_seed(seed)
    model, draw = Bigram(torch.randn(10, 10)), np.random.default_rng(seed)
    n, n_high = 100, 0
    for i in range(n):
        secret = tuple(map(int, draw.integers(10, size=6)))
        if is_known:
            model.logits.fill_(0.0)[(3, *secret[:-1]), secret] = 2.0
        n_high += _ranked(Canary((3,), secret, tuple(range(10))), model, i, 127) > 1.0
    # It is where at most 63 of 127 are as likely: ranks 0 .. 63 of 0 .. 127.
    p_value = stats.binomtest(n_high, n, 0.5).pvalue
    assert is_known == (p_value < false_alarm), f"{n_high} of {n}; replay: DK_TEST_SEED={seed}"


def test_other_planted_secrets_do_not_count() -> None:
    """Two canaries that are both known have both the greatest exposure of their space."""
    logits = torch.zeros(8, 8)
    logits[0, 1] = logits[0, 2] = logits[1, 1] = logits[2, 2] = 9.0
    canaries = [Canary((0,), secret, (1, 2, 3, 4)) for secret in ((1, 1), (2, 2))]
    found = exposures(
        Bigram(logits), canaries, references=100, batch_size=9, confidence=0.95, seed=0
    )
    assert [math.log2(15)] * 2 == [one.exposure.value for one in found]


def test_extrapolation_is_near_the_truth() -> None:
    """Behind all references, the fitted law says how far: within 4 bits of a normal tail's 18."""
    truth = -stats.norm.logsf(4.5) / math.log(2)
    canary = Canary((0,), tuple(range(9)), tuple(range(10)))
    errors = []
    for seed in range(20):
        others = torch.from_numpy(np.random.default_rng(seed).normal(size=1024))
        found = _exposure(canary, torch.tensor(4.5), others, 0.95, is_whole=False)
        assert "extrapolated" == found.method
        assert found.exposure.low == pytest.approx(-math.log2(1 - 0.025 ** (1 / 1024)))
        assert found.exposure.high == found.greatest == canary.bits
        errors.append(found.exposure.value - truth)
    assert max(map(abs, errors)) < 4.0
    assert abs(np.mean(errors)) < 1.5
