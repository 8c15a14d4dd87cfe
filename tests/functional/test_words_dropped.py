"""Words are dropped from the table, from the text, or from the sequence."""

import itertools
import re
from collections import Counter
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - everybody's name for it
from scipy import stats
from torch import Tensor, nn

from dropkit import Address, effective_rate, masks_at
from dropkit.errors import DtypeError, OptionError, RateError, ShapeError
from dropkit.functional import dropout, embedding_dropout, patch_dropout, word_dropout
from dropkit.nn import EmbeddingDropout, PatchDropout, WordDropout

ADDRESS = Address.from_seed(5)
IDS = torch.tensor([[3, 0, 3, 9], [9, 9, 1, 3]])


def _table() -> Tensor:
    return (torch.rand(10, 4) + 1).requires_grad_()


@pytest.mark.parametrize("dtype", [torch.int32, torch.int64])
def test_rows_of_the_table(dtype: torch.dtype) -> None:
    """Looking up dropped rows is looking up rows of the dropped table, gradients too."""
    table, ids = _table(), IDS.to(dtype)
    whole = F.embedding(ids, dropout(table, 0.5, noise_shape=(None, 1), address=ADDRESS))
    found = embedding_dropout(ids, table, 0.5, address=ADDRESS)
    assert torch.equal(whole, found)
    assert {False, True} == set((found == 0).all(-1).flatten().tolist())
    expected = torch.autograd.grad(whole.square().sum(), table)
    torch.testing.assert_close(expected, torch.autograd.grad(found.square().sum(), table))


def test_no_copy_of_the_table() -> None:
    """A table too large to be copied is no hindrance."""
    table = torch.ones(1, 4).expand(1 << 40, 4)
    ids = torch.tensor([0, 1 << 39, 1 << 39, 7, 11, 12345])
    y = embedding_dropout(ids, table, 0.5, address=ADDRESS)
    assert torch.equal(y[1], y[2])
    rows = dropout(torch.ones(12346), 0.5, address=ADDRESS)
    assert torch.equal(rows[[0, 7, 11, 12345]], y[[0, 3, 4, 5], 0])


def test_dropped_rows_are_plus_zero() -> None:
    """Rows that are dropped are +0 whatever they were, and get no gradient."""
    table = torch.full((10, 4), torch.inf, requires_grad=True)
    y = embedding_dropout(IDS, table, 0.5, address=ADDRESS)
    assert {0.0, torch.inf} == set(y.flatten().tolist())
    y.backward(torch.ones_like(y))
    is_kept = dropout(torch.ones(10), 0.5, address=ADDRESS) != 0
    used = torch.zeros(10, dtype=torch.bool).index_fill(0, IDS.flatten(), value=True)
    assert (is_kept & used).tolist() == (table.grad != 0).any(1).tolist()
    all_dropped = embedding_dropout(IDS, table, 1.0)
    assert torch.equal(torch.zeros(2, 4, 4), all_dropped)


def test_options_of_embedding() -> None:
    """Sparse gradients, scaled gradients and padding are as without dropout."""
    for options in ({"sparse": True}, {"scale_grad_by_freq": True}, {"padding_idx": 3}):
        table, plain = _table(), _table()
        y = embedding_dropout(IDS, table, 0.5, address=ADDRESS, **options)
        y.sum().backward()
        mask = dropout(torch.ones(10), 0.5, address=ADDRESS)
        F.embedding(IDS, plain, **options).backward(mask[IDS].unsqueeze(-1).expand(2, 4, 4))
        assert plain.grad.layout == table.grad.layout
        torch.testing.assert_close(plain.grad.to_dense(), table.grad.to_dense())


