"""Are the verdicts of a study as right as they say? Simulated studies, whose truth is known.

Each study goes through `dropkit.studies.judge` as a real one does; only its losses are drawn
instead of trained. Prints the tables of docs/studies/calibration.md.
"""

import argparse
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from _measure import facts, say
from scipy import stats

from dropkit.studies.looks import ANYTIME
from dropkit.studies.plan import Arm
from dropkit.studies.result import StudyResult, TrialRecord
from dropkit.studies.study import Study

ARMS = (Arm("none"), Arm("0.1", rates=0.1), Arm("0.3", rates=0.3), Arm("0.5", rates=0.5))
MOST = 30  # replicates
SHARED = 2.0  # spread of what all arms of a replicate have in common, beside 1 of their own

Draw = Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]

#: Losses of one arm, with mean 0 and spread 1. The method assumes the first.
LAWS: dict[str, Draw] = {
    "normal": lambda rng, shape: rng.normal(size=shape),
    "heavy tails (Student, 5)": lambda rng, shape: (
        rng.standard_t(5, size=shape) / np.sqrt(5.0 / 3.0)
    ),
    "skewed (exponential)": lambda rng, shape: rng.exponential(size=shape) - 1.0,
}


@dataclass(frozen=True)
class Truth:
    """What each arm adds to the loss, and the margin that the study was given."""

    effects: Sequence[float] = (0.0, 0.0, 0.0, 0.0)
    margin: float = 0.0
    until: str = "decided"
    replicates: int = MOST


def studies(rng: np.random.Generator, n: int, truth: Truth, law: Draw) -> Iterator[StudyResult]:
    """`n` studies of this truth, each at its end."""
    study = Study(
        lambda _: {},
        ARMS,
        replicates=truth.replicates,
        metric="loss",
        margin=truth.margin,
        until=truth.until,
    )
    for _ in range(n):
        own = law(rng, (len(ARMS), truth.replicates)) + np.asarray(truth.effects)[:, None]
        losses = own + SHARED * rng.normal(size=truth.replicates)
        yield study.result(
            [
                TrialRecord(arm.name, k, {"loss": value})
                for arm, row in zip(ARMS, losses.tolist(), strict=True)
                for k, value in enumerate(row)
            ]
        )


def share(count: int, n: int) -> str:
    """A share with its exact 95% interval (Clopper and Pearson 1934)."""
    found = stats.binomtest(count, n).proportion_ci(0.95, method="exact")
    return f"{count / n:.3f} ({found.low:.3f} to {found.high:.3f})"


def false_alarms(rng: np.random.Generator, n: int) -> None:
    """How often equal arms are told apart, watched after every replicate or judged once."""
    print(f"\n## Equal arms: share of {n:,} studies that say helps or harms (at most 0.05)\n")
    print(f"| losses | watched, at most {MOST} replicates | judged once, at 6 |")
    print("| --- | --- | --- |")
    for name, law in LAWS.items():
        counts = []
        for truth in (Truth(), Truth(until="all", replicates=6)):
            found = studies(rng, n, truth, law)
            counts.append(sum(r.verdict.decision in {"helps", "harms"} for r in found))
        print(f"| {name} | {share(counts[0], n)} | {share(counts[1], n)} |", flush=True)


def coverage(rng: np.random.Generator, n: int) -> None:
    """How often intervals hold the truth, at the moment at which the study ended."""
    effects = (0.0, -0.4, -0.8, 0.3)
    print(f"\n## Intervals when the study ended: share of {n:,} that hold (at least 0.95)\n")
    print("| losses | one arm's own | all three at once | best set holds the best |")
    print("| --- | --- | --- | --- |")
    for name, law in LAWS.items():
        own = joint = best = 0
        for result in studies(rng, n, Truth(effects), law):
            true = dict(zip((arm.name for arm in ARMS), effects, strict=True))
            by_arm = {d.arm: d for d in result.differences}
            one = by_arm["0.3"].estimate
            own += one.low <= true["0.3"] <= one.high
            joint += all(
                d.jointly is not None and d.jointly.low <= true[d.arm] <= d.jointly.high
                for d in result.differences
            )
            best += "0.3" in result.verdict.best_set
        print(f"| {name} | {share(own, n)} | {share(joint, n)} | {share(best, n)} |", flush=True)


