"""Pick-freeze by walks: which masks to change, and what to keep of the answers.

Every site has two masks, A and B, drawn anew in each block. A *walk* begins where all sites have A
and changes one site after the other to B, in an order that is drawn. A second walk goes the other
way round. So each site is changed twice, from A to B both times, and between the two changes all
other sites have other masks:

    order 2 0 1    forth  AAA  AAB  BAB  BBB
                   back   AAA  ABA  BBA  BBB

With D and D' the two changes of the answer, V its variance and the usual indices S (first order)
and T (total) of the site (Sobol 2001; Jansen 1999):

    E[D^2] / 2 = V T        E[D D'] / 2 = V S        E[(D - D')^2] / 4 = V (T - S)

A block of `d` sites takes ``2 d`` runs. What is done by one site alone is counted once in the sum
over all sites of ``(S + T) / 2``, and so is what two do together; so V is the sum of
``E[((D + D') / 2)^2] / 2``. (What three do together is counted 3/2 times. Differences of runs that
share no mask would be free of this, and several times as uncertain: all sites change at once.)

Answers may be many numbers, whose variances are then added up, before the ratio is taken
(Gamboa, Janon, Klein and Lagnoux 2013, generalized Sobol indices).

Source:
    Jansen 1999, Computer Physics Communications 117. Owen 2013, ACM TOMACS 23 (products of two
    differences, for small first-order indices). Walks in drawn orders: Castro, Gomez and Tejada
    2009; there and back: Mitchell, Cooper, Frank and Holmes 2022, JMLR 23.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
T = TypeVar("T")

#: (block, which sites have mask B) -> the answers, ``(q,)`` float64.
Evaluate = Callable[[int, NDArray[np.bool_]], Array]


class Moments(NamedTuple):
    """What the blocks say.

    Attributes:
        along: ``(blocks, sites)``: ``((D + D') / 2)^2``, which estimates ``V (T + S)``.
        across: Likewise ``((D - D') / 2)^2``, which estimates ``V (T - S)``.
    """

    along: Array
    across: Array


def order_of_block(n_sites: int, block: int, seed: int) -> list[int]:
    """In which order the first walk of a block changes the sites."""
    order = np.random.default_rng((seed, block)).permutation(n_sites)
    return [int(site) for site in order]


def walk_block(
    evaluate: Callable[[int, NDArray[np.bool_]], T], n_sites: int, block: int, seed: int
) -> tuple[list[int], list[T], list[T]]:
    """Order, and the answers on the walk forth and back, ``n_sites + 1`` each, both from A to B."""
    order = order_of_block(n_sites, block, seed)
    sides = np.zeros(n_sites, dtype=np.bool_)
    first, last = evaluate(block, sides), evaluate(block, ~sides)
    return (
        order,
        _walk(evaluate, block, order, first, last),
        _walk(evaluate, block, order[::-1], first, last),
    )


def _walk(
    evaluate: Callable[[int, NDArray[np.bool_]], T],
    block: int,
    order: Sequence[int],
    first: T,
    last: T,
) -> list[T]:
    sides = np.zeros(len(order), dtype=np.bool_)
    answers = [first]
    for site in order[:-1]:
        sides[site] = True
        answers.append(evaluate(block, sides.copy()))
    return [*answers, last]


def moments_of_block(
    order: Sequence[int], forth: Sequence[Array], back: Sequence[Array]
) -> tuple[Array, Array]:
    """`Moments` of one block, ``(sites,)`` each."""
    d = len(order)
    along, across = np.zeros(d), np.zeros(d)
    for k, site in enumerate(order):
        one = forth[k + 1] - forth[k]
        other = back[d - k] - back[d - 1 - k]
        along[site] = np.sum(((one + other) / 2.0) ** 2)
        across[site] = np.sum(((one - other) / 2.0) ** 2)
    return along, across


def walk(evaluate: Evaluate, n_sites: int, n_blocks: int, seed: int = 0) -> Moments:
    """Walk `n_blocks` times there and back.

    Args:
        evaluate: Runs what is looked at; see `Evaluate`.
        n_sites: How many masks there are to change.
        n_blocks: Each takes ``2 * n_sites`` runs.
        seed: Of the orders.
    """
    found = [
        moments_of_block(*walk_block(evaluate, n_sites, block, seed)) for block in range(n_blocks)
    ]
    along, across = zip(*found, strict=True)
    return Moments(np.array(along), np.array(across))