def test_share_of_word_types(seed: int, false_alarm: float) -> None:
    """The share of word types that are kept is a binomial draw."""
    n = 1 << 18
    y = embedding_dropout(torch.arange(n), torch.ones(1, 1).expand(n, 1), 0.1)
    p_value = stats.binomtest(int(y.count_nonzero()), n, 1 - effective_rate(0.1)).pvalue
    assert p_value > false_alarm, f"p={p_value:.1e}; replay: DK_TEST_SEED={seed}"


def test_a_word_is_dropped_in_the_whole_batch() -> None:
    """Equal ids are dropped together wherever they stand, whatever `rows` says of examples."""
    layer = EmbeddingDropout(nn.Embedding(10, 4), 0.5)
    with masks_at(1, rows=[4, 2]):
        y = layer(IDS)
    with masks_at(1):
        assert torch.equal(y[1:], layer(IDS[1:]))
    for word in (3, 9):
        assert 1 == len(y[word == IDS].unique(dim=0))
    assert ["module.weight"] == list(layer.state_dict())


def test_no_words() -> None:
    """No ids, or a table of no width, give nothing."""
    assert (0, 4) == embedding_dropout(torch.empty(0, dtype=torch.int64), _table()).shape
    assert (2, 4, 0) == embedding_dropout(IDS, torch.empty(10, 0)).shape


def test_word_dropout_is_a_mask_over_words() -> None:
    """Where an ordinary mask drops, the unknown word stands; the rest is left."""
    is_dropped = dropout(torch.ones(2, 4), 0.5, address=ADDRESS) == 0
    found = word_dropout(IDS, 0.5, 77, address=ADDRESS)
    assert torch.equal(torch.where(is_dropped, 77, IDS), found)
    assert {False, True} == set(is_dropped.flatten().tolist())
    assert torch.equal(torch.full_like(IDS, 77), word_dropout(IDS, 1.0, 77))
    assert torch.int32 == word_dropout(IDS.int(), 0.5, 77).dtype
    assert word_dropout(IDS, 0.5, 77, training=False) is IDS


def test_words_to_keep() -> None:
    """Words that are to be kept are, and the others as without."""
    layer, without = WordDropout(0.7, 77, keep_ids=[3, 1]), WordDropout(0.7, 77)
    with masks_at(1):
        found = layer(IDS)
    with masks_at(1):
        expected = without(IDS)
    kept = (IDS == 3) | (IDS == 1)
    assert torch.equal(torch.where(kept, IDS, expected), found)
    assert "WordDropout(p=0.7, unk_id=77, keep_ids=(3, 1))" == repr(layer)
    assert "WordDropout(p=0.7, unk_id=77)" == repr(without)


def test_word_dropout_share(seed: int, false_alarm: float) -> None:
    """The share of words that are replaced is a binomial draw."""
    n = 1 << 18
    kept = int((word_dropout(torch.zeros(n, dtype=torch.int64), 0.2, 1) == 0).sum())
    p_value = stats.binomtest(kept, n, 1 - effective_rate(0.2)).pvalue
    assert p_value > false_alarm, f"p={p_value:.1e}; replay: DK_TEST_SEED={seed}"


@pytest.mark.parametrize("prefix", [0, 1, 3])
@pytest.mark.parametrize("ordered", [True, False])
def test_patches_are_tokens_of_the_input(prefix: int, ordered: bool) -> None:
    """Output and indices agree, the prefix is kept, and nothing is scaled."""
    x = torch.arange(4 * 12 * 2.0).reshape(4, 12, 2)
    y, kept = patch_dropout(x, 0.5, prefix, ordered, address=ADDRESS)
    n = (12 - prefix) // 2
    assert (4, prefix + n, 2) == y.shape
    assert kept is not None
    assert torch.equal(x[:, :prefix], y[:, :prefix])
    for example, ids, out in zip(x, kept, y, strict=True):
        assert n == len(set(ids.tolist()))
        assert torch.equal(example[prefix + ids], out[prefix:])
        assert not ordered or sorted(ids.tolist()) == ids.tolist()


