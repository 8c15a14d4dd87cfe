"""Batches of like length: every example once, the same order again, little padding."""

import random

from dropkit.finetuning.batches import LikeLengths

CHANCE = random.Random(0)
LENGTHS = [CHANCE.randint(8, 64) for _ in range(203)]


def _padding(order: list[int], batch: int = 8) -> float:
    rows = [order[k : k + batch] for k in range(0, len(order), batch)]
    read = sum(len(row) * max(LENGTHS[i] for i in row) for row in rows)
    return 1 - sum(LENGTHS) / read


def test_every_example_once() -> None:
    """In each epoch, with a short batch at the end alone."""
    order = LikeLengths(LENGTHS, 8, 1)
    for epoch in range(3):
        order.set_epoch(epoch)
        assert list(range(203)) == sorted(order)
    assert 203 == len(order)
    assert list(range(5)) == sorted(LikeLengths(LENGTHS[:5], 8, 1))


def test_order_is_of_seed_and_epoch() -> None:
    """The same again, another in another epoch or under another seed."""
    one, two, other = (LikeLengths(LENGTHS, 8, seed) for seed in (1, 1, 2))
    first = list(one)
    assert list(two) == first
    assert list(other) != first
    one.set_epoch(1)
    assert list(one) != first


def test_padding_is_a_third_of_what_it_was() -> None:
    """Of lengths from 8 to 64 in batches of 8."""
    plain = list(range(203))
    random.Random(1).shuffle(plain)
    assert _padding(list(LikeLengths(LENGTHS, 8, 1))) < _padding(plain) / 3


def test_batches_are_not_in_order_of_length() -> None:
    """Short and long ones come in turn."""
    order = list(LikeLengths(LENGTHS, 8, 1))[:200]
    means = [sum(LENGTHS[i] for i in order[k : k + 8]) / 8 for k in range(0, 200, 8)]
    assert means != sorted(means)
