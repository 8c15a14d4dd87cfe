"""Records as conversations or labelled texts: what each must hold, and what is refused."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from dropkit.errors import DataError
from dropkit.finetuning.data._conversation import ROLES, Conversation, LabelledText, Message
from dropkit.finetuning.data._refusals import Record, Refused, lines_of, taken
from dropkit.finetuning.data._source import records

Item = TypeVar("Item", Conversation, LabelledText)

#: Keys of a question and its answer; the first pair's names are those of TRL, the last Alpaca's.
PAIRS = (("prompt", "completion"), ("question", "answer"), ("instruction", "output"))

_FORMS = "messages, " + ", ".join(" and ".join(pair) for pair in PAIRS[:-1])
_FORMS += f", or {' and '.join(PAIRS[-1])}"


def read_conversations(path: str | Path) -> list[Conversation]:
    """Read all conversations of a file or folder, or refuse it and say why.

    A record is a chat, ``{"messages": [{"role": ..., "content": ...}, ...]}``, or a pair under the
    keys or columns ``prompt`` and ``completion``, ``question`` and ``answer``, or ``instruction``
    and ``output`` (with Alpaca's ``input``, which is put below the instruction). It may have an
    ``id``, text or integer; other keys are left alone.

    Args:
        path: JSON lines, CSV with a header, Parquet, a folder of such files, or a folder that
            ``save_to_disk`` of the package datasets wrote; text is UTF-8. Told by content.

    Raises:
        DataError: It cannot be read, is empty, or has bad lines: no JSON, other keys, an unknown
            role, an empty text, no turn of the assistant, an end in another turn, an id for a
            second time. All bad lines are in the one message, with their numbers.
        MissingExtraError: Parquet and dataset folders need the extra ``finetune``.
    """
    new_id = _ids()

    def take(record: Record) -> Conversation:
        fields = record.present()
        return Conversation(new_id(record), _messages(fields), record.where)

    return _read(path, take)


def read_labelled(path: str | Path) -> list[LabelledText]:
    """Read all texts with their labels, or refuse the file and say why.

    Args:
        path: As for `read_conversations`, with the keys or columns ``text`` and ``label``, and
            perhaps ``id``. A label is text or an integer; a dataset's class numbers are read as
            the names it has for them.

    Raises:
        DataError: It cannot be read, is empty, or has bad lines, all told in one message.
        MissingExtraError: Parquet and dataset folders need the extra ``finetune``.
    """
    new_id = _ids()

    def take(record: Record) -> LabelledText:
        fields = record.present()
        if not {"text", "label"} <= fields.keys():
            raise Refused(f"must have text and label; has {_listed(fields)}")
        text, label = _text(fields["text"], "text"), fields["label"]
        if isinstance(label, int) and not isinstance(label, bool):
            label = str(label)
        return LabelledText(new_id(record), text, _text(label, "label"), record.where)

    return _read(path, take)


def _read(path: str | Path, take: Callable[[Record], Item]) -> list[Item]:
    items = taken(records(path), take, Record.told, lines_of(str(path)))
    if not items:
        raise DataError(f"`{path}` is empty: there is nothing to learn from.")
    return items


def _ids() -> Callable[[Record], str]:
    """Names one record after the other, and refuses a name for the second time."""
    seen: dict[str, str] = {}

    def new_id(record: Record) -> str:
        given = record.present().get("id", record.where)
        if isinstance(given, bool) or not isinstance(given, str | int) or given == "":
            raise Refused(f"has an id that is neither text nor an integer: {given!r}")
        name = str(given)
        if name in seen:
            raise Refused(f"has the id {name!r}, which {seen[name]} has")
        seen[name] = record.where
        return name

    return new_id


def _messages(fields: dict[str, object]) -> tuple[Message, ...]:
    forms = [pair for pair in PAIRS if fields.keys() & set(pair)]
    if "messages" in fields and not forms:
        return _chat(fields["messages"])
    if "messages" in fields or len(forms) != 1 or not set(forms[0]) <= fields.keys():
        raise Refused(f"must have {_FORMS}; has {_listed(fields)}")
    asked, answered = forms[0]
    question, answer = _text(fields[asked], asked), _text(fields[answered], answered)
    more = fields.get("input", "") if asked == "instruction" else ""
    if more != "":
        question = f"{question}\n\n{_text(more, 'input')}"
    return Message("user", question), Message("assistant", answer)


def _chat(value: object) -> tuple[Message, ...]:
    if not isinstance(value, list) or not value:
        raise Refused("must have a list of messages with at least one in it")
    messages = tuple(_message(turn, number) for number, turn in enumerate(value, 1))
    if all(message.role != "assistant" for message in messages):
        raise Refused("has no turn of the assistant, so there is nothing to learn")
    if messages[-1].role != "assistant":
        raise Refused(f"ends in a turn of the {messages[-1].role}, which nothing answers")
    return messages


def _message(value: object, number: int) -> Message:
    if not isinstance(value, dict):
        raise Refused(f"has as message {number} no object with role and content")
    fields = {key: part for key, part in value.items() if part is not None}
    if fields.keys() != {"role", "content"}:
        raise Refused(f"must have role and content in message {number}; has {_listed(fields)}")
    if fields["role"] not in ROLES:
        roles = f"{', '.join(ROLES[:-1])} or {ROLES[-1]}"
        raise Refused(f"must have the role {roles} in message {number}; has {fields['role']!r}")
    return Message(fields["role"], _text(fields["content"], f"content of message {number}"))


def _text(value: object, name: str) -> str:
    if not isinstance(value, str):
        raise Refused(f"must have text as {name}; has {type(value).__name__}")
    if not value.strip():
        raise Refused(f"has an empty {name}")
    if "\0" in value:
        raise Refused(f"has a NUL character in {name}")
    if any("\ud800" <= character <= "\udfff" for character in value):
        raise Refused(f"has half a surrogate pair in {name}, which is no character")
    return value


def _listed(fields: dict[str, object]) -> str:
    return ", ".join(repr(key) for key in fields) or "nothing"
