"""What differs between a chatbot and a classifier: data, batches, and what the loss is of."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
import torch.nn.functional as F  # noqa: N812 - everybody's name for it
from torch import Tensor, nn

from dropkit.finetuning.data import (
    NO_LOSS,
    Conversation,
    LabelledText,
    Split,
    check_tokenizer,
    collate,
    collate_labelled,
    encode,
    encode_labelled,
    read_conversations,
    read_labelled,
    read_template,
    split,
    summarize,
)
from dropkit.finetuning.settings import Settings

#: Makes a batch for the model out of examples.
Collate = Callable[[Sequence[Any]], dict[str, Tensor]]


@dataclass(frozen=True)
class Parts:
    """The data of one replicate, as the model gets them.

    Attributes:
        train: Examples to learn from.
        held_out: Examples to measure with.
        summary: Counts, for the report.
        prompts: Held-out conversations whose answers are shown beside the true ones.
    """

    train: Sequence[Any]
    held_out: Sequence[Any]
    summary: dict[str, Any]
    prompts: Sequence[Conversation] = ()


class Work(Protocol):
    """A task with its data."""

    labels: Sequence[str]

    def parts(self, seed: int) -> Parts:
        """Split anew, and encode."""

    def collate(self, batch: Sequence[Any]) -> dict[str, Tensor]:
        """Examples as one batch for the model."""

    def losses(self, output: Any, batch: dict[str, Tensor]) -> tuple[Tensor, int]:
        """Sum of the losses in nats, and how many there are: tokens, or texts."""

    def check(self, model: nn.Module) -> None:
        """Raise DataError where the tokenizer does not belong to the model."""


def make_work(settings: Settings, tokenizer: Any) -> Work:
    """Read the data of `settings`.

    Raises:
        DataError: They cannot be read, or the tokenizer has no chat template.
    """
    if settings.task == "classify":
        return _Classifying(settings, tokenizer, read_labelled(settings.data))
    if settings.chat_template:
        tokenizer.chat_template = read_template(settings.chat_template)
    return _Chatting(settings, tokenizer, read_conversations(settings.data))


class _Chatting:
    labels: Sequence[str] = ()

    def __init__(
        self, settings: Settings, tokenizer: Any, conversations: list[Conversation]
    ) -> None:
        self._settings, self._tokenizer = settings, tokenizer
        self._conversations = conversations
        self._pad_id = check_tokenizer(tokenizer, 1 << 62)

    def parts(self, seed: int) -> Parts:
        halves: Split[Conversation] = split(self._conversations, self._settings.held_out, seed=seed)
        train, held_out = (
            encode(
                half,
                self._tokenizer,
                max_length=self._settings.max_length,
                loss_on=self._settings.loss_on,
                if_all_cut="leave out",
            )
            for half in (halves.train, halves.held_out)
        )
        summary = summarize(halves, train, held_out, self._tokenizer)
        return Parts(train, held_out, summary.to_dict(), halves.held_out)

    def collate(self, batch: Sequence[Any]) -> dict[str, Tensor]:
        return collate(batch, self._pad_id)

    def losses(self, output: Any, batch: dict[str, Tensor]) -> tuple[Tensor, int]:
        logits, labels = output.logits[:, :-1], batch["labels"][:, 1:]
        has_loss = labels != NO_LOSS
        return F.cross_entropy(logits[has_loss].float(), labels[has_loss], reduction="sum"), int(
            has_loss.sum()
        )

    def check(self, model: nn.Module) -> None:
        _check_tokenizer(self._tokenizer, model, must_end=True)


class _Classifying:
    def __init__(self, settings: Settings, tokenizer: Any, texts: list[LabelledText]) -> None:
        self._settings, self._tokenizer, self._texts = settings, tokenizer, texts
        self.labels: Sequence[str] = sorted({text.label for text in texts})
        self._pad_id = check_tokenizer(tokenizer, 1 << 62, must_end=False)

    def parts(self, seed: int) -> Parts:
        halves: Split[LabelledText] = split(self._texts, self._settings.held_out, seed=seed)
        train, held_out = (
            encode_labelled(
                half, self._tokenizer, labels=self.labels, max_length=self._settings.max_length
            )
            for half in (halves.train, halves.held_out)
        )
        counts = {"n_examples": len(train), "n_tokens": sum(len(x.input_ids) for x in train)}
        held = {"n_examples": len(held_out), "n_tokens": sum(len(x.input_ids) for x in held_out)}
        summary = {"train": counts, "held_out": held, "split": halves.report.to_dict()}
        return Parts(train, held_out, {**summary, "labels": list(self.labels)})

    def collate(self, batch: Sequence[Any]) -> dict[str, Tensor]:
        return collate_labelled(batch, self._pad_id)

    def losses(self, output: Any, batch: dict[str, Tensor]) -> tuple[Tensor, int]:
        labels = batch["labels"]
        return F.cross_entropy(output.logits.float(), labels, reduction="sum"), len(labels)

    def check(self, model: nn.Module) -> None:
        _check_tokenizer(self._tokenizer, model, must_end=False)
        config: Any = getattr(model, "config", None)
        if config is not None and config.pad_token_id is None:
            config.pad_token_id = self._pad_id  # a decoder looks for the last token by it


def _check_tokenizer(tokenizer: Any, model: nn.Module, *, must_end: bool) -> None:
    embedding: Any = model.get_input_embeddings()  # type: ignore[operator]
    check_tokenizer(tokenizer, embedding.weight.shape[0], must_end=must_end)


def mean_loss(
    model: nn.Module,
    work: Work,
    collate: Collate,
    examples: Sequence[Any],
    *,
    batch: int,
) -> tuple[float, float]:
    """Mean loss of `examples` in eval mode, and the share of right predictions.

    Args:
        model: Left in the mode it is in.
        work: What the examples are of.
        collate: Makes batches that the model reads.
        examples: At least one.
        batch: Examples a forward; those of like length share one.

    Returns:
        Nats a token (or text), and the share of tokens (or texts) that were likeliest, in [0, 1].
    """
    was_training = model.training
    model.eval()
    device = next(model.parameters()).device
    order = sorted(range(len(examples)), key=lambda i: len(examples[i].input_ids))
    total, n_losses, n_right = 0.0, 0, 0
    with torch.no_grad():
        for start in range(0, len(order), batch):
            now = collate([examples[i] for i in order[start : start + batch]])
            now = {name: x.to(device) for name, x in now.items()}
            output = model(**{name: x for name, x in now.items() if name != "labels"})
            loss, n = work.losses(output, now)
            total, n_losses = total + float(loss), n_losses + n
            n_right += _right(output.logits, now["labels"])
    model.train(was_training)
    return total / n_losses, n_right / n_losses


def _right(logits: Tensor, labels: Tensor) -> int:
    if logits.dim() == 3:
        logits, labels = logits[:, :-1], labels[:, 1:]
    return int(((logits.argmax(-1) == labels) & (labels != NO_LOSS)).sum())
