"""What is learned from and what is held out, without a copy of one in the other."""

import hashlib
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Generic, TypeVar

from dropkit.errors import DataError, OptionError
from dropkit.finetuning.data._conversation import Conversation, LabelledText

Item = TypeVar("Item", bound=Conversation | LabelledText)

_NO_LETTERS = re.compile(r"[\W_]+")


@dataclass(frozen=True)
class SplitReport:
    """What a split did, in numbers of conversations (or labelled texts) unless said otherwise.

    Attributes:
        n_train: Learned from.
        n_held_out: Held out.
        n_exact_copies: Equal to an earlier one to the letter.
        n_near_copies: Equal to an earlier one but for case, white space and punctuation, not to the
            letter.
        n_copied: Different conversations, counted in sets of copies, that stand there more than
            once. Each set lies on one side.
        n_split_copies: Held out, with a copy in the training part: 0 after `split`, which keeps
            them together.
        n_questions_answered_twice: First questions with more than one answer to them.
        n_held_out_questions_seen: Held out, with a first question that the training part has with
            another answer. They are not moved: two people who begin with "hi" are no copies.
    """

    n_train: int
    n_held_out: int
    n_exact_copies: int
    n_near_copies: int
    n_copied: int
    n_split_copies: int
    n_questions_answered_twice: int
    n_held_out_questions_seen: int

    def to_dict(self) -> dict[str, int]:
        """As JSON can write it."""
        return asdict(self)


@dataclass(frozen=True)
class Split(Generic[Item]):
    """Two parts of one set of conversations or labelled texts, each in the order it was read.

    Attributes:
        train: To learn from.
        held_out: To measure with.
        report: Copies that were found, and where they went.
    """

    train: tuple[Item, ...]
    held_out: tuple[Item, ...]
    report: SplitReport


def split(items: Sequence[Item], held_out: float = 0.2, seed: int = 0) -> Split[Item]:
    """Split by conversation, with all copies of one on the same side.

    Copies are equal after case, white space and punctuation are folded (NFKC). Whether one is held
    out depends on its text and the seed alone: the order of the file does not matter, and most stay
    where they are when others are added. Labelled texts are split label by label.

    Args:
        items: At least two that are no copies of each other.
        held_out: Share in (0, 1) to hold out, met as closely as sets of copies allow; at least one
            on each side.
        seed: Draws another split.

    Raises:
        OptionError: `held_out` is outside its range.
        DataError: All are copies of one.
    """
    if not 0.0 < held_out < 1.0:
        raise OptionError(f"`held_out` must be a share in (0, 1); got {held_out!r}.")
    keys = [_folded_whole(item) for item in items]
    if len(set(keys)) < 2:
        raise DataError(
            "a split needs at least 2 conversations that are no copies of each other; got "
            f"{len(set(keys))} among {len(items)}."
        )
    strata: dict[str, list[str]] = defaultdict(list)
    for item, key in zip(items, keys, strict=True):
        strata[item.label if isinstance(item, LabelledText) else ""].append(key)
    chosen: set[str] = set()
    for stratum in strata.values():
        chosen |= _drawn(Counter(stratum), held_out, seed)
    if not chosen:  # too few of them, or the sets of copies are too large
        sizes = Counter(keys)
        chosen = {min(sizes, key=lambda key: (sizes[key], _place(key, seed)))}
    train: list[Item] = []
    rest: list[Item] = []
    for item, key in zip(items, keys, strict=True):
        (rest if key in chosen else train).append(item)
    return Split(tuple(train), tuple(rest), split_report(train, rest))


def _drawn(sizes: Counter[str], share: float, seed: int) -> set[str]:
    """Keys whose sizes add up to the share of the whole, or to less where copies do not fit."""
    target = round(share * sizes.total())
    chosen, n = set(), 0
    order = sorted(sizes, key=lambda key: _place(key, seed))
    for key in order[:-1]:  # the last one stays: there is always something to learn from
        if n + sizes[key] <= target:
            chosen.add(key)
            n += sizes[key]
    return chosen


def _place(key: str, seed: int) -> bytes:
    return hashlib.blake2b(f"{seed}\n{key}".encode(errors="surrogatepass"), digest_size=16).digest()


def split_report(train: Sequence[Item], held_out: Sequence[Item]) -> SplitReport:
    """What two parts have in common, whoever split them.

    Args:
        train: To learn from.
        held_out: To measure with; copies of what is learned from are counted, not removed.
    """
    items = [*train, *held_out]
    exact = Counter(_whole(item) for item in items)
    near = Counter(_folded_whole(item) for item in items)
    learned = {_folded_whole(item) for item in train}
    answers: dict[str, set[str]] = defaultdict(set)
    for item in items:
        answers[_question(item)].add(_folded_whole(item))
    asked = {_question(item) for item in train}
    return SplitReport(
        n_train=len(train),
        n_held_out=len(held_out),
        n_exact_copies=len(items) - len(exact),
        n_near_copies=len(exact) - len(near),
        n_copied=sum(count > 1 for count in near.values()),
        n_split_copies=sum(_folded_whole(item) in learned for item in held_out),
        n_questions_answered_twice=sum(len(different) > 1 for different in answers.values()),
        n_held_out_questions_seen=sum(_question(item) in asked for item in held_out),
    )


def _whole(item: Conversation | LabelledText) -> str:
    if isinstance(item, LabelledText):
        return item.text
    return "\n".join(f"{message.role}: {message.content}" for message in item.messages)


def _folded_whole(item: Conversation | LabelledText) -> str:
    if isinstance(item, LabelledText):
        return _folded(item.text)
    return "\n".join(f"{message.role}: {_folded(message.content)}" for message in item.messages)


def _question(item: Conversation | LabelledText) -> str:
    """The first turn of the user; of a conversation without one, its first turn."""
    if isinstance(item, LabelledText):
        return _folded(item.text)
    asked = (message for message in item.messages if message.role == "user")
    return _folded(next(asked, item.messages[0]).content)


def _folded(text: str) -> str:
    """The letters and digits of `text`; of a text without any, such as ":)", the text itself."""
    plain = unicodedata.normalize("NFKC", text).casefold()
    return _NO_LETTERS.sub(" ", plain).strip() or " ".join(plain.split())