def equivalence(rng: np.random.Generator, n: int) -> None:
    """How often a difference as large as the margin is called none."""
    print(f"\n## No practical difference: share of {n:,} watched studies that say so, margin 1.5\n")
    print("| losses | false: one arm lies at the margin (at most 0.05) | true: all arms equal |")
    print("| --- | --- | --- |")
    for name, law in LAWS.items():
        counts = []
        for effects in ((0.0, 0.0, 0.0, 1.5), (0.0, 0.0, 0.0, 0.0)):
            found = studies(rng, n, Truth(effects, margin=1.5), law)
            counts.append(sum(r.verdict.decision == "no practical difference" for r in found))
        print(f"| {name} | {share(counts[0], n)} | {share(counts[1], n)} |", flush=True)


def fixed_n(effect: float, power: float, alpha: float = 0.05) -> int:
    """Replicates with which a paired t-test sees `effect`, in standard deviations, so often."""
    for n in range(2, 1000):
        bar = stats.t.ppf(1.0 - alpha / 2.0, n - 1)
        if stats.nct.sf(bar, n - 1, effect * np.sqrt(n)) >= power:
            return n
    raise ValueError(effect)


def first_decided(rng: np.random.Generator, n: int, effect: float, most: int) -> np.ndarray:
    """At which replicate each of `n` watched studies of one arm sees it; `most` + 1 for never."""
    pairs = rng.normal(effect, 1.0, size=(n, most))
    number = np.arange(1, most + 1)
    mean = pairs.cumsum(1) / number
    squares = (pairs**2).cumsum(1) - number * mean**2
    spread = np.sqrt(np.maximum(squares, 0.0) / np.maximum(number - 1, 1))
    bars = np.array([ANYTIME.reach(int(k), 0.05) for k in number])
    can_tell = np.isfinite(bars)
    seen = can_tell & (np.abs(mean) > np.where(can_tell, bars, 0.0) * spread)
    return np.where(seen.any(1), seen.argmax(1) + 1, most + 1)


def power(rng: np.random.Generator, n: int) -> None:
    """Replicates that a watched study needs, beside a t-test whose number is set before."""
    most, planned = 300, 0.75
    set_before = fixed_n(planned, 0.9)
    print(f"\n## Replicates needed with one dropout arm ({n:,} studies an effect)\n")
    print(
        "| effect, in standard deviations of a pair | watched: mean | median | 9 of 10 within | "
        f"mean, given up there | t-test for this effect | t-test for {planned} | its power |"
    )
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for effect in (0.5, 0.75, 1.0, 1.5, 2.0, 3.0):
        first = first_decided(rng, n, effect, most)
        bar = stats.t.ppf(0.975, set_before - 1)
        sure = stats.nct.sf(bar, set_before - 1, effect * np.sqrt(set_before))
        within = int(np.quantile(first, 0.9, method="inverted_cdf"))
        print(
            f"| {effect:g} | {first.mean():.1f} | {np.median(first):.0f} | {within} | "
            f"{np.minimum(first, within).mean():.1f} | {fixed_n(effect, 0.9)} | {set_before} | "
            f"{sure:.3f} |",
            flush=True,
        )


def main() -> None:
    """Print all tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--studies", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=20111112)
    options = parser.parse_args()
    about = facts()
    say(f"seed {options.seed}, commit {about['commit']}, {about['versions']}")
    for number, part in enumerate((false_alarms, coverage, equivalence, power)):
        part(np.random.default_rng([options.seed, number]), options.studies)


if __name__ == "__main__":
    main()
