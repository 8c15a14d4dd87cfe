"""Conversations and labelled texts from files: what is read, and what is refused."""

import json
import re
from pathlib import Path

import pytest

from dropkit.errors import DataError
from dropkit.finetuning.data import (
    Conversation,
    LabelledText,
    Message,
    read_conversations,
    read_labelled,
)

ASKED, SAID = Message("user", "Where?"), Message("assistant", "Here.")
CHAT = '{"messages": [{"role": "user", "content": "Where?"}, {"role": "assistant", "content": "Here."}]}'
FORMS = "messages, prompt and completion, question and answer, or instruction and output"


def write(folder: Path, name: str, content: str | bytes) -> Path:
    """A file of the user's."""
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def chat(*turns: tuple[str, object], **more: object) -> str:
    """A line of JSON."""
    messages = [{"role": role, "content": content} for role, content in turns]
    return json.dumps({"messages": messages, **more})


@pytest.mark.parametrize(
    "line",
    [
        CHAT,
        '{"prompt": "Where?", "completion": "Here."}',
        '{"question": "Where?", "answer": "Here.", "topic": "places"}',
        '{"instruction": "Where?", "output": "Here.", "input": ""}',
        '{"messages": null, "prompt": "Where?", "completion": "Here."}',
    ],
)
def test_each_form_is_read(tmp_path: Path, line) -> None:
    """Chats and pairs become the same conversation, named by its place."""
    path = write(tmp_path, "chats.jsonl", f"\n{line}\n")
    assert read_conversations(path) == [
        Conversation("chats.jsonl:2", (ASKED, SAID), "chats.jsonl:2")
    ]


def test_texts_are_left_to_the_letter(tmp_path: Path) -> None:
    """White space and every script stay as they are; the ids of the file are taken."""
    turns = [("system", " Be brief.\n"), ("user", "¿Dónde? 😀"), ("assistant", "\tここ \n")]
    path = write(tmp_path, "chats.jsonl", chat(*turns, id=7))
    [read] = read_conversations(path)
    assert (read.id, read.messages) == ("7", tuple(Message(*turn) for turn in turns))


def test_input_of_alpaca_is_kept(tmp_path: Path) -> None:
    """It is a part of the question."""
    line = '{"instruction": "Translate.", "input": "Brot", "output": "bread"}'
    [read] = read_conversations(write(tmp_path, "chats.jsonl", line))
    assert read.messages[0].content == "Translate.\n\nBrot"


def test_csv_is_read(tmp_path: Path) -> None:
    """Cells may span lines; a conversation is named by its first one; Excel's marks are no data."""
    content = '\ufeffid,question,answer\r\na,"Where,\r\nthen?",Here.\r\n\r\nb,When?,Now.\r\n'
    first, second = read_conversations(write(tmp_path, "faq.csv", content))
    assert ("a", "faq.csv:2", "Where,\r\nthen?") == (
        first.id,
        first.where,
        first.messages[0].content,
    )
    assert ("b", "faq.csv:5", "Now.") == (second.id, second.where, second.messages[1].content)


def test_content_decides_what_a_file_is(tmp_path: Path) -> None:
    """Not its name."""
    lines = write(tmp_path, "chats.csv", CHAT)
    table = write(tmp_path, "faq.txt", "prompt,completion\nWhere?,Here.\n")
    assert [(ASKED, SAID)] * 2 == [read_conversations(path)[0].messages for path in (lines, table)]


