"""Labelled texts: the questions that come with the demo, or a user's own CSV file."""

import csv
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from dropkit.errors import DataError, MissingExtraError

_PACKAGE = "chatterbot-corpus"
_FOLDER = "chatterbot_corpus/data/english"
# tech_support.yml is ten pairs repeated a hundred times: copies of one text would stand on both
# sides of the split.
_LEFT_OUT = ("tech_support",)
_FEWEST = 15  # questions a topic

#: A label needs this many texts to stand on both sides of a split.
FEWEST_A_LABEL = 4


@dataclass(frozen=True)
class Questions:
    """Labelled texts.

    Attributes:
        name: Where they are from.
        texts: One a line, unique.
        labels: The topic of each.
    """

    name: str
    texts: tuple[str, ...]
    labels: tuple[str, ...]

    @property
    def topics(self) -> tuple[str, ...]:
        """The labels there are, sorted."""
        return tuple(sorted(set(self.labels)))


def chatbot_questions() -> Questions:
    """What people say first to a chatbot, by topic: 663 English questions in 11 topics.

    From the package chatterbot-corpus (BSD-3): the first line of each conversation, lower-cased,
    each text once, topics with at least 15 of them, without ``tech_support``.

    Raises:
        MissingExtraError: The package or PyYAML is not installed.
    """
    try:
        import yaml  # noqa: PLC0415 - belongs to an extra

        package = distribution(_PACKAGE)
    except (ImportError, PackageNotFoundError) as error:
        message = f"the demo's questions need {_PACKAGE} and pyyaml: pip install 'dropkit[demo]'."
        raise MissingExtraError(message) from error
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    topic_of: dict[str, str] = {}
    for path in sorted(Path(str(package.locate_file(_FOLDER))).glob("*.yml")):
        if path.stem in _LEFT_OUT:
            continue
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=loader)  # noqa: S506 - a safe one, in C if there is
        for conversation in content["conversations"]:
            topic_of.setdefault(_normalized(str(conversation[0])), path.stem)
    return _questions(f"{_PACKAGE} {package.version}", topic_of.items(), fewest=_FEWEST)


def read_csv(path: Path) -> Questions:
    """Read a CSV file with the columns ``text`` and ``label``; each text counts once.

    Args:
        path: UTF-8, with a header line. Texts are lower-cased, their white space folded.

    Raises:
        DataError: The file cannot be read as that: the message names the line.
    """
    topic_of: dict[str, str] = {}
    line_of: dict[str, int] = {}
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, strict=True)
            missing = {"text", "label"} - set(reader.fieldnames or ())
            if missing:
                got = ", ".join(reader.fieldnames or ()) or "an empty file"
                raise DataError(f"`{path}` must have the columns text and label; got {got}.")
            for row in reader:
                text, label = _normalized(row["text"] or ""), " ".join((row["label"] or "").split())
                line = reader.line_num
                if not text or not label:
                    what = "text" if not text else "label"
                    raise DataError(f"`{path}` line {line} has no {what}. Fill it in or remove it.")
                if topic_of.setdefault(text, label) != label:
                    raise DataError(
                        f"`{path}` line {line} has the text of line {line_of[text]} under another "
                        f"label: {label!r} and {topic_of[text]!r}. Keep one of them."
                    )
                line_of.setdefault(text, line)
    except FileNotFoundError as error:
        raise DataError(f"`{path}` does not exist.") from error
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"`{path}` cannot be read as a UTF-8 CSV file: {error}.") from error
    counts = Counter(topic_of.values())
    few = sorted(label for label, count in counts.items() if count < FEWEST_A_LABEL)
    if few:
        raise DataError(
            f"`{path}` must have at least {FEWEST_A_LABEL} different texts a label; "
            f"{few[0]!r} has {counts[few[0]]}. Add texts, or join it with another label."
        )
    if len(counts) < 2:
        raise DataError(f"`{path}` must have at least two labels; got {len(counts)}.")
    return _questions(path.name, topic_of.items(), fewest=1)


def _normalized(text: str) -> str:
    return " ".join(text.lower().split())


def _questions(name: str, topic_of: Iterable[tuple[str, str]], *, fewest: int) -> Questions:
    pairs = list(topic_of)
    counts = Counter(topic for _, topic in pairs)
    kept = [(text, topic) for text, topic in pairs if counts[topic] >= fewest]
    return Questions(name, tuple(t for t, _ in kept), tuple(topic for _, topic in kept))
