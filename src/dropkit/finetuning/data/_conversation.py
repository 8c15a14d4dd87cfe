"""What is read: conversations for language models, labelled texts for classifiers."""

from dataclasses import dataclass

#: Who may speak. Other names, such as ``human`` or ``tool``, are refused, not translated.
ROLES = ("system", "user", "assistant")


@dataclass(frozen=True)
class Message:
    """One turn.

    Attributes:
        role: ``"system"``, ``"user"`` or ``"assistant"``.
        content: Its text, to the letter as it was read.
    """

    role: str
    content: str


@dataclass(frozen=True)
class Conversation:
    """One conversation: what a language model learns from, and what a split keeps whole.

    Attributes:
        id: Unique among what was read together; `where`, unless the file gives one.
        messages: At least one, the last one the assistant's.
        where: The file and the line, or row, that it begins at, from 1: ``chats.jsonl:12``.
    """

    id: str
    messages: tuple[Message, ...]
    where: str


@dataclass(frozen=True)
class LabelledText:
    """One text with its class.

    Attributes:
        id: Unique among what was read together; `where`, unless the file gives one.
        text: To the letter as it was read.
        label: The name of its class.
        where: The file and the line, or row, that it begins at, from 1: ``texts.csv:12``.
    """

    id: str
    text: str
    label: str
    where: str