BAD_LINES = [
    (b'{"messages": [', "is not JSON: Expecting value at column 15"),
    (b"[1]", "is not a JSON object"),
    (b"[" * 100_000, "is nested too deep"),
    (b'{"id": ' + b"1" * 5000 + b"}", "has an integer of too many digits"),
    (b"nonsense", "is not JSON: Expecting value at column 1"),
    (b'{"prompt": "\xff", "completion": "x"}', "is not UTF-8: byte 0xff"),
    (b'{"prompt": "\0", "completion": "x"}', "holds NUL bytes"),
    (
        "\ufeff{}".encode(),
        "begins with a byte-order mark, which only a file's first line may",
    ),
    (b'{"prompt": "x", "prompt": "y", "completion": "z"}', "has the key 'prompt' twice"),
    (b'{"prompt": "x"}', f"must have {FORMS}; has 'prompt'"),
    (b"{}", f"must have {FORMS}; has nothing"),
    (
        b'{"prompt": "x", "completion": "y", "answer": "z"}',
        f"must have {FORMS}; has 'prompt', 'completion', 'answer'",
    ),
    (b'{"prompt": 3, "completion": "y"}', "must have text as prompt; has int"),
    (b'{"prompt": "x", "completion": " "}', "has an empty completion"),
    (b'{"prompt": "\\u0000", "completion": "x"}', "has a NUL character in prompt"),
    (
        b'{"prompt": "\\ud83d", "completion": "x"}',
        "has half a surrogate pair in prompt, which is no character",
    ),
    (
        b'{"messages": []}',
        "must have a list of messages with at least one in it",
    ),
    (b'{"messages": "hi"}', "must have a list of messages with at least one in it"),
    (b'{"messages": ["hi"]}', "has as message 1 no object with role and content"),
    (
        b'{"messages": [{"from": "human", "value": "hi"}]}',
        "must have role and content in message 1; has 'from', 'value'",
    ),
    (
        b'{"messages": [{"role": "user", "content": "x", "tool_calls": []}]}',
        "must have role and content in message 1; has 'role', 'content', 'tool_calls'",
    ),
    (
        chat(("user", "x"), ("bot", "y")).encode(),
        "must have the role system, user or assistant in message 2; has 'bot'",
    ),
    (chat(("user", ""), ("assistant", "y")).encode(), "has an empty content of message 1"),
    (chat(("user", ["x"])).encode(), "must have text as content of message 1; has list"),
    (
        chat(("user", "x")).encode(),
        "has no turn of the assistant, so there is nothing to learn",
    ),
    (
        chat(("user", "x"), ("assistant", "y"), ("user", "z")).encode(),
        "ends in a turn of the user, which nothing answers",
    ),
    (
        chat(("user", "x"), ("assistant", "y"), id=1.5).encode(),
        "has an id that is neither text nor an integer: 1.5",
    ),
    (
        chat(("user", "x"), ("assistant", "y"), id="one").encode(),
        "has the id 'one', which chats.jsonl:1 has",
    ),
]


@pytest.mark.parametrize(("line", "reason"), BAD_LINES, ids=range(len(BAD_LINES)))
def test_bad_lines_are_refused(tmp_path: Path, line, reason) -> None:
    """With the number, the reason and what stands there, whole."""
    good = chat(("user", "x"), ("assistant", "y"), id="one").encode()
    path = write(tmp_path, "chats.jsonl", good + b"\n\n" + line + b"\n")
    shown = line.decode(errors="replace")
    quote = repr(shown if len(shown) <= 40 else f"{shown[:40]}...")
    message = f"`{path}` has 1 bad line of 2; none was taken. chats.jsonl:3 {reason}: {quote}."
    with pytest.raises(DataError, match="^" + re.escape(message) + "$"):
        read_conversations(path)


