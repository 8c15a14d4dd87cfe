"""A search finds a rate on replicates of its own, and the verdict on it rests on fresh ones."""

import json
import re
import sys
from collections import Counter

import pytest
from scipy.stats import binomtest, norm

from dropkit.core.address import Address
from dropkit.errors import EvidenceError, MissingExtraError, OptionError, RateError, StoreError
from dropkit.studies.plan import Arm
from dropkit.studies.pruning import PRUNED
from dropkit.studies.search import FOUND, Search
from dropkit.studies.space import Between, space_to_dict
from dropkit.studies.store import opened_to_read, read_records
from dropkit.studies.trial import Trial
from support_fits import valley_fit

optuna = pytest.importorskip("optuna")

FALSE_ALARM = 1e-9


def noise(trial: Trial, *parts: str) -> float:
    """A standard normal number of a replicate and, with `parts`, of what else they name."""
    address = Address.from_seed(trial.seed("noise"))
    for part in parts:
        address = address.fold(part)
    return float(norm.ppf((address.key + 0.5) / 2**64))


class Valley:
    """The loss is lowest at a rate of 0.3; a replicate moves all arms alike. Keeps what ran."""

    def __init__(self, stop_at: int | None = None) -> None:
        self.ran: list[tuple[str, int, int]] = []
        self.stop_at = stop_at

    def __call__(self, trial: Trial) -> dict[str, float]:
        """The loss of a rate."""
        if len(self.ran) == self.stop_at:
            raise KeyboardInterrupt
        self.ran.append((trial.arm.name, trial.replicate, trial.seed("split")))
        rate = trial.arm.highest_rate
        return {"loss": (rate - 0.3) ** 2 + noise(trial) + 0.001 * noise(trial, trial.arm.name)}


def search(fit, space=Between(0.01, 0.7), **options) -> Search:  # noqa: B008 - frozen
    """A small one."""
    options = {"candidates": 12, "search_replicates": 2, "replicates": 6, **options}
    return Search(fit, space, metric="loss", **options)


def test_finds_the_rate_and_tests_it() -> None:
    """The valley's floor is found, and against the baseline it helps."""
    result = search(Valley(), candidates=16).run()
    assert "helps" == result.verdict.decision
    assert FOUND == result.verdict.best
    found = result.arms[-1].arm
    assert found.rates == pytest.approx(0.3, abs=0.06)
    assert (
        f"found ({found.rates:g}) is the best of 16 candidates on 2 other replicates. None of "
        "these counts here: being the best of many is luck too, and only fresh replicates tell "
        "how much."
    ) == result.verdict.rests_on[-1]


def test_candidates_share_replicates_that_the_verdict_does_not_see() -> None:
    """All candidates have the same two splits; the six of the verdict are others."""
    fit = Valley()
    search(fit).run()
    searched = {seed for name, _, seed in fit.ran if name.startswith("candidate")}
    judged = {seed for name, _, seed in fit.ran if not name.startswith("candidate")}
    assert (2, 6, set()) == (len(searched), len(judged), searched & judged)
    assert {2} == set(Counter(name for name, *_ in fit.ran if "candidate" in name).values())


def test_best_of_many_is_not_taken_at_its_word() -> None:
    """Where no rate does anything, the verdict says that dropout helps in at most alpha."""

    def nothing(trial: Trial) -> dict[str, float]:
        return {"loss": noise(trial, trial.arm.name)}

    n, helps, believed = 120, 0, 0
    for seed in range(n):
        one = search(nothing, candidates=8, search_replicates=4, replicates=5, seed=seed)
        result = one.run()
        helps += result.verdict.decision == "helps"
        # A test at 5% on the very replicates that chose it: their mean has a deviation of 1/2.
        believed += min(tried.mean for tried in one.tried) < norm.ppf(0.05) / 2
    assert binomtest(helps, n, 0.05, alternative="greater").pvalue > FALSE_ALARM
    assert binomtest(believed, n, 0.05, alternative="greater").pvalue < FALSE_ALARM


@pytest.mark.parametrize("stop_at", [0, 5, 24, 30])
def test_interrupted_search_goes_on(tmp_path, stop_at) -> None:
    """Whatever had ended is not run again, and the end is that of a search that ran through."""
    whole = search(Valley()).run()
    db = tmp_path / "study.db"
    first = Valley(stop_at)
    assert search(first, db=db).run().was_stopped
    second = Valley()
    result = search(second, db=db).run()
    assert set() == set(first.ran) & set(second.ran)
    assert 12 * 2 + 6 * 2 == len(first.ran) + len(second.ran)
    assert (whole.trials[0].metrics, whole.verdict) == (result.trials[0].metrics, result.verdict)
    third = Valley()
    assert result.verdict == search(third, db=db).run().verdict
    assert [] == third.ran


def test_other_search_is_refused(tmp_path) -> None:
    """The file of a search is for its own space."""
    db = tmp_path / "study.db"
    search(Valley(), db=db).run()
    message = (
        f"`{tmp_path / 'study.search.db'}` holds a study with other space. Put them back, or give "
        "this study a file of its own."
    )
    with pytest.raises(StoreError, match="^" + re.escape(message) + "$"):
        search(Valley(), Between(0.01, 0.5), db=db).run()


