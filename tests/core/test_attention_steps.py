"""What the C core does to a tile of scores: the twin's results, the same bits by every way."""

import math

import pytest
import torch
from torch import Tensor

from dropkit.core import attention_steps
from dropkit.core.binding import LOADED, Loaded
from dropkit.core.place import TileMask

pytestmark = pytest.mark.skipif(LOADED.core is None, reason="there is no C core")
HEADS = torch.tensor([3, 2**62, 0])
COLUMNS = [1, 2, 7, 8, 15, 16, 17, 31, 64, 100, 1023, 1025, 2049]


def tile_mask(*, is_causal: bool = False, threshold: int = 20000, first_query: int = 4) -> TileMask:
    """Three heads of a matrix with room for every tile below."""
    return TileMask(HEADS, first_query, 50, 3000, is_causal, 5, 2**64 - 9, threshold)


def tile(columns: int) -> tuple[Tensor, Tensor, Tensor]:
    """Scores, gradients and means; some scores are hidden, and all of one row."""
    draws = torch.Generator().manual_seed(columns)
    scores, grads = (3 * torch.randn(3, 5, columns, generator=draws) for _ in range(2))
    scores[0, :, ::3] = -torch.inf
    scores[1, 2] = -torch.inf
    return scores, grads, torch.randn(3, 5, generator=draws)


def forward(scores: Tensor, mask: TileMask) -> list[Tensor]:
    """Dropped probabilities and the logs of the sums, into a part of a larger tensor."""
    scores, sums = scores.clone(), scores.new_zeros(3, 9)
    attention_steps.forward_step(scores, sums[:, 2:7], mask)
    return [scores, sums]


def both_steps(columns: int, mask: TileMask) -> list[Tensor]:
    """All that forward and backward write."""
    scores, grads, mean = tile(columns)
    dropped, sums = forward(scores, mask)
    attention_steps.backward_step(scores, grads, sums[:, 2:7], mean, mask)
    return [dropped, sums, scores, grads]


@pytest.mark.parametrize("is_causal", [False, True])
@pytest.mark.parametrize("threshold", [0, 1, 20000, 65536])
def test_core_is_the_twin(monkeypatch, is_causal, threshold) -> None:
    """To some roundings, and with zeros in the same places."""
    mask = tile_mask(is_causal=is_causal, threshold=threshold)
    found = {columns: both_steps(columns, mask) for columns in COLUMNS}
    monkeypatch.setattr(attention_steps, "LOADED", Loaded(None, "this is a test."))
    for columns in COLUMNS:
        for of_core, of_twin in zip(found[columns], both_steps(columns, mask), strict=True):
            torch.testing.assert_close(of_core, of_twin, rtol=2e-5, atol=2e-6)
        assert torch.equal(found[columns][0] == 0, both_steps(columns, mask)[0] == 0)


@pytest.mark.parametrize("is_causal", [False, True])
def test_instruction_sets_agree(bits, isa, is_causal) -> None:
    """Each gives the bits of the portable kernel."""
    core, before = LOADED.core, LOADED.core.isa
    mask, results = tile_mask(is_causal=is_causal), {}
    try:
        for name in (isa, "portable"):
            core.force(name)
            results[name] = [bits(x) for columns in COLUMNS for x in both_steps(columns, mask)]
    finally:
        core.force(before)
    assert results["portable"] == results[isa]


@pytest.mark.usefixtures("two_threads")
@pytest.mark.parametrize("is_causal", [False, True])
def test_threads_agree(is_causal) -> None:
    """However many there are, and whosever they are, the bits are the same."""
    scores, grads, mean = torch.randn(3, 128, 1000), torch.randn(3, 128, 1000), torch.randn(3, 128)
    mask, results = tile_mask(is_causal=is_causal), []
    for has_team in (False, True):
        if not has_team:
            LOADED.core.use_team(None)
        for threads in (1, 2, 3, 7):
            torch.set_num_threads(threads)
            x, y, sums = scores.clone(), grads.clone(), scores.new_empty(3, 128)
            attention_steps.forward_step(x, sums, mask)
            attention_steps.backward_step(x, y, sums, mean, mask)
            results.append([x, y, sums])
        LOADED.core.use_team(LOADED.core.torchs_team)
    for others in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], others, strict=True))


def test_exponential_is_within_one_ulp(isa) -> None:
    """Over all of the range in which it is not 0, against float64."""
    core, before = LOADED.core, LOADED.core.isa
    x = -torch.logspace(-9, math.log10(87.3), 1 << 20, dtype=torch.float64).float()
    exact = x.double().exp()
    # one row a number: it and a 0, whose softmax is exp(x) and 1 over their sum
    ulp = torch.nextafter(exact.float(), torch.tensor(torch.inf)).double() - exact.float().double()
    mask = TileMask(torch.zeros(1, dtype=torch.int64), 0, len(x), 1, False, 0, 0, 0)
    grads = torch.ones(1, len(x), 1)
    scores = x.view(1, -1, 1).clone()
    try:
        core.force(isa)
        zeros = torch.zeros(1, len(x))
        attention_steps.backward_step(scores, grads, zeros, zeros, mask)
    finally:
        core.force(before)
    assert float(((scores.flatten().double() - exact).abs() / ulp).max()) < 1.0


@pytest.mark.parametrize("x", [-87.4, -1000.0, -torch.inf])
def test_exponential_below_the_normal_numbers_is_zero(x) -> None:
    """No denormal number slows what follows."""
    scores = torch.tensor([[[0.0, x] * 20]])
    mask = TileMask(HEADS[:1], 0, 50, 3000, False, 0, 0, 0)
    attention_steps.forward_step(scores, torch.empty(1, 1), mask)
    assert torch.equal(torch.tensor([[[0.05, 0.0] * 20]]), scores)


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_bad_scores_spoil_their_row(bad) -> None:
    """A nan or +inf among the scores makes nan of the whole row, and of no other."""
    for columns in COLUMNS:
        for at in {0, columns // 2, columns - 1}:
            scores = torch.zeros(3, 5, columns)
            scores[1, 3, at] = bad
            out, sums = forward(scores, tile_mask(threshold=0))
            is_bad = torch.zeros(3, 5, dtype=torch.bool)
            is_bad[1, 3] = True
            assert torch.equal(is_bad.unsqueeze(2).expand_as(out), out.isnan())
            assert torch.equal(is_bad, sums[:, 2:7].isnan())


# torch's own loops over large tensors would wait for its lost threads: the child has none of those.
FORKED = """
import os
import torch
from dropkit.core import attention_steps
from dropkit.core.place import TileMask

torch.set_num_threads(4)
mask = TileMask(torch.zeros(4, dtype=torch.int64), 0, 512, 512, False, 0, 0, 9)
tiles = [(torch.ones(4, 512, 512), torch.empty(4, 512)) for _ in range(2)]
attention_steps.forward_step(*tiles[0], mask)
child = os.fork()
if child == 0:
    attention_steps.forward_step(*tiles[1], mask)
    os._exit(0 if bytes(tiles[0][0].numpy()) == bytes(tiles[1][0].numpy()) else 1)
print(os.waitpid(child, 0)[1])
"""


@pytest.mark.filterwarnings("ignore")
def test_forked_child(run_python) -> None:
    """A child has none of torch's threads, and does not wait for them."""
    done = run_python(FORKED)
    assert (0, "0\n") == (done.returncode, done.stdout), done.stderr
