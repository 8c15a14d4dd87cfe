"""What a model knows besides: its loss on general text, before and after."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dropkit.errors import DataError
from dropkit.finetuning.data import Encoded

#: Tokens of general text that are read, in pieces of so many.
N_PIECES, PIECE = 16, 128


@dataclass(frozen=True)
class General:
    """Pieces of a text on other things.

    Attributes:
        pieces: Each with a loss on every token.
    """

    pieces: Sequence[Encoded]


def read_general(path: str, tokenizer: Any) -> General | None:
    """The text at `path` as tokens, spread over its length; None without a path.

    Raises:
        DataError: It cannot be read, or is too short for one piece.
    """
    if not path:
        return None
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"the general text {path!r} cannot be read: {error}.") from error
    ids = list(tokenizer(text[: 1 << 20], add_special_tokens=False, verbose=False)["input_ids"])
    n_whole = len(ids) // PIECE
    if n_whole < 1:
        raise DataError(
            f"the general text {path!r} must have at least {PIECE} tokens; got {len(ids)}."
        )
    chosen = range(0, n_whole, max(1, n_whole // N_PIECES))
    pieces = [ids[k * PIECE : (k + 1) * PIECE] for k in chosen][:N_PIECES]
    return General([Encoded(f"general {k}", piece, piece) for k, piece in enumerate(pieces)])
