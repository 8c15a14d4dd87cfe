"""A hand-over keeps its promise as often as it says, refuses what it cannot prove, and is saved."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from scipy import stats
from torch import Tensor

from dropkit.errors import DataError, DkError, EvidenceError, OptionError, ShapeError
from dropkit.uncertainty import Handoff, risk_coverage
from dropkit.uncertainty._handoff import _binomial_tails

RISK, DELTA, TRIALS = 0.1, 0.1, 1000


def true_risk(threshold: float) -> float:
    """Share of wrong answers among scores above, where a score `u` in [0, 1] is wrong at 0.4(1-u)."""
    return 0.2 * (1.0 - threshold)


def drawn(n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Scores and whether they are right: the promise of 0.1 holds from a threshold of 0.5 on."""
    scores = torch.rand(n, generator=generator, dtype=torch.float64)
    return scores, torch.rand(n, generator=generator) >= 0.4 * (1 - scores)


def breach_pvalue(n_broken: int) -> float:
    """How likely as many promises are broken if each is with a chance of `DELTA`."""
    return float(stats.binom(TRIALS, DELTA).sf(n_broken - 1))


@pytest.mark.parametrize("thresholds", [None, torch.linspace(0.95, 0, 96)])
def test_promise(thresholds: Tensor | None, false_alarm: float, seed: int) -> None:
    """Over 1,000 sets of examples the promise is broken no more often than said; most are served."""
    generator = torch.Generator().manual_seed(seed)
    n_broken = n_refused = 0
    for trial in range(TRIALS):
        scores, correct = drawn(2000, generator)
        how = {"risk": RISK, "delta": DELTA, "thresholds": thresholds, "seed": trial}
        try:
            handoff = Handoff.fit(scores, correct, **how)
        except EvidenceError:
            n_refused += 1
            continue
        n_broken += true_risk(handoff.threshold) > RISK
    assert breach_pvalue(n_broken) > false_alarm, f"{n_broken} broken; DK_TEST_SEED={seed}"
    assert n_broken > 0  # else it would hand over more than it must
    assert n_refused < TRIALS / 10


def test_promise_check_can_fail(false_alarm: float, seed: int) -> None:
    """The check sees the usual way: the lowest threshold whose risk on the examples is low enough."""
    generator = torch.Generator().manual_seed(seed)
    n_broken = 0
    for _ in range(TRIALS):
        curve = risk_coverage(*drawn(2000, generator))
        threshold = float(curve.threshold[curve.risk <= RISK].min())
        n_broken += true_risk(threshold) > RISK
    assert breach_pvalue(n_broken) < false_alarm


def test_tails_are_exact() -> None:
    """The tail is the sum of the binomial law, and 1 where nothing is answered."""
    tails = _binomial_tails(torch.tensor([0.0, 3.0, 0.0]), torch.tensor([50.0, 100.0, 0.0]), 0.05)
    expected = [0.95**50, stats.binom(100, 0.05).cdf(3), 1.0]
    assert tails.tolist() == pytest.approx(expected, rel=1e-12)


def test_given_thresholds() -> None:
    """They are tested in their order until one fails; the lowest that passed is taken."""
    scores = torch.arange(300.0)
    correct = scores >= 100
    thresholds = torch.tensor([200.0, 150.0, 50.0, 100.0])
    found = Handoff.fit(scores, correct, risk=0.1, delta=0.05, thresholds=thresholds)
    assert found == Handoff(150.0, 0.1, 0.05, 300, 150, 0, found.p_value)
    assert found.p_value == pytest.approx(0.9**150)
    assert found.share_handed_over == 0.5
    assert [False, True, False] == found.answers(torch.tensor([149.0, 150.0, torch.nan])).tolist()


def test_fit_is_repeatable() -> None:
    """The same examples and seed give the same hand-over; torch's generator is not asked."""
    scores, correct = drawn(900, torch.Generator().manual_seed(0))
    before = torch.get_rng_state()
    one, again = (Handoff.fit(scores, correct, risk=0.15, seed=3) for _ in range(2))
    assert one == again
    assert torch.equal(before, torch.get_rng_state())


ONES = torch.ones(10)


