"""Conversations as a model's chat template writes them, and where in that its answers stand."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dropkit.errors import DataError
from dropkit.finetuning.data._conversation import Conversation, Message
from dropkit.finetuning.data._refusals import Refused
from dropkit.finetuning.data._tokenizer import name_of

#: For a model that knows no turns: what is asked, a line end, the answer, the end of a text.
PLAIN_TEMPLATE = (
    "{% for message in messages %}"
    "{% if message['role'] == 'assistant' %}{{ message['content'] + (eos_token or '\n') }}"
    "{% else %}{{ message['content'] + '\n' }}{% endif %}"
    "{% endfor %}"
)


@dataclass(frozen=True)
class Rendered:
    """A conversation as one text.

    Attributes:
        text: All of it.
        answers: Where in it the model speaks: from and to, in characters, in order.
    """

    text: str
    answers: tuple[tuple[int, int], ...]


def read_template(choice: str | Path) -> str:
    """The chat template that a user chose, for ``tokenizer.chat_template``.

    Args:
        choice: ``"plain"`` for `PLAIN_TEMPLATE`, or a file that holds one in Jinja.

    Raises:
        DataError: There is no such file, it is empty or no UTF-8 text.
    """
    if choice == "plain":
        return PLAIN_TEMPLATE
    try:
        text = Path(choice).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"a chat template must be `plain` or a file with one; `{choice}` cannot be read: "
            f"{getattr(error, 'strerror', None) or error}."
        ) from error
    if not text.strip():
        raise DataError(f"`{choice}` must hold a chat template; it is empty.")
    return text


def template_of(tokenizer: Any) -> str:
    """The chat template that `tokenizer` writes conversations with, in Jinja.

    Raises:
        DataError: It has none.
    """
    try:
        return str(tokenizer.get_chat_template())
    except ValueError as error:
        raise DataError(
            f"{name_of(tokenizer)} has no chat template, so it does not say how turns are "
            "written. Choose one: `--chat-template FILE`, or `--chat-template plain` for a model "
            "that knows no turns."
        ) from error


def whole_text(conversation: Conversation, tokenizer: Any) -> str:
    """All of `conversation` as the chat template writes it.

    Raises:
        Refused: The template cannot write it.
    """
    return _written(conversation.messages, tokenizer)


def rendered(conversation: Conversation, tokenizer: Any) -> Rendered:
    """The text of `conversation`, and which parts of it the assistant wrote.

    An answer begins where the template's prompt for it ends, and ends with the mark that ends a
    turn: what a model has to write itself. White space after a mark is left out. The place is found
    by writing the conversation up to the answer and up to its end; the whole must begin with both.
    Where a template writes a turn in another way once more turns follow, the turn itself and its
    mark are looked for where the prompt ends.

    Raises:
        Refused: The template cannot write it, or does not let the answers be found.
    """
    text = _written(conversation.messages, tokenizer)
    answers: list[tuple[int, int]] = []
    for index, message in enumerate(conversation.messages):
        if message.role == "assistant":
            start, end = _answer(conversation.messages, index, text, tokenizer)
            if answers and start < answers[-1][1]:
                raise Refused(_unplaced(index))
            answers.append((start, end))
    return Rendered(text, tuple(answers))


def _answer(messages: Sequence[Message], index: int, text: str, tokenizer: Any) -> tuple[int, int]:
    before, turn = messages[:index], messages[index].content.strip()
    until = _written(messages[: index + 1], tokenizer)
    start, closing = _start(before, until, turn, tokenizer)
    if start is None or text[:start] != until[:start]:
        raise Refused(_unplaced(index))
    until = until.removesuffix(closing)
    answer, mark = _mark(until[start:], turn)
    if text.startswith(until):
        end = start + len(answer) + len(mark)
    else:
        # The turn is written otherwise when it is the last: take over its mark, not its place.
        space = len(text[start:]) - len(text[start:].lstrip())
        if not text.startswith(turn + mark, start + space):
            raise Refused(_unplaced(index))
        end = start + space + len(turn + mark)
    if end <= start:
        raise Refused(f"has an answer that the chat template leaves out (message {index + 1})")
    return start, end


def _start(
    before: Sequence[Message], until: str, turn: str, tokenizer: Any
) -> tuple[int | None, str]:
    """Where the prompt for a turn ends in `until`, and what the template puts after every text."""
    is_greeting = all(message.role != "user" for message in before)
    try:
        prompt = _written(before, tokenizer, add_generation_prompt=True)
        plain = _written(before, tokenizer)
    except Refused:
        if is_greeting:  # many templates cannot write what stands before it
            return until.find(turn) if until.count(turn) == 1 else None, ""
        raise
    closing = _closing(plain, prompt, tokenizer)
    if until.startswith(prompt):
        return len(prompt), closing
    # Some prompts say more than the head of a turn does, such as "<think>" to begin with.
    for place in range(len(prompt), len(plain.removesuffix(closing)) - 1, -1):
        if until[:place] == prompt[:place] and until[place:].lstrip().startswith(turn):
            return place, closing
    return None, closing


def _closing(plain: str, prompt: str, tokenizer: Any) -> str:
    """The token that ends `plain`, but is not in `prompt`, which goes on from there."""
    marks = () if prompt.startswith(plain) else tokenizer.all_special_tokens
    ends = (mark for mark in marks if plain.endswith(mark))
    return next((mark for mark in ends if prompt.startswith(plain.removesuffix(mark))), "")


def _mark(answer: str, turn: str) -> tuple[str, str]:
    """`answer` taken apart: what ends with the turn, and the mark after it.

    White space after a mark is in neither; white space alone is a mark.
    """
    bare = answer.lstrip()
    if bare.startswith(turn):
        place = len(answer) - len(bare) + len(turn)
    else:
        place = answer.rfind(turn) + len(turn) if turn in answer else 0
    return answer[:place], answer[place:].rstrip() or answer[place:]


def _unplaced(index: int) -> str:
    return (
        f"has an answer (message {index + 1}) that cannot be found in what the chat template "
        "writes: put {% generation %} and {% endgeneration %} around answers in the template, or "
        "learn from all turns (loss_on='all')"
    )


def _written(
    messages: Sequence[Message], tokenizer: Any, *, add_generation_prompt: bool = False
) -> str:
    turns = [{"role": message.role, "content": message.content} for message in messages]
    try:
        text = tokenizer.apply_chat_template(
            turns, tokenize=False, add_generation_prompt=add_generation_prompt
        )
    except Exception as error:  # templates raise what they like
        reason = " ".join(str(error).split()).rstrip(".")
        raise Refused(f"cannot be written by the chat template: {reason}") from error
    return str(text)