def test_all_bad_lines_are_told(tmp_path: Path) -> None:
    """Five with their reason, the others with their number."""
    path = write(tmp_path, "c.jsonl", "\n".join([CHAT] + ["x", "{}"] * 30 + [CHAT]))
    numbers = ", ".join(f"c.jsonl:{k}" for k in range(7, 57))
    json_, keys = "is not JSON: Expecting value at column 1", f"must have {FORMS}; has nothing"
    message = (
        f"`{path}` has 60 bad lines of 62; none was taken. c.jsonl:2 {json_}: 'x'. "
        f"c.jsonl:3 {keys}: '{{}}'. c.jsonl:4 {json_}: 'x'. c.jsonl:5 {keys}: '{{}}'. "
        f"c.jsonl:6 {json_}: 'x'. Bad too: {numbers} and 5 more."
    )
    with pytest.raises(DataError, match="^" + re.escape(message) + "$"):
        read_conversations(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "`{}` is empty: there is nothing to learn from."),
        ("\n \n", "`{}` is empty: there is nothing to learn from."),
        ("question,answer\n", "`{}` is empty: there is nothing to learn from."),
        (
            "[" + CHAT + "]",
            "`{}` must hold one JSON object a line; got one array. Write a line for each element, "
            "as `jq -c '.[]'` does.",
        ),
        (CHAT.encode("utf-16"), "`{}` must be UTF-8; got UTF-16. Save it as UTF-8."),
        (CHAT.encode("utf-32"), "`{}` must be UTF-8; got UTF-32. Save it as UTF-8."),
        (
            "question;answer\na;b\nc;d\n",
            "`{}` has 2 bad lines of 2; none was taken. "
            f"Each must have {FORMS}; has 'question;answer'; the first, data:2: 'a;b'.",
        ),
        (
            "question,answer\na,b,c\nd,\ne\nf,g\n",
            "`{}` has 3 bad lines of 4; none was taken. data:2 has 3 cells for 2 columns: 'a,b,c'. "
            "data:3 has an empty answer: 'd,'. data:4 has 1 cell for 2 columns: 'e'.",
        ),
        (
            'question,answer\na,b\n"c,d\ne,f\n',
            "`{}` has 1 bad line of 2; none was taken. data:3 is not CSV: unexpected end of data; "
            "nothing after it was looked at: '\"c,d'.",
        ),
        ("a,b,a\n1,2,3\n", "`{}` must name each column once; got 'a' twice."),
        (
            b"question,answer\na,\xe4\nb,\0\n",
            "`{}` has 2 bad lines of 3; none was taken. data:2 is not UTF-8: byte 0xe4: 'a,\ufffd'. "
            "data:3 holds NUL bytes: 'b,\\x00'.",
        ),
    ],
)
def test_bad_files_are_refused(tmp_path: Path, content, message) -> None:
    """Each in one sentence that says what to do."""
    path = write(tmp_path, "data", content)
    with pytest.raises(DataError, match="^" + re.escape(message.format(path)) + "$"):
        read_conversations(path)


def test_missing_file_is_refused(tmp_path: Path) -> None:
    """By its name."""
    path = tmp_path / "none.jsonl"
    with pytest.raises(DataError, match="^" + re.escape(f"`{path}` does not exist.") + "$"):
        read_conversations(path)


def test_unreadable_file_is_refused(tmp_path: Path) -> None:
    """With what the system says of it."""
    path = write(tmp_path, "file", CHAT) / "chats.jsonl"
    message = f"`{path}` cannot be read: Not a directory."
    with pytest.raises(DataError, match="^" + re.escape(message) + "$"):
        read_conversations(path)


def test_labelled_texts_are_read(tmp_path: Path) -> None:
    """From lines and tables, with labels that are names or numbers."""
    lines = write(
        tmp_path, "t.jsonl", '{"text": " Hi", "label": "a", "id": "x"}\n{"text": "b", "label": 1}'
    )
    table = write(tmp_path, "t.csv", "label,text\na, Hi\n")
    assert [
        LabelledText("x", " Hi", "a", "t.jsonl:1"),
        LabelledText("t.jsonl:2", "b", "1", "t.jsonl:2"),
    ] == (read_labelled(lines))
    assert [LabelledText("t.csv:2", " Hi", "a", "t.csv:2")] == read_labelled(table)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('{"text": "x"}', "must have text and label; has 'text'"),
        ('{"text": "", "label": "a"}', "has an empty text"),
        ('{"text": "x", "label": true}', "must have text as label; has bool"),
        ('{"text": "x", "label": " "}', "has an empty label"),
    ],
)
def test_bad_labelled_lines_are_refused(tmp_path: Path, line, reason) -> None:
    """As those of conversations are."""
    path = write(tmp_path, "t.jsonl", line)
    message = f"`{path}` has 1 bad line of 1; none was taken. t.jsonl:1 {reason}: {line!r}."
    with pytest.raises(DataError, match="^" + re.escape(message) + "$"):
        read_labelled(path)
