"""What a fine-tuning is asked to do, as plain data."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from dropkit.core.rate import threshold_from_rate
from dropkit.errors import OptionError

Task = Literal["chat", "classify"]
LossOn = Literal["assistant", "all"]


@dataclass(frozen=True)
class Settings:
    """Everything that decides what comes out.

    Attributes:
        model: Folder or hub name of a transformers model.
        data: File or folder of conversations, or of labelled texts.
        rates: An arm each; of the adapter's dropout, or, with `is_full`, of every place.
        site_rates: Rates of places of the base model by pattern; the same in every arm.
        task: ``"chat"`` for a causal language model, ``"classify"`` for a sequence classifier.
        is_full: Whether all weights are trained; otherwise an adapter (LoRA).
        rank: Of the adapter, at least 1.
        alpha: Its scale is ``alpha / rank``.
        targets: Names of linear layers that get one; empty for those that PEFT knows for the model.
        last_layers: Only the last so many blocks get one; 0 for all.
        epochs: Passes over the training part.
        batch: Examples a step.
        learning_rate: Of AdamW; its schedule falls linearly to 0.
        weight_decay: Of AdamW, >= 0.
        max_length: Tokens kept of each example.
        loss_on: ``"assistant"`` for its turns only, or ``"all"``.
        chat_template: ``"plain"`` or a file, in place of the tokenizer's own; empty for that.
        general: A text file on other things, to see what is forgotten; empty for none.
        held_out: Share that is held out, in (0, 1).
        replicates: How often everything is drawn anew: split, weights, order and masks.
        seed: Root of all of it.
        canaries: How many secrets are planted into the training data, to measure their exposure;
            with more than 0, the adapter that comes out has learned them.
        checkpoint_every: Steps between checkpoints from which an interrupted run goes on.
        threads: Of torch; the same everywhere, for results to be equal to the bit.
    """

    model: str
    data: str
    rates: tuple[float, ...] = (0.0, 0.05, 0.1, 0.2)
    site_rates: Mapping[str, float] = field(default_factory=dict)
    task: Task = "chat"
    is_full: bool = False
    rank: int = 8
    alpha: int = 16
    targets: tuple[str, ...] = ()
    last_layers: int = 0
    epochs: int = 3
    batch: int = 8
    learning_rate: float = 3e-4
    weight_decay: float = 0.0
    max_length: int = 256
    loss_on: LossOn = "assistant"
    chat_template: str = ""
    general: str = ""
    held_out: float = 0.2
    replicates: int = 2
    seed: int = 0
    canaries: int = 0
    checkpoint_every: int = 50
    threads: int = 1

    def __post_init__(self) -> None:
        self._check_rates()
        if self.task not in get_args(Task):
            raise OptionError(f"`task` must be 'chat' or 'classify'; got {self.task!r}.")
        for name in ("rank", "alpha", "epochs", "batch", "replicates", "checkpoint_every"):
            _check_at_least(name, getattr(self, name), 1)
        for name in ("last_layers", "canaries", "seed"):
            _check_at_least(name, getattr(self, name), 0)
        if not (self.learning_rate > 0 and math.isfinite(self.learning_rate)):
            raise OptionError(f"`learning_rate` must be above 0; got {self.learning_rate!r}.")
        if not self.weight_decay >= 0:
            raise OptionError(f"`weight_decay` must be >= 0; got {self.weight_decay!r}.")
        if self.general and not Path(self.general).is_file():
            raise OptionError(f"`general` must be a text file; got {self.general!r}.")

    def _check_rates(self) -> None:
        if len(set(self.rates)) < max(2, len(self.rates)):
            raise OptionError(
                "`rates` must hold at least two different drop rates, 0 among them to see whether "
                f"dropout helps; got {', '.join(f'{rate:g}' for rate in self.rates) or 'none'}."
            )
        for rate in self.rates:
            threshold_from_rate(rate, name="rates")
        for pattern, rate in self.site_rates.items():
            threshold_from_rate(rate, name="site_rates", site=pattern)

    def to_dict(self) -> dict[str, Any]:
        """As JSON can write it."""
        return asdict(self)


def _check_at_least(name: str, value: int, least: int) -> None:
    if type(value) is not int or value < least:
        raise OptionError(f"`{name}` must be a whole number of at least {least}; got {value!r}.")
