"""The demo's data, and a user's own."""

import re
from collections import Counter
from pathlib import Path

import pytest

from dropkit.demo.questions import chatbot_questions, read_csv
from dropkit.errors import DataError


def test_chatbot_questions_are_the_documented_ones() -> None:
    """663 unique questions in 11 topics of at least 15."""
    questions = chatbot_questions()
    counts = Counter(questions.labels)
    assert (663, 663, 11) == (len(questions.texts), len(set(questions.texts)), len(counts))
    assert min(counts.values()) >= 15
    assert "tech_support" not in counts


def write(folder: Path, content: str | bytes) -> Path:
    """A file of the user's."""
    path = folder / "messages.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def rows(**counts: int) -> str:
    """So many different texts a label."""
    lines = ["text,label"]
    lines += [f"{label} text {k},{label}" for label, count in counts.items() for k in range(count)]
    return "\n".join(lines)


def test_csv_is_read(tmp_path: Path) -> None:
    """Texts are folded and lower-cased, each counts once, other columns are left alone."""
    content = 'id,label,text\n1,a,"Hello,  World"\n2,a,hello, world\n'
    content += "".join(f"{k},{'ab'[k % 2]},text {k}\n" for k in range(20))
    content = content.replace("2,a,hello, world\n", '2,a,"hello, world"\n')
    questions = read_csv(write(tmp_path, content))
    assert questions.texts[0] == "hello, world"
    assert (21, ("a", "b")) == (len(questions.texts), questions.topics)


def test_csv_of_excel_is_read(tmp_path: Path) -> None:
    """A byte-order mark and Windows line ends are no part of the data."""
    content = "\ufeff" + rows(a=4, b=4).replace("\n", "\r\n")
    assert ("a", "b") == read_csv(write(tmp_path, content)).topics


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "`{}` must have the columns text and label; got an empty file."),
        ("a,b\n1,2\n", "`{}` must have the columns text and label; got a, b."),
        ("text,label\nhi,\n", "`{}` line 2 has no label. Fill it in or remove it."),
        ("text,label\nx,a\n   ,b\n", "`{}` line 3 has no text. Fill it in or remove it."),
        (
            "text,label\nHi,a\nhi,b\n",
            "`{}` line 3 has the text of line 2 under another label: 'b' and 'a'. "
            "Keep one of them.",
        ),
        (
            rows(a=9, b=3),
            "`{}` must have at least 4 different texts a label; 'b' has 3. "
            "Add texts, or join it with another label.",
        ),
        (rows(a=9), "`{}` must have at least two labels; got 1."),
        (
            b"text,label\n\xff\xfe,a\n",
            "`{}` cannot be read as a UTF-8 CSV file: 'utf-8' codec can't decode byte 0xff in "
            "position 11: invalid start byte.",
        ),
    ],
)
def test_bad_csv_is_refused(tmp_path: Path, content, message) -> None:
    """What is wrong, and in which line."""
    path = write(tmp_path, content)
    with pytest.raises(DataError, match="^" + re.escape(message.format(path)) + "$"):
        read_csv(path)


def test_missing_csv_is_refused(tmp_path: Path) -> None:
    """A file that is not there is named."""
    path = tmp_path / "none.csv"
    with pytest.raises(DataError, match="^" + re.escape(f"`{path}` does not exist.") + "$"):
        read_csv(path)