def slow(trial: Trial) -> dict[str, float]:
    """Reports ten losses, the worse the farther from 0.3, and asks whether to go on."""
    for step in range(10):
        loss = (trial.arm.highest_rate - 0.3) ** 2 + 1.0 / (step + 1)
        trial.report(step, loss=loss)
        if trial.should_stop:
            return {}
    return {"loss": loss}


def test_candidates_that_are_behind_stop_early(tmp_path) -> None:
    """Some candidates are pruned, never the best one, and never an arm of the verdict."""
    db = tmp_path / "study.db"
    awful = Arm("awful", rates=0.95)
    pruned, whole = (
        search(slow, prune=prune, candidates=16, beside=[awful], db=file)
        for prune, file in ((True, db), (False, None))
    )
    results = [pruned.run(), whole.run()]
    states = Counter(tried.state for tried in pruned.tried)
    assert 0 < states["pruned"] < 12
    assert 0 == states["failed"]
    assert {"done": 16} == Counter(tried.state for tried in whole.tried)
    with opened_to_read(tmp_path / "study.search.db") as database:
        stopped = [record for record in read_records(database) if record.error is not None]
    assert {PRUNED} == {record.error for record in stopped}
    assert all(len(record.points) < 10 for record in stopped)
    # The arms of the verdict ran to their ends, however bad they are.
    assert {10} == {len(record.points) for record in results[0].trials}
    assert 6 == results[0].n_complete
    said = f"{states['pruned']} of them stopped early, on 2 other replicates."
    assert said in results[0].verdict.rests_on[-1]


def test_only_the_pruned_may_ask(tmp_path) -> None:
    """A fit that never asks whether to stop runs to its end, and counts."""

    def deaf(trial: Trial) -> dict[str, float]:
        trial.report(0, loss=trial.arm.highest_rate)
        return {"loss": trial.arm.highest_rate}

    one = search(deaf, candidates=16, db=tmp_path / "study.db")
    one.run()
    assert {"done": 16} == Counter(tried.state for tried in one.tried)


def test_patterns_have_rates_of_their_own() -> None:
    """Each pattern is searched within its bounds, and a number stays as it is."""
    space = {"*.attention": Between(0.001, 0.1, log=True), "head": 0.25, "*": Between(0.2, 0.4)}
    one = search(lambda trial: {"loss": trial.arm.rates["*"]}, space, candidates=6)
    one.find()
    for tried in one.tried:
        assert list(space) == list(tried.arm.rates)
        assert 0.001 <= tried.arm.rates["*.attention"] <= 0.1
        assert 0.25 == tried.arm.rates["head"]
        assert 0.2 <= tried.arm.rates["*"] <= 0.4
    best = min(one.tried, key=lambda tried: tried.mean)
    assert best.arm.rates == one.arms[-1].rates
    assert json.dumps(space_to_dict(space))


def test_failed_candidates_are_left_out() -> None:
    """One that raises cannot win, and where all raise there is nothing to test."""

    def sometimes(trial: Trial) -> dict[str, float]:
        if trial.arm.highest_rate < 0.4:
            raise MemoryError("too low")
        return {"loss": trial.arm.highest_rate}

    one = search(sometimes)
    one.find()
    assert {"failed", "done"} == {tried.state for tried in one.tried}
    assert one.arms[-1].rates >= 0.4
    message = (
        "one of 12 candidates must finish all its replicates; none did. The first that failed: "
        "MemoryError: too low."
    )
    with pytest.raises(EvidenceError, match="^" + re.escape(message) + "$"):
        search(sometimes, Between(0.1, 0.3)).run()


@pytest.mark.long
def test_workers_give_the_same_search() -> None:
    """Two processes try the same candidates with the same means."""
    here, there = (
        search(valley_fit, candidates=6, replicates=2, workers=workers) for workers in (0, 2)
    )
    assert [r.metrics for r in here.run().trials] == [r.metrics for r in there.run().trials]
    assert here.tried == there.tried


def test_baseline_is_kept_beside_the_rates() -> None:
    """What is found differs from the baseline in its rates alone, so the verdict is on them."""
    baseline = Arm("decayed", weight_decay=0.1, model_change={"width": 4})
    one = search(Valley(), baseline=baseline)
    assert one.run().arms[-1].arm.differs_only_in(baseline, "rates")


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (
            lambda: Between(0.5, 0.5),
            OptionError,
            "`low` must be below `high`; got 0.5 and 0.5.",
        ),
        (
            lambda: Between(0.0, 0.5, log=True),
            OptionError,
            "`low` must be above 0 where `log`; got 0.",
        ),
        (
            lambda: Between(0.1, 20),
            RateError,
            "`high` must be a drop rate in [0, 1]; got 20. Did you mean 0.2?",
        ),
        (
            lambda: search(Valley(), {"*": 0.1}),
            OptionError,
            "`space` must hold a Between; got {'*': 0.1}.",
        ),
        (
            lambda: search(Valley(), candidates=0),
            OptionError,
            "`candidates` must be at least 1; got 0.",
        ),
    ],
)
def test_refusals(call, kind, message) -> None:
    """A choice that cannot be is refused in one sentence."""
    with pytest.raises(kind, match="^" + re.escape(message) + "$"):
        call()


def test_missing_optuna_names_the_extra(monkeypatch) -> None:
    """Without optuna the error says what to install."""
    monkeypatch.setitem(sys.modules, "optuna", None)
    message = "a search needs optuna: pip install 'dropkit[optuna]'."
    with pytest.raises(MissingExtraError, match="^" + re.escape(message) + "$"):
        search(Valley())
