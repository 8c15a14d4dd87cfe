"""What a model was given to learn from, for its report."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from dropkit.finetuning.data._conversation import Conversation
from dropkit.finetuning.data._encode import Encoded
from dropkit.finetuning.data._split import Split, SplitReport
from dropkit.finetuning.data._template import template_of


@dataclass(frozen=True)
class PartSummary:
    """One part of the data, as the model gets it.

    Attributes:
        n_conversations: That it learns from, or is measured on.
        n_answers: Turns of the assistant in them, cut ones too.
        n_tokens: All tokens.
        n_loss_tokens: Those with loss.
        longest: Tokens of the longest conversation.
        n_truncated: Conversations that were cut at ``max_length``.
        n_tokens_cut: What was cut off them.
        left_out: The ids of those whose answers were all cut, which are not in the numbers above.
    """

    n_conversations: int
    n_answers: int
    n_tokens: int
    n_loss_tokens: int
    longest: int
    n_truncated: int
    n_tokens_cut: int
    left_out: tuple[str, ...]


@dataclass(frozen=True)
class DataSummary:
    """The data of one run.

    Attributes:
        train: Learned from.
        held_out: Measured with.
        split: Copies, and where they went.
        template: The chat template that wrote it, in Jinja.
    """

    train: PartSummary
    held_out: PartSummary
    split: SplitReport
    template: str

    def to_dict(self) -> dict[str, Any]:
        """As JSON can write it."""
        return asdict(self)


def summarize(
    parts: Split[Conversation],
    train: Sequence[Encoded],
    held_out: Sequence[Encoded],
    tokenizer: Any,
) -> DataSummary:
    """Count what `split` and `encode` made of the data.

    Args:
        parts: From `split`.
        train: ``encode(parts.train, ...)``.
        held_out: ``encode(parts.held_out, ...)``.
        tokenizer: That they were encoded with.

    Raises:
        DataError: The tokenizer has no chat template.
    """
    return DataSummary(
        train=_part(parts.train, train),
        held_out=_part(parts.held_out, held_out),
        split=parts.report,
        template=template_of(tokenizer),
    )


def _part(conversations: Sequence[Conversation], encoded: Sequence[Encoded]) -> PartSummary:
    kept = {each.id for each in encoded}
    turns = [message for each in conversations if each.id in kept for message in each.messages]
    return PartSummary(
        n_conversations=len(encoded),
        n_answers=sum(message.role == "assistant" for message in turns),
        n_tokens=sum(len(each.input_ids) for each in encoded),
        n_loss_tokens=sum(each.n_loss for each in encoded),
        longest=max((len(each.input_ids) for each in encoded), default=0),
        n_truncated=sum(each.n_cut > 0 for each in encoded),
        n_tokens_cut=sum(each.n_cut for each in encoded),
        left_out=tuple(each.id for each in conversations if each.id not in kept),
    )
