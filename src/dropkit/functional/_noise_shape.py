"""Which elements of a tensor share their fate."""

from collections.abc import Sequence

from dropkit.errors import OptionError

#: For each dimension of a tensor 1 where its elements share their fate; None, or its size, where
#: each has its own.
NoiseShape = Sequence[int | None]


def check_noise_shape(noise_shape: object) -> tuple[int | None, ...]:
    """`noise_shape` as a tuple; whether it fits a tensor is seen in `resolved`.

    Raises:
        OptionError: It is not a sequence of None and whole numbers from 1 on.
    """
    entries = tuple(noise_shape) if isinstance(noise_shape, Sequence) else None
    is_good = entries is not None and all(
        n is None or (isinstance(n, int) and not isinstance(n, bool) and n >= 1) for n in entries
    )
    if entries is None or not is_good:
        raise OptionError(
            "`noise_shape` must be a tuple with an entry for each dimension: 1 where its elements "
            f"are dropped together, else None; got {noise_shape!r}."
        )
    return entries


def resolved(noise_shape: NoiseShape, shape: Sequence[int]) -> tuple[int, ...]:
    """The shape of the noise for a tensor of this shape.

    Raises:
        OptionError: An entry is none of None, 1 and the dimension's size, or there are more or
            fewer entries than dimensions.
    """
    if len(noise_shape) != len(shape) or any(
        n is not None and n not in (1, size) for n, size in zip(noise_shape, shape, strict=True)
    ):
        raise OptionError(
            "`noise_shape` must have an entry for each dimension of `x`: 1 where its elements are "
            f"dropped together, else None; got {tuple(noise_shape)} "
            f"for a tensor of shape {tuple(shape)}."
        )
    # the tensor's own sizes, which a compiler may know as symbols only
    return tuple(
        size if n is None or n == size else 1 for n, size in zip(noise_shape, shape, strict=True)
    )