@pytest.mark.parametrize(
    ("length", "prob", "n"),
    [(10, 0.1, 9), (10, 0.55, 4), (3, 0.9, 1), (5, 1.0, 1), (196, 0.25, 147)],
)
def test_how_many_patches(length: int, prob: float, n: int) -> None:
    """As many are kept as timm keeps: the kept share rounded down, but at least one."""
    y, _ = patch_dropout(torch.ones(2, 1 + length, 3), prob)
    assert (2, 1 + n, 3) == y.shape


@pytest.mark.parametrize("ordered", [True, False])
def test_every_choice_is_equally_likely(ordered: bool, seed: int, false_alarm: float) -> None:
    """Each choice, or each order of a choice, comes as often as chance allows."""
    x, n = torch.ones(24000, 4, 1), 24000
    _, kept = patch_dropout(x, 0.5, 0, ordered)
    assert kept is not None
    seen = Counter(map(tuple, kept.tolist()))
    choices = list((itertools.combinations if ordered else itertools.permutations)(range(4), 2))
    assert set(seen) <= set(choices)
    for choice in choices:
        p_value = stats.binomtest(seen[choice], n, 1 / len(choices)).pvalue
        assert p_value > false_alarm / len(choices), f"{choice} replay: DK_TEST_SEED={seed}"


def test_choices_check_can_fail(false_alarm: float) -> None:
    """The check sees a choice that comes a tenth more often than the others."""
    assert stats.binomtest(4400, 24000, 1 / 6).pvalue < false_alarm / 6


def test_patch_layer() -> None:
    """The layer gives the sequence, or the pair; in eval the input itself, and no indices."""
    x = torch.rand(2, 9, 3)
    layer = PatchDropout(0.25, ordered=True, return_indices=True)
    with masks_at(1):
        y, kept = layer(x)
    layer.return_indices = False
    with masks_at(1):
        assert torch.equal(y, layer(x))
    assert (2, 6) == kept.shape
    layer.eval().return_indices = True
    assert layer(x)[0] is x
    assert layer(x)[1] is None
    assert "PatchDropout(prob=0.25, num_prefix_tokens=1, ordered=True, return_indices=True)" == (
        repr(layer)
    )
    layer.prob = 0.5
    assert (0.5, 0.5) == (layer.p, layer.prob)


def test_gradient_of_patches() -> None:
    """Kept tokens get their gradient, left out ones none."""
    x = torch.rand(2, 5, 3, requires_grad=True)
    y, kept = patch_dropout(x, 0.5, 1, address=ADDRESS)
    y.sum().backward()
    assert kept is not None
    expected = torch.zeros(2, 5)
    expected[:, 0] = 1
    expected.scatter_(1, kept + 1, 1.0)
    assert torch.equal(expected.unsqueeze(-1).expand(2, 5, 3), x.grad)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: embedding_dropout(IDS, _table(), 1.5),
            RateError,
            "`p` must be a drop rate in [0, 1]; got 1.5.",
        ),
        (
            lambda: word_dropout(torch.ones(3), 0.5, 1),
            DtypeError,
            "`ids` must be a tensor of whole numbers; got float32.",
        ),
        (
            lambda: patch_dropout(torch.ones(2, 3, 4), 15),
            RateError,
            "`prob` must be a drop rate in [0, 1]; got 15. Did you mean 0.15?",
        ),
        (
            lambda: patch_dropout(torch.ones(3), 0.5),
            ShapeError,
            "`x` must have a dimension of examples and one of tokens; got shape (3,).",
        ),
        (
            lambda: PatchDropout(0.5, num_prefix_tokens=-1),
            OptionError,
            "`num_prefix_tokens` must be a whole number from 0 on; got -1.",
        ),
    ],
)
def test_arguments_are_checked(call: Any, error: type[Exception], message: str) -> None:
    """A wrong argument is refused in one sentence."""
    with pytest.raises(error, match="^" + re.escape(message) + "$"):
        call()