@pytest.mark.parametrize(
    ("scores", "correct", "how", "error", "message"),
    [
        (ONES, ONES, {"risk": 0.0}, OptionError, "`risk` must be in (0, 1); got 0.0."),
        (ONES, ONES, {"risk": 0.1, "delta": 1.0}, OptionError, "`delta` must be in (0, 1); got 1.0."),
        (
            ONES,
            ONES,
            {"risk": 0.05},
            EvidenceError,
            "10 examples are too few to promise at most 0.05 wrong answers at a confidence of 0.95: 59 would be needed if all were right, half as many again where `thresholds` are to be chosen too.",
        ),
        (
            torch.linspace(0, 1, 400),
            torch.arange(400) % 2 == 0,
            {"risk": 0.1, "thresholds": torch.tensor([0.5])},
            EvidenceError,
            "no threshold keeps the promise of at most 0.1 wrong answers at a confidence of 0.95: of 400 examples 200 reach the first threshold, 0.5, 100 of them wrong. Take more examples, a higher `risk` or a better score.",
        ),
        (ONES[:0], ONES[:0], {"risk": 0.1}, ShapeError, "`scores` and `correct` must be of one length, at least 1; got shapes (0,) and (0,)."),
        (ONES, ONES[:3], {"risk": 0.1}, ShapeError, "`scores` and `correct` must be of one length, at least 1; got shapes (10,) and (3,)."),
        (ONES * torch.nan, ONES, {"risk": 0.1}, DataError, "`scores` must be finite; got nan or an infinity."),
        (ONES, ONES * 2, {"risk": 0.1}, DataError, "`correct` must be true or false for each example; got other numbers."),
        (
            ONES,
            ONES,
            {"risk": 0.1, "thresholds": torch.tensor([])},
            OptionError,
            "`thresholds` must be finite numbers, at least one, in one dimension; got tensor([]).",
        ),
    ],
)  # fmt: skip
def test_refusals(
    scores: Tensor, correct: Tensor, how: dict[str, Any], error: type[DkError], message: str
) -> None:
    """What cannot be promised, or not be read, is refused in one sentence."""
    with pytest.raises(error, match="^" + re.escape(message) + "$"):
        Handoff.fit(scores, correct, **how)


@pytest.fixture
def handoff() -> Handoff:
    """One that was fit."""
    return Handoff.fit(*drawn(900, torch.Generator().manual_seed(0)), risk=0.15)


def test_saved(handoff: Handoff, tmp_path: Path) -> None:
    """What was saved is loaded, to the bit."""
    handoff.save(tmp_path / "handoff.json")
    assert handoff == Handoff.load(tmp_path / "handoff.json")


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"format": "study"}, "a hand-over must say that its format is 'dropkit handoff'; this one does not."),
        ({"version": 2}, "a hand-over must be of version 1; got 2."),
        ({"threshold": "0.5"}, "a hand-over's `threshold` must be a number; got '0.5'."),
        ({"n_wrong": None}, "a hand-over's `n_wrong` must be a number; got None."),
        ({"n_wrong": 1.5}, "a hand-over's `n_wrong` must be a number; got 1.5."),
        ({"n_wrong": True}, "a hand-over's `n_wrong` must be a number; got True."),
        ({"n_wrong": 10**6}, "a hand-over must hold numbers that fit each other; these do not."),
        ({"p_value": 0.9}, "a hand-over must hold numbers that fit each other; these do not."),
        ({"threshold": float("nan")}, "a hand-over must hold numbers that fit each other; these do not."),
    ],
)  # fmt: skip
def test_bad_files(handoff: Handoff, tmp_path: Path, change: dict[str, Any], why: str) -> None:
    """A file that is not as it was written is refused in one sentence."""
    path = tmp_path / "handoff.json"
    path.write_text(json.dumps({**handoff.to_dict(), **change}))
    message = f"{str(path)!r} is no hand-over: {why}"
    with pytest.raises(DataError, match="^" + re.escape(message) + "$"):
        Handoff.load(path)


@pytest.mark.parametrize("text", [b"", b"{", b"\xff\xfe", b"[" * 100_000])
def test_no_json(tmp_path: Path, text: bytes) -> None:
    """So is one that is no JSON."""
    path = tmp_path / "handoff.json"
    path.write_bytes(text)
    message = f"{str(path)!r} must be a JSON file; it is not."
    with pytest.raises(DataError, match="^" + re.escape(message) + "$"):
        Handoff.load(path)


def test_risk_coverage() -> None:
    """Examples of equal score are answered together; the area is the mean risk."""
    scores = torch.tensor([0.9, 0.7, 0.7, 0.1])
    curve = risk_coverage(scores, torch.tensor([True, False, True, False]))
    assert [0.25, 0.75, 1.0] == curve.coverage.tolist()
    assert [0.0, 1 / 3, 0.5] == curve.risk.tolist()
    torch.testing.assert_close(torch.tensor([0.9, 0.7, 0.1]), curve.threshold.float())
    assert curve.aurc == pytest.approx((0 + 1 / 3 + 1 / 3 + 0.5) / 4)


def test_risk_coverage_of_a_law(seed: int) -> None:
    """The curve is that of the law the examples were drawn from."""
    curve = risk_coverage(*drawn(200_000, torch.Generator().manual_seed(seed)))
    for at in (0.25, 0.5, 1.0):
        i = int(torch.searchsorted(curve.coverage, at - 1e-9))
        assert float(curve.risk[i]) == pytest.approx(true_risk(1 - at), abs=0.008)
    assert curve.aurc == pytest.approx(0.1, abs=0.005)
