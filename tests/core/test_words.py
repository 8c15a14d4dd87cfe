"""A word of 32 bits for each element, from the halfwords of the mask core."""

import pytest
import torch

from dropkit.core import ops, reference
from dropkit.core.words import drawn_words

ADDRESS = (0x0123456789ABCDEF, 0xFEDCBA9876543210)
MASK = ops.mask_tensor(*ADDRESS, 1)


def _by_hand(indices: list[int]) -> list[int]:
    words = []
    for i in indices:
        low, high = reference.halfwords(*ADDRESS, 2 * i, 2).tolist()
        words.append(low | high << 16)
    return words


@pytest.mark.parametrize("n", [0, 1, 3, 4, 5, 8, 33])
def test_words_are_pairs_of_halfwords(n: int) -> None:
    """Word `i` is halfword 2i and, above it, halfword 2i + 1, as the slow twin has them."""
    words = drawn_words(MASK, (n,), MASK, None)
    assert _by_hand(list(range(n))) == words.tolist()
    assert torch.int64 == words.dtype


def test_rows() -> None:
    """A row is cut from where its index says."""
    rows = torch.tensor([7, 0, 1 << 40])
    words = drawn_words(MASK, (3, 2, 5), MASK, rows)
    expected = [_by_hand([row * 10 + c for c in range(10)]) for row in rows.tolist()]
    assert expected == words.flatten(1).tolist()


def test_pieces_join(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many are drawn at once, the words are the same."""
    whole = drawn_words(MASK, (6, 7), MASK, None), drawn_words(MASK, (6, 7), MASK, torch.arange(6))
    for at_once in (1, 5, 14, 100):
        monkeypatch.setattr("dropkit.core.words._AT_ONCE", at_once)
        for words, rows in zip(whole, (None, torch.arange(6)), strict=True):
            if rows is None or at_once >= 7:
                assert torch.equal(words, drawn_words(MASK, (6, 7), MASK, rows))


def test_operator() -> None:
    """Torch's own checks of an operator pass."""
    for rows in (None, torch.arange(4)):
        arguments = (MASK, [4, 3], torch.device("cpu"), rows)
        torch.library.opcheck(torch.ops.dropkit.words.default, arguments)
