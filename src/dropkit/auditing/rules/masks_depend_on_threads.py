"""DRP505."""

import contextlib
from collections.abc import Iterator

import torch

from dropkit.auditing.finding import Finding
from dropkit.auditing.masks import differ, paired
from dropkit.auditing.observations import Observations, SeenSite
from dropkit.auditing.rule import Rule
from dropkit.auditing.traced import Traced


class MasksDependOnThreads(Rule):
    """Masks that are others when torch may use another number of threads.

    ## Why it matters
    A seed then no longer names a run: another machine, or a container with fewer cores, trains
    another network, and a fault that showed once does not show again. torch's own dropout, and
    dropkit's, do not depend on threads; code that seeds a generator for each thread, or splits a
    tensor by the number of threads, does.

    ## Instead
    Draw the mask in one piece, or by the index of its elements as dropkit does, and let threads
    share the work behind it.

    ## When it is fine
    Runs need not be repeated, here or elsewhere.
    """

    code, name, severity, since = "DRP505", "masks-depend-on-threads", "warning", "0.1"
    source = (
        "https://docs.pytorch.org/docs/stable/notes/randomness.html; the same over devices: "
        "https://github.com/pytorch/pytorch/issues/168058"
    )

    def check(self, seen: Observations) -> Iterator[Finding]:
        """Masks of one seed under two numbers of threads; where they differ, once more."""
        drawing = [site for site in seen.acting if site.drops]
        if not drawing:
            return
        here = torch.get_num_threads()
        other = 1 if here > 1 else 2
        threaded = seen.again(seed=0, around=_threads(other))
        differing = [site for site in drawing if _differs(site, threaded)]
        if not differing:
            return
        control = seen.again(seed=0)
        for site in differing:
            if not _differs(site, control):
                yield self.finding(
                    site,
                    "Under one seed, other elements are lost when torch may use another number of "
                    "threads, and the same ones when it may use the same number.",
                    evidence={"threads": [here, other]},
                )


def _differs(site: SeenSite, run: Traced) -> bool:
    return any(differ(*pair) for pair in paired(site.drops, run.drops))


@contextlib.contextmanager
def _threads(number: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)
