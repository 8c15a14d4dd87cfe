"""What a language model kept of its training data, in numbers with intervals."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, cast

from torch import nn

from dropkit.core.estimate import Estimate
from dropkit.errors import OptionError
from dropkit.finetuning.memorizing._attack import Attack, attack
from dropkit.finetuning.memorizing._canary import Canary
from dropkit.finetuning.memorizing._examples import encoded, n_shared
from dropkit.finetuning.memorizing._exposure import Exposure, exposures
from dropkit.finetuning.memorizing._extraction import Extraction, extractions
from dropkit.finetuning.memorizing._intervals import difference
from dropkit.finetuning.memorizing._model import quiet
from dropkit.finetuning.memorizing._scores import Scores, scored
from dropkit.studies.statistics import mean_with_interval


@dataclass(frozen=True)
class Memorization:
    """What `memorization` measured; losses in nats a token.

    Attributes:
        train_loss: Mean over examples of their mean token loss, with Student's interval.
        held_out_loss: Likewise.
        gap: Held-out less train, with Welch's interval: what the model does better on what it saw.
        attacks: By the score that is to tell members from others:

            ``"loss"``: the example's mean token loss, a low one says member (Yeom et al. 2018,
            CSF, arXiv:1709.01604).
            ``"min_k"``: the mean log probability of its `share` least likely tokens (Min-K% Prob,
            Shi et al. 2024, ICLR, arXiv:2310.16789).
            ``"min_k_plus_plus"``: the same of log probabilities that are standardized by their
            mean and standard deviation over the vocabulary (Min-K%++, Zhang et al. 2025, ICLR,
            arXiv:2404.02936).
        extractions: One for each length of prefix.
        exposures: One for each canary, in their order.
        n_train: Examples.
        n_held_out: Likewise.
        n_shared: Held-out examples that are in the training data too, token by token. They count
            with both sides, and hide what there is to find.
        confidence: Of all intervals, one by one.
    """

    train_loss: Estimate
    held_out_loss: Estimate
    gap: Estimate
    attacks: Mapping[str, Attack]
    extractions: tuple[Extraction, ...]
    exposures: tuple[Exposure, ...]
    n_train: int
    n_held_out: int
    n_shared: int
    confidence: float

    def to_dict(self) -> dict[str, Any]:
        """Everything, as dicts, lists, texts and numbers; rates are written as texts."""
        found = asdict(self)
        for of_attack in found["attacks"].values():
            rates = of_attack["true_positive_rates"]
            of_attack["true_positive_rates"] = {f"{rate:g}": e for rate, e in rates.items()}
        for name in ("extractions", "exposures"):
            found[name] = list(found[name])
        return found


def memorization(  # noqa: PLR0913 - one call, of which all but three may be left out
    model: nn.Module,
    train: Sequence[Any],
    held_out: Sequence[Any],
    *,
    prefixes: Sequence[int] = (4, 16),
    continuation: int = 16,
    share: float = 0.2,
    canaries: Sequence[Canary] = (),
    references: int = 1024,
    batch_size: int = 8,
    confidence: float = 0.95,
    seed: int = 0,
) -> Memorization:
    """Measure how far `model` knows the examples it was trained on from others like them.

    It is asked in eval mode, with all dropout off and without gradients; modes, rates and torch's
    generator are put back. The held-out examples must be drawn as the training examples were: what
    differs between the two for another reason, topic or date, looks like memory.

    An example is a tensor of token ids, ``(n,)`` whole numbers, each of which but the first has a
    loss; or it has ``input_ids`` and ``labels``, lists or tensors, where the label -100 says that
    the token has none.

    Args:
        model: A causal language model: from ``(B, T)`` int64 ids it gives logits ``(B, T, V)``, as
            a tensor or as ``.logits``. One of transformers, also within PEFT, or any module.
        train: Examples that it was trained on.
        held_out: Examples that it was not.
        prefixes: Lengths of the prefixes, in tokens, whose continuation is asked for; none leaves
            the extraction out.
        continuation: Tokens that must be said. Examples that have not as many tokens with loss in
            a row, prefix included, are left out of the extraction.
        share: Of an example's tokens that Min-K% looks at, in (0, 1].
        canaries: As `plant_canaries` gave them; scored only if the model was trained with them.
        references: Secrets that a canary is ranked among, at least 100; all of them if they are no
            more.
        batch_size: Examples a forward.
        confidence: Of the intervals, in (0, 1).
        seed: Of the references.

    Raises:
        DataError: A set is empty, an example is no such example, none is long enough for the
            extraction, or a loss is not finite.
        OptionError: An option is outside its range, or the model gives no logits.
        ShapeError: Its logits are of another shape.
        MissingExtraError: scipy or torchmetrics is not installed.

    Source:
        Beside each measure: `Memorization`, `Attack`, `Extraction`, `Exposure`.
    """
    _check_options(prefixes, continuation, share, references, batch_size, confidence)
    ours, theirs = encoded(train, "train"), encoded(held_out, "held_out")
    with quiet(model):
        of_train = scored(model, ours, "train", batch_size)
        of_held_out = scored(model, theirs, "held_out", batch_size)
        found = extractions(
            model,
            ours,
            theirs,
            prefixes=prefixes,
            continuation=continuation,
            batch_size=batch_size,
            confidence=confidence,
        )
        exposed = exposures(
            model,
            canaries,
            references=references,
            batch_size=batch_size,
            confidence=confidence,
            seed=seed,
        )
    losses = [[scores.loss for scores in side] for side in (of_train, of_held_out)]
    return Memorization(
        train_loss=mean_with_interval(losses[0], confidence=confidence),
        held_out_loss=mean_with_interval(losses[1], confidence=confidence),
        gap=difference(losses[1], losses[0], confidence),
        attacks=_attacks(of_train, of_held_out, share, confidence),
        extractions=found,
        exposures=exposed,
        n_train=len(ours),
        n_held_out=len(theirs),
        n_shared=n_shared(ours, theirs),
        confidence=confidence,
    )


def _attacks(
    of_train: Sequence[Scores], of_held_out: Sequence[Scores], share: float, confidence: float
) -> dict[str, Attack]:
    scores = {
        "loss": lambda scores: -scores.loss,
        "min_k": lambda scores: scores.min_k(share),
        "min_k_plus_plus": lambda scores: scores.min_k_plus_plus(share),
    }
    return {
        name: attack(list(map(score, of_train)), list(map(score, of_held_out)), confidence)
        for name, score in scores.items()
    }


def _check_options(
    prefixes: Sequence[int],
    continuation: int,
    share: float,
    references: int,
    batch_size: int,
    confidence: float,
) -> None:
    least = {"continuation": (continuation, 1), "batch_size": (batch_size, 1)}
    least["references"] = (references, 100)
    least |= {f"prefixes[{i}]": (k, 1) for i, k in enumerate(prefixes)}
    for name, (value, low) in least.items():
        if not isinstance(cast(object, value), int) or value < low:
            raise OptionError(f"`{name}` must be a whole number of at least {low}; got {value!r}.")
    if not 0.0 < share <= 1.0:  # nan fails this too
        raise OptionError(f"`share` must be in (0, 1]; got {share!r}.")
    if not 0.0 < confidence < 1.0:
        raise OptionError(f"`confidence` must be in (0, 1); got {confidence!r}.")
