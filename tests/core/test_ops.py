"""Dropout as operators that torch knows: schema, fake, functionalization, autograd."""

import pytest
import torch
from torch import Tensor

from dropkit import masks_at
from dropkit.core.ops import mask_tensor
from dropkit.core.rate import FROM_SITE
from dropkit.functional import dropout
from dropkit.nn import Dropout

DTYPES = [torch.float32, torch.float64, torch.bfloat16, torch.float16]
OP = torch.ops.dropkit.dropout
LAYER = Dropout(0.3)  # a site of a rate
MASK = mask_tensor(5, 2**64 - 6, 32768)


def _layouts(dtype: torch.dtype) -> list[Tensor]:
    base = torch.linspace(-1, 1, 48).to(dtype).reshape(2, 3, 2, 4)
    return [
        base,
        base.permute(3, 1, 0, 2),
        base[:, ::2],
        base.to(memory_format=torch.channels_last),
        base[:, :1].expand(2, 5, 2, 4),
        torch.ones(1, 1, 5, dtype=dtype).expand(3, 1, 5),
        base[0, 0, 0, 0],
        base[:0],
    ]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layout", range(8))
@pytest.mark.parametrize("has_grad", [False, True])
def test_opcheck(dtype: torch.dtype, layout: int, has_grad: bool) -> None:
    """The examination that torch has for operators passes for each dtype and layout."""
    x = _layouts(dtype)[layout].detach().requires_grad_(has_grad)
    torch.library.opcheck(OP, (x, MASK, True))


@pytest.mark.parametrize("dtype", DTYPES)
def test_opcheck_with_rows(dtype: torch.dtype) -> None:
    """It passes with the rows of examples, and unscaled, too."""
    x = torch.ones(2, 7, dtype=dtype, requires_grad=True)
    torch.library.opcheck(OP, (x, MASK, False, torch.tensor([9, 2])))


@pytest.mark.parametrize(
    ("op", "arguments"),
    [
        (torch.ops.dropkit.draw, (32768, None)),
        (torch.ops.dropkit.draw, (32768, torch.tensor(0))),
        (torch.ops.dropkit.draw, (FROM_SITE, LAYER._site_number)),
        (torch.ops.dropkit.draw_rows, (7,)),
        (torch.ops.dropkit.kept_share, (LAYER._site_number,)),
    ],
)
def test_opcheck_of_draws(op, arguments) -> None:
    """What draws is random by design: its schema and fake are examined."""
    torch.library.opcheck(op, arguments, test_utils=("test_schema", "test_faketensor"))
    assert torch.Tag.nondeterministic_seeded in op.default.tags


@pytest.mark.parametrize("layout", range(8))
def test_fake_has_the_real_layout(layout: int) -> None:
    """Shape, strides and dtype of the fake output are those of the real one."""
    x = _layouts(torch.float32)[layout]
    with torch._subclasses.FakeTensorMode() as mode:
        fake = OP(mode.from_tensor(x), mode.from_tensor(MASK), True)
    real = OP(x, MASK, True)
    assert (fake.shape, fake.stride(), fake.dtype) == (real.shape, real.stride(), real.dtype)


def test_draw_is_what_a_plain_call_draws() -> None:
    """The operators draw the bits of an eager call, ambient and named, with rows too."""
    torch.manual_seed(3)
    plain = dropout(torch.ones(6, 9), 0.5)
    torch.manual_seed(3)
    assert torch.equal(plain, OP(torch.ones(6, 9), torch.ops.dropkit.draw(32768, None), True))
    for rows in (None, 4, [5, 5, 1]):
        with masks_at(seed=1, rows=rows):
            plain = dropout(torch.ones(6, 9), 0.5)
        with masks_at(seed=1, rows=rows):
            mask = torch.ops.dropkit.draw(32768, None)
            indices = torch.ops.dropkit.draw_rows(6)
            assert torch.equal(plain, OP(torch.ones(6, 9), mask, True, indices))
