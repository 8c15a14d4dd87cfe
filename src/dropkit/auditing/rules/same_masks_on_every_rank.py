"""DRP503."""

import hashlib
from collections.abc import Iterator

import torch
import torch.distributed as dist

from dropkit.auditing.finding import Finding
from dropkit.auditing.observations import Observations
from dropkit.auditing.rule import Rule
from dropkit.auditing.words import counted

_KEY = "dropkit/audit/generator"


class SameMasksOnEveryRank(Rule):
    """Processes of one training whose generators stand at one place, so that they draw alike.

    ## Why it matters
    In data-parallel training each rank has other examples, and is to have other masks. Seeded
    alike, rank after rank loses the same units: the batch of eight devices has the noise of one.

    ## Instead
    Add the rank to the seed: ``torch.manual_seed(seed + rank)``, after the model was built alike.
    dropkit's own layers mix the rank into their masks by themselves.

    ## When it is fine
    Tensor- and pipeline-parallel ranks, which hold parts of one example, must draw alike.
    """

    code, name, severity, since = "DRP503", "same-masks-on-every-rank", "info", "0.1"
    source = (
        "https://github.com/huggingface/transformers/issues/31412, "
        "https://github.com/huggingface/accelerate/issues/114"
    )

    def check(self, seen: Observations) -> Iterator[Finding]:
        """The generator of this rank against those of ranks that were audited before it.

        No rank waits for another: the first hears of none, and says nothing.
        """
        if not dist.is_available() or not dist.is_initialized() or dist.get_world_size() < 2:
            return
        theirs = [
            site for site in seen.acting if not type(site.module).__module__.startswith("dropkit.")
        ]
        if not theirs:
            return
        alike = _ranks_alike(_generator(seen))
        if alike:
            yield self.finding(
                "",
                f"Rank {dist.get_rank()} draws from where rank {alike[0]} draws from, and "
                f"{counted(len(theirs), 'site draws', 'sites draw')} its masks with it.",
                evidence={"rank": dist.get_rank(), "alike": alike, "sites": len(theirs)},
            )


def _generator(seen: Observations) -> str:
    """Where the generator of the model's device stands."""
    device = next((p.device for p in seen.model.parameters()), torch.device("cpu"))
    state = torch.cuda.get_rng_state(device) if device.type == "cuda" else torch.get_rng_state()
    return hashlib.sha256(state.numpy().tobytes()).hexdigest()


def _ranks_alike(state: str) -> list[int]:
    """The ranks that have told the same state; tells this rank's."""
    store = dist.distributed_c10d._get_default_store()  # noqa: SLF001 - a collective would wait
    here = dist.get_rank()
    store.set(f"{_KEY}/{here}", state)
    others = (rank for rank in range(dist.get_world_size()) if rank != here)
    return [
        rank
        for rank in others
        if store.check([f"{_KEY}/{rank}"]) and store.get(f"{_KEY}/{rank}").decode() == state
    ]
