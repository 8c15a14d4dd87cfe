"""What came out of a fine-tuning, as plain frozen data."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from dropkit.core.estimate import Estimate
from dropkit.studies.result import StudyResult

#: Parts of the time that are training; the last is what is left of it besides the other two:
#: optimizer, checkpoints, making of batches.
STEP_PARTS = ("forward", "backward", "optimizer and the rest")


@dataclass(frozen=True)
class Moment:
    """One arm after so many epochs; means over its replicates, losses in nats a token (or text).

    Attributes:
        epoch: 0 is the model as it was.
        train_loss: On the training part, in eval.
        held_out_loss: On the held-out part.
        held_out_perplexity: ``exp`` of the mean loss; None for a classifier.
        accuracy: Share of held-out tokens (or texts) whose likeliest prediction is right.
        general_loss: On general text; None where none was given.
    """

    epoch: int
    train_loss: float
    held_out_loss: float
    held_out_perplexity: float | None
    accuracy: float
    general_loss: float | None


@dataclass(frozen=True)
class Sample:
    """A held-out question, its true answer, and what each arm says.

    Attributes:
        question: The turn before.
        expected: The answer in the data.
        answers: By arm; greedy.
    """

    question: str
    expected: str
    answers: Mapping[str, str]


@dataclass(frozen=True)
class ArmOutcome:
    """One arm over its finished replicates.

    Attributes:
        name: The arm's.
        rate: Of its dropout, in [0, 1].
        curve: Epoch by epoch, from 0.
        best_epoch: Where the mean held-out loss is lowest.
        measures: Of the trained model at the last epoch, each over replicates, with Student's
            interval (of one replicate, without): ``held_out_loss``, ``best_held_out_loss``,
            ``gap``, ``forgotten`` (general loss after less before), and of memorization
            ``membership_auc``, ``min_k_auc``, ``min_k_plus_plus_auc``, ``extracted_train``,
            ``extracted_held_out`` (shares of examples whose continuation is said verbatim),
            ``nearly_train``, ``nearly_held_out`` (or nearly so), ``exposure`` (bits, of planted canaries);
            those that were not measured are absent.
        memorization: All that `dropkit.memorization` said, a replicate each.
    """

    name: str
    rate: float
    curve: Sequence[Moment]
    best_epoch: int
    measures: Mapping[str, Estimate]
    memorization: Sequence[Mapping[str, Any]] = ()


@dataclass(frozen=True)
class Speed:
    """Where the time went, in seconds over all trials.

    Attributes:
        steps_per_s: Training steps a second, evaluation left out.
        step_s: Median seconds of a step.
        peak_mib: Greatest memory of the process while training, in MiB.
        parts: Seconds by part: ``loading``, those of `STEP_PARTS`, ``evaluation``,
            ``memorization``, ``answers``, ``frozen blocks`` where they were run apart. On a GPU a
            part may wait for the kernels of the one before.
        wall_s: All of it, in this run of the command.
    """

    steps_per_s: float
    step_s: float
    peak_mib: float
    parts: Mapping[str, float]
    wall_s: float


@dataclass(frozen=True)
class Adapter:
    """The trained weights that come out.

    Attributes:
        arm: Its name: the one with the lowest best held-out loss.
        rate: The arm's.
        replicate: The one of its replicates with the lowest.
        epoch: After which they were kept.
        held_out_loss: There.
        is_full: Whether they are the whole model; otherwise an adapter.
    """

    arm: str
    rate: float
    replicate: int
    epoch: int
    held_out_loss: float
    is_full: bool


@dataclass(frozen=True)
class FinetuneResult:
    """All that a fine-tuning found.

    Attributes:
        settings: What was asked for.
        about: Of the model: its class, parameters, trained parameters, sites.
        data: Counts and copies, of the first replicate's split.
        arms: In the order of the rates.
        samples: Questions with the arms' answers, of the first replicate.
        study: Paired differences and the verdict.
        speed: Where the time went.
        adapter: What was kept; None where no trial was finished.
    """

    settings: Mapping[str, Any]
    about: Mapping[str, Any]
    data: Mapping[str, Any]
    arms: Sequence[ArmOutcome]
    samples: Sequence[Sample]
    study: StudyResult
    speed: Speed
    adapter: Adapter | None = None
    format: str = field(default="dropkit finetune", init=False)
    version: int = field(default=1, init=False)

    def to_dict(self) -> dict[str, Any]:
        """Everything, as dicts, lists, texts and numbers."""
        return asdict(self)
