"""A search over rates, and the study that tests what it found."""

import contextlib
import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any, Literal

from dropkit.core.address import Address
from dropkit.errors import EvidenceError, OptionError
from dropkit.studies.judge import Judge, Records
from dropkit.studies.plan import Arm, Json
from dropkit.studies.progress import TrialLog
from dropkit.studies.pruning import PRUNED, Candidate, PrunedFit
from dropkit.studies.result import StudyResult, TrialRecord, Verdict
from dropkit.studies.space import Sampler, Space, space_to_dict
from dropkit.studies.store import Store
from dropkit.studies.study import Study
from dropkit.studies.trial import Fit, Point

#: What the arm is called that a search finds.
FOUND = "found"


@dataclass(frozen=True)
class Tried:
    """One candidate of a search.

    Attributes:
        arm: What was tried.
        state: "done" where all its replicates finished, else "pruned" or "failed".
        mean: Of the metric over its replicates; nan where it is not done.
    """

    arm: Arm
    state: Literal["done", "pruned", "failed"]
    mean: float


class Search(Study):
    """A study whose last arm is found by a search, and then tested like any other.

    Candidates are tried on replicates of their own, the same for all candidates: same splits,
    weights, orders and masks, so that they differ in their rates alone. The best of many is best
    by luck too, so none of that counts for the verdict: the arm that was found is compared with the
    baseline on fresh replicates, as if somebody had named it.

    Args:
        fit: As for `Study`.
        space: A `dropkit.studies.space.Between` for one rate of all sites, or one for each pattern
            of site names; a number there stays as it is.
        baseline: What the rates found are compared with; all candidates are like it but for rates.
        beside: More arms of the study that tests what was found.
        candidates: How many the search tries, at least 1.
        search_replicates: On how many replicates it tries each, at least 1.
        at_once: How many candidates are chosen before any of them is known. The candidates do not
            depend on the number of workers; with ``workers`` up to ``at_once * search_replicates``
            none of them waits.
        prune: Whether a trial of a candidate is told to stop (``trial.should_stop``) where it has
            reported a worse metric than the median of the earlier candidates had by then in the
            same replicate. An arm of the verdict is never stopped so.
        choices: As for `Study`. With ``db="my.db"`` the search keeps its trials in
            ``my.search.db``.

    Attributes:
        tried: The candidates, once `find` has run.

    Raises:
        OptionError: A number is outside its range, or the space has nothing to look for.
        MissingExtraError: Optuna is not installed.

    Source:
        Bergstra et al. 2011, NeurIPS 24 (tree-structured Parzen estimator), by Optuna (Akiba et
        al. 2019, KDD).
    """

    def __init__(
        self,
        fit: Fit,
        space: Space,
        *,
        baseline: Arm = Arm("none"),  # noqa: B008 - frozen
        beside: Sequence[Arm] = (),
        candidates: int = 20,
        search_replicates: int = 3,
        at_once: int = 4,
        prune: bool = True,
        **choices: Any,
    ) -> None:
        sizes = {
            "candidates": candidates, "search_replicates": search_replicates, "at_once": at_once
        }  # fmt: skip
        for name, size in sizes.items():
            if size < 1:
                raise OptionError(f"`{name}` must be at least 1; got {size}.")
        self.space, self.prune = space, prune
        self.candidates, self.search_replicates = candidates, search_replicates
        self.at_once = at_once
        self.tried: Sequence[Tried] = ()
        super().__init__(fit, [baseline, *beside, dataclasses.replace(baseline, name=FOUND)],
                         **choices)  # fmt: skip
        self._seed = Address.from_seed(self.seed).fold("search").key
        self._sampler()  # what cannot be is refused here

    def find(
        self, on_tried: Callable[[Tried], None] = lambda _: None, *, retry_failed: bool = False
    ) -> Arm:
        """Search, or go on with it, and make what was found the last arm.

        Args:
            on_tried: Called with each candidate when it is known, those of the file too.
            retry_failed: Whether trials that failed, or were pruned, are run again.

        Raises:
            EvidenceError: No candidate came through.
            StoreError: Another process, or another search, holds the file.
        """
        sampler = self._sampler()
        tried: list[Tried] = []
        with contextlib.ExitStack() as stack:
            store = None
            if self.db is not None:
                design = self._search_design(sampler.about)
                store = stack.enter_context(contextlib.closing(Store(_beside(self.db), design)))
                if retry_failed:
                    store.forget_failed()
            log = TrialLog(store, self.terms.metric)
            run = stack.enter_context(self._runner().opened(PrunedFit(self.fit)))
            for first in range(0, self.candidates, self.at_once):
                n = min(self.at_once, self.candidates - first)
                arms = [self._arm(*sampler.ask()) for _ in range(n)]
                waiting = self._waiting(arms, [one.arm for one in tried], log.records)
                if waiting:
                    run(waiting, log)
                for arm in arms:
                    tried.append(self._tried(arm, log.records))
                    sampler.tell(arm.name, tried[-1].mean)
                    on_tried(tried[-1])
        self.tried = tuple(tried)
        done = [one for one in tried if one.state == "done"]
        if not done:
            error = next(record.error for record in log.records.values() if record.error)
            raise EvidenceError(
                f"one of {len(tried)} candidates must finish all its replicates; none did. The "
                f"first that failed: {error}."
            )
        best = min(done, key=lambda one: one.mean)
        self.arms = (*self.arms[:-1], dataclasses.replace(best.arm, name=FOUND))
        return self.arms[-1]

    def run(
        self,
        on_record: Callable[[TrialRecord], None] = lambda _: None,
        on_verdict: Callable[[Verdict], None] = lambda _: None,
        *,
        retry_failed: bool = False,
    ) -> StudyResult:
        """Search if that is not done yet, test what was found, and judge it: see `Study.run`.

        Raises:
            EvidenceError: No candidate came through.
        """
        if not self.tried:
            try:
                self.find(retry_failed=retry_failed)
            except KeyboardInterrupt:
                return self._result(Judge(self.arms, self.terms, self.checks), {}, was_stopped=True)
        return super().run(on_record, on_verdict, retry_failed=retry_failed)

    def _sampler(self) -> Sampler:
        return Sampler(self.space, seed=self._seed, startup=max(4, self.candidates // 3))

    def _arm(self, name: str, rates: float | Mapping[str, float]) -> Arm:
        return dataclasses.replace(self.arms[0], name=name, rates=rates)

    def _waiting(
        self, arms: Sequence[Arm], before: Sequence[Arm], records: Records
    ) -> list[Candidate]:
        """What is not done yet of `arms`; they are held against the arms of `before`."""
        return [
            Candidate(
                arm,
                k,
                self._seed,
                self.timeout_s,
                metric=self.terms.metric,
                rivals=self._rivals(k, before, records) if self.prune else (),
            )
            for k in range(self.search_replicates)
            for arm in arms
            if (k, arm.name) not in records
        ]

    def _rivals(
        self, replicate: int, arms: Sequence[Arm], records: Records
    ) -> list[Sequence[Point]]:
        theirs = [records[replicate, arm.name] for arm in arms]
        return [record.points for record in theirs if record.error is None]

    def _tried(self, arm: Arm, records: Records) -> Tried:
        own = [records[k, arm.name] for k in range(self.search_replicates)]
        errors = [record.error for record in own if record.error is not None]
        if errors:
            return Tried(arm, "pruned" if set(errors) == {PRUNED} else "failed", math.nan)
        return Tried(arm, "done", fmean(record.metrics[self.terms.metric] for record in own))

    def _search_design(self, sampler: str) -> dict[str, Json]:
        """What makes it this search and no other."""
        own = {
            "sampler": sampler, "space": space_to_dict(self.space), "candidates": self.candidates,
            "replicates": self.search_replicates, "at_once": self.at_once, "prune": self.prune,
        }  # fmt: skip
        design = self.design()
        shared = {part: design[part] for part in ("fit", "seed", "threads", "metric")}
        return {**shared, "baseline": self.arms[0].to_dict(), **own}

    def _result(self, judge: Judge, records: Records, **how: Any) -> StudyResult:
        result = super()._result(judge, records, **how)
        if not self.tried:
            return result
        verdict = result.verdict
        said = dataclasses.replace(verdict, rests_on=[*verdict.rests_on, self._said()])
        return dataclasses.replace(result, verdict=said)

    def _said(self) -> str:
        """What the search did, and that it does not count."""
        n_pruned = sum(one.state == "pruned" for one in self.tried)
        pruned = f", {n_pruned} of them stopped early," if n_pruned else ""
        rates = self.arms[-1].rates
        shown = f"{rates:g}" if isinstance(rates, float) else str(rates)
        return (
            f"{FOUND} ({shown}) is the best of {len(self.tried)} candidates{pruned} on "
            f"{self.search_replicates} other replicates. None of these counts here: being the best "
            "of many is luck too, and only fresh replicates tell how much."
        )


def _beside(db: Path) -> Path:
    """Where the search of a study keeps its trials."""
    return db.with_suffix(f".search{db.suffix}")
