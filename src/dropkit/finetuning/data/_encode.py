"""Conversations as tokens, with the loss where the model is to learn."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from dropkit.errors import DataError, OptionError
from dropkit.finetuning.data._conversation import Conversation
from dropkit.finetuning.data._refusals import Refused, taken
from dropkit.finetuning.data._template import Rendered, rendered, template_of, whole_text

#: The label of a token without loss: torch's ``ignore_index``.
NO_LOSS = -100

LossOn = Literal["assistant", "all"]
IfCut = Literal["refuse", "leave out"]

_MARKED = re.compile(r"\{%-?\s*generation\s*-?%\}")


@dataclass(frozen=True)
class Encoded:
    """One conversation as tokens.

    Attributes:
        id: The conversation's.
        input_ids: Its tokens, at most `max_length`.
        labels: As many: the token itself, or -100 where there is no loss. Not shifted: the model
            does that.
        n_cut: Tokens after `max_length` that are not in it.
    """

    id: str
    input_ids: list[int]
    labels: list[int]
    n_cut: int = 0

    @property
    def n_loss(self) -> int:
        """Tokens that are learned; the first of all is never predicted, so it does not count."""
        return sum(label != NO_LOSS for label in self.labels[1:])


def encode(
    conversations: Sequence[Conversation],
    tokenizer: Any,
    *,
    max_length: int,
    loss_on: LossOn = "assistant",
    if_all_cut: IfCut = "refuse",
) -> list[Encoded]:
    """Write conversations with the tokenizer's chat template, as tokens.

    The loss is on what the assistant has to write itself: from the end of the template's prompt for
    a turn to the mark that ends the turn. Where the template has ``{% generation %}`` marks, it is
    on what these enclose; elsewhere the prompt's tokens are those that it has alone, as in use.

    Args:
        conversations: From `read_conversations`.
        tokenizer: Of transformers, with a chat template (see `read_template`).
        max_length: Tokens that are kept of each, from the beginning; at least 2.
        loss_on: ``"assistant"``, or ``"all"`` for every token.
        if_all_cut: What becomes of a conversation whose answers all lie after `max_length`:
            ``"refuse"`` raises, ``"leave out"`` leaves it out of the result; `summarize` counts it.

    Returns:
        One for each conversation, in order, save those that were left out.

    Raises:
        OptionError: An argument is outside the values it may take.
        DataError: There is no chat template; it cannot write a conversation or does not let its
            answers be found; a text holds one of the tokenizer's control tokens, which would end
            the turn; or nothing is left to learn from.
    """
    if max_length < 2:
        raise OptionError(f"`max_length` must be at least 2; got {max_length!r}.")
    if loss_on not in ("assistant", "all"):
        raise OptionError(f"`loss_on` must be 'assistant' or 'all'; got {loss_on!r}.")
    if if_all_cut not in ("refuse", "leave out"):
        raise OptionError(f"`if_all_cut` must be 'refuse' or 'leave out'; got {if_all_cut!r}.")
    is_marked = _MARKED.search(template_of(tokenizer)) is not None
    controls = _controls(tokenizer)

    def take(conversation: Conversation) -> Encoded:
        _refuse_controls(conversation, controls)
        if loss_on == "all":
            ids = _ids(tokenizer, whole_text(conversation, tokenizer))
            labels = ids
        elif is_marked:
            ids, labels = _by_marks(conversation, tokenizer)
        else:
            ids, labels = _by_prefixes(conversation, tokenizer)
        n_cut = max(0, len(ids) - max_length)
        encoded = Encoded(conversation.id, ids[:max_length], list(labels[:max_length]), n_cut)
        if encoded.n_loss == 0 and if_all_cut == "refuse":
            raise Refused(f"has no answer within its first {max_length:,} of {len(ids):,} tokens")
        return encoded

    result = taken(conversations, take, _told, _opening)
    kept = [encoded for encoded in result if encoded.n_loss > 0]
    if conversations and not kept:
        raise DataError(
            f"no conversation has an answer within its first {max_length:,} tokens. Raise "
            "`max_length`."
        )
    return kept


def _told(conversation: Conversation) -> tuple[str, str]:
    return conversation.where, conversation.messages[0].content


def _opening(n: int, total: int) -> str:
    return f"{n:,} of {total:,} conversations cannot be learned from; none was taken."


def _controls(tokenizer: Any) -> list[str]:
    """The tokens that steer the model, as text would have to spell them."""
    added = getattr(tokenizer, "added_tokens_decoder", {}).values()
    marks = {str(token) for token in added if token.special} | set(tokenizer.all_special_tokens)
    return sorted((mark for mark in marks if mark.strip()), key=len, reverse=True)


def _refuse_controls(conversation: Conversation, controls: list[str]) -> None:
    for number, message in enumerate(conversation.messages, 1):
        found = next((mark for mark in controls if mark in message.content), None)
        if found is not None:
            raise Refused(f"holds the control token {found!r} in message {number}")


def _ids(tokenizer: Any, text: str) -> list[int]:
    return list(tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])


def _by_marks(conversation: Conversation, tokenizer: Any) -> tuple[list[int], list[int]]:
    whole_text(conversation, tokenizer)  # says why, if the template cannot write it
    turns = [{"role": turn.role, "content": turn.content} for turn in conversation.messages]
    result = tokenizer.apply_chat_template(
        turns, return_dict=True, return_assistant_tokens_mask=True
    )
    ids, mask = list(result["input_ids"]), result["assistant_masks"]
    if not any(mask):
        raise Refused("has no answer between the template's {% generation %} marks")
    return ids, [token if on else NO_LOSS for token, on in zip(ids, mask, strict=True)]


def _by_prefixes(conversation: Conversation, tokenizer: Any) -> tuple[list[int], list[int]]:
    written = rendered(conversation, tokenizer)
    whole = _ids(tokenizer, written.text)
    ids, labels = _by_pieces(written, tokenizer)
    if ids == whole or _spelled(tokenizer, ids) == _spelled(tokenizer, whole):
        return ids, labels
    # Tokenizers that begin a text with a space of their own put one into each piece.
    labels = [NO_LOSS] * len(whole)
    for start, end in written.answers:
        first = _n_tokens(tokenizer, written.text[:start], whole)
        last = _n_tokens(tokenizer, written.text[:end], whole)
        labels[first:last] = whole[first:last]
    return whole, labels


def _by_pieces(written: Rendered, tokenizer: Any) -> tuple[list[int], list[int]]:
    """Tokens of each piece alone: as the model meets the prompt in use."""
    ids: list[int] = []
    labels: list[int] = []
    done = 0
    for start, end in [*written.answers, (len(written.text), len(written.text))]:
        prompt = _ids(tokenizer, written.text[done:start])
        answer = _ids(tokenizer, written.text[start:end])
        ids += prompt + answer
        labels += [NO_LOSS] * len(prompt) + answer
        done = end
    return ids, labels


def _spelled(tokenizer: Any, ids: list[int]) -> str:
    return str(tokenizer.decode(ids, clean_up_tokenization_spaces=False))


def _n_tokens(tokenizer: Any, beginning: str, whole: list[int]) -> int:
    """How many tokens of `whole` write `beginning`."""
    ids = _ids(tokenizer, beginning)
    if whole[: len(ids)] != ids:
        raise Refused(
            "has a token that is half an answer and half what stands beside it: let the chat "
            "template put a token of its own between them, or learn from all turns (loss_on='all')"
        )
    return len(ids)
