"""Which answers go to a person, so that few of the others are wrong: a promise with a proof."""

import json
import math
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor

from dropkit.core.files import write_text
from dropkit.errors import DataError, EvidenceError, MissingExtraError, OptionError
from dropkit.uncertainty._selective import checked_answers

_FORMAT, _VERSION = "dropkit handoff", 1


@dataclass(frozen=True)
class Handoff:
    """Answers whose score reaches `threshold` are given; the others go to a person.

    With probability ``1 - delta`` over the examples it was fit on, at most the share `risk` of the
    answers given to examples of the same kind is wrong.

    Attributes:
        threshold: Least score that is answered.
        risk: Greatest share of wrong answers among those given, in (0, 1).
        delta: Chance that the promise is broken, in (0, 1).
        n_examples: How many were used for the test at the end.
        n_answered: How many of these reach the threshold.
        n_wrong: How many of the answered are wrong.
        p_value: Of the test that the threshold passed, at most `delta`.
    """

    threshold: float
    risk: float
    delta: float
    n_examples: int
    n_answered: int
    n_wrong: int
    p_value: float

    @classmethod
    def fit(
        cls,
        scores: Tensor,
        correct: Tensor,
        *,
        risk: float,
        delta: float = 0.05,
        thresholds: Tensor | None = None,
        seed: int = 0,
    ) -> Self:
        """Find the lowest threshold for which the data prove the promise.

        Thresholds are tested one after another until one fails; the last that passed is taken. A
        test asks how likely so few wrong ones would be among the answered if their share were
        above `risk`: a binomial tail, exact for any number of examples. It passes at `delta` or
        below. Because the order is fixed before the examples are seen, `delta` needs no correction
        for the number of thresholds.

        Args:
            scores: ``(n,)`` finite; the higher, the surer. For a score of doubt, such as
                `MCPrediction.entropy`, give its negative.
            correct: ``(n,)`` bool. The examples must be independent draws of what will be met, and
                the model may not have been trained or tuned on them.
            risk: In (0, 1).
            delta: In (0, 1).
            thresholds: ``(m,)`` in the order in which they are tested, chosen without these
                examples. None sets a random third of the examples aside to choose them by, and
                tests on the rest.
            seed: Decides which third.

        Raises:
            EvidenceError: The data cannot support the promise: too few, or too many wrong.
            OptionError: `risk`, `delta` or `thresholds` is not as above.
            ShapeError: There are no examples, or not one score for each.
            DataError: A score is not finite, or `correct` is not true or false.
            MissingExtraError: scipy is not installed.

        Source:
            Angelopoulos, Bates, Candes, Jordan and Lei 2021, "Learn then Test", arXiv:2110.01052:
            fixed sequence testing, and its split variant where `thresholds` is None.

        >>> scores = torch.linspace(0, 1, 3000)
        >>> correct = (scores > 0.5) | (torch.arange(3000) % 2 == 0)  # below, every second is wrong
        >>> handoff = Handoff.fit(scores, correct, risk=0.1)
        >>> 0.35 < handoff.threshold < 0.5, handoff.answers(torch.tensor([0.2, 0.9])).tolist()
        (True, [False, True])
        """
        for name, value in (("risk", risk), ("delta", delta)):
            if not 0.0 < value < 1.0:  # nan fails this too
                raise OptionError(f"`{name}` must be in (0, 1); got {value!r}.")
        scores, wrong = checked_answers(scores, correct)
        n_least = _least_number(risk, delta)
        if thresholds is None:
            order = torch.randperm(len(scores), generator=torch.Generator().manual_seed(seed))
            aside, rest = order[: len(order) // 3], order[len(order) // 3 :]
            if len(rest) < n_least:
                raise EvidenceError(_too_few(len(scores), risk, delta, n_least))
            chosen = _chosen(scores[aside], wrong[aside], risk, len(rest))
            scores, wrong = scores[rest], wrong[rest]
        else:
            chosen = _checked_thresholds(thresholds)
            if len(scores) < n_least:
                raise EvidenceError(_too_few(len(scores), risk, delta, n_least))
        n_answered, n_wrong = _counts(scores, wrong, chosen)
        p_values = _binomial_tails(n_wrong, n_answered, risk)
        is_passed = (p_values <= delta).cumprod(0).bool()
        if not bool(is_passed.any()):
            raise EvidenceError(
                f"no threshold keeps the promise of at most {risk:g} wrong answers at a confidence "
                f"of {1 - delta:g}: of {len(scores)} examples {int(n_answered[0])} reach the first "
                f"threshold, {chosen[0]:.6g}, {int(n_wrong[0])} of them wrong. Take more examples, "
                "a higher `risk` or a better score."
            )
        passed = is_passed.nonzero().squeeze(1)
        best = int(passed[chosen[passed].argmin()])
        return cls(
            threshold=float(chosen[best]),
            risk=risk,
            delta=delta,
            n_examples=len(scores),
            n_answered=int(n_answered[best]),
            n_wrong=int(n_wrong[best]),
            p_value=float(p_values[best]),
        )

    def answers(self, scores: Tensor) -> Tensor:
        """Which examples are answered: ``(n,)`` bool; a score of nan goes to a person."""
        return scores.double() >= self.threshold

    @property
    def share_handed_over(self) -> float:
        """Of the examples it was tested on, in [0, 1]."""
        return 1.0 - self.n_answered / self.n_examples

    def to_dict(self) -> dict[str, Any]:
        """The attributes by name, with the format's name and version."""
        return {"format": _FORMAT, "version": _VERSION, **asdict(self)}

    @classmethod
    def from_dict(cls, found: Any) -> Self:
        """What `to_dict` gave.

        Raises:
            DataError: It is something else, of a later version, or contradicts itself.
        """
        if not isinstance(found, dict) or found.get("format") != _FORMAT:
            raise DataError(
                f"a hand-over must say that its format is {_FORMAT!r}; this one does not."
            )
        if found.get("version") != _VERSION:
            raise DataError(
                f"a hand-over must be of version {_VERSION}; got {found.get('version')!r}."
            )
        values: dict[str, Any] = {}
        for field in fields(cls):
            value, kind = found.get(field.name), field.type
            is_whole = isinstance(value, int) and not isinstance(value, bool)
            if not (is_whole or (kind is float and isinstance(value, float))):
                raise DataError(f"a hand-over's `{field.name}` must be a number; got {value!r}.")
            values[field.name] = kind(value)  # type: ignore[operator]
        made = cls(**values)
        if not made._is_sound():
            raise DataError("a hand-over must hold numbers that fit each other; these do not.")
        return made

    def _is_sound(self) -> bool:
        return (
            math.isfinite(self.threshold)
            and 0.0 < self.risk < 1.0
            and 0.0 <= self.p_value <= self.delta < 1.0
            and 0 <= self.n_wrong <= self.n_answered <= self.n_examples
            and self.n_answered > 0
        )

    def save(self, path: str | Path) -> None:
        """Write it as JSON.

        Raises:
            OSError: The folder is missing or cannot be written.
        """
        text = json.dumps(self.to_dict(), indent=2, allow_nan=False)
        write_text(Path(path), text + "\n")

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read what `save` wrote.

        Raises:
            DataError: The file is none, or not as it was written.
            OSError: There is no such file, or it cannot be read.
        """
        try:
            found = json.loads(Path(path).read_text(encoding="utf-8"))
        except (ValueError, RecursionError) as error:  # not UTF-8, or not JSON
            raise DataError(f"{str(path)!r} must be a JSON file; it is not.") from error
        try:
            return cls.from_dict(found)
        except DataError as error:
            raise DataError(f"{str(path)!r} is no hand-over: {error}") from None


def _least_number(risk: float, delta: float) -> int:
    """So many answers, all right, are needed at least to prove anything."""
    return math.ceil(math.log(delta) / math.log1p(-risk))


def _too_few(n: int, risk: float, delta: float, least: int) -> str:
    return (
        f"{n} examples are too few to promise at most {risk:g} wrong answers at a confidence of "
        f"{1 - delta:g}: {least} would be needed if all were right, half as many again where "
        "`thresholds` are to be chosen too."
    )


def _checked_thresholds(thresholds: Tensor) -> Tensor:
    chosen = torch.as_tensor(thresholds).double()
    if chosen.dim() != 1 or not len(chosen) or not bool(chosen.isfinite().all()):
        raise OptionError(
            "`thresholds` must be finite numbers, at least one, in one dimension; got "
            f"{thresholds!r}."
        )
    return chosen


def _chosen(scores: Tensor, wrong: Tensor, risk: float, n_tested: int) -> Tensor:
    """Thresholds from other examples: the most promising one, and then ever lower ones."""
    quantiles = torch.linspace(1, 0, 101, dtype=torch.float64)
    grid: Tensor = torch.quantile(scores.cpu(), quantiles, interpolation="lower").unique().flip(0)
    n_answered, n_wrong = _counts(scores, wrong, grid)
    larger = n_tested / len(scores)
    # as if half a wrong answer more had been seen: a threshold that few reach proves little
    tails = _binomial_tails((n_wrong + 0.5) * larger, n_answered * larger, risk)
    return grid[int(tails.argmin()) :]


def _counts(scores: Tensor, wrong: Tensor, thresholds: Tensor) -> tuple[Tensor, Tensor]:
    """How many scores reach each threshold, and how many of these answers are wrong."""
    ordered, order = scores.sort()
    n_below = torch.searchsorted(ordered, thresholds.to(ordered))
    up_to = torch.cat([wrong.new_zeros(1), wrong[order].cumsum(0)])
    return (len(scores) - n_below).double().cpu(), (up_to[-1] - up_to[n_below]).cpu()


def _binomial_tails(n_wrong: Tensor, n_answered: Tensor, risk: float) -> Tensor:
    """Chance of so few wrong answers if each were wrong with chance `risk`."""
    try:
        from scipy.special import bdtr  # noqa: PLC0415 - scipy belongs to an extra
    except ImportError as error:
        message = "a hand-over needs scipy: pip install 'dropkit[study]'."
        raise MissingExtraError(message) from error
    tails = bdtr(n_wrong.floor().numpy(), n_answered.floor().numpy().astype("int64"), risk)
    found: Tensor = torch.as_tensor(tails, dtype=torch.float64)
    return found.masked_fill_(n_answered < 1, 1.0)
