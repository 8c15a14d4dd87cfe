"""DRP109."""

from collections.abc import Iterator

from torch.nn.modules.batchnorm import _BatchNorm

from dropkit.auditing.finding import Finding
from dropkit.auditing.handed_over import is_half_awake
from dropkit.auditing.observations import Observations
from dropkit.auditing.rule import Rule
from dropkit.auditing.words import counted


class BatchNormInTraining(Rule):
    """Batch norm in training mode where dropout is on in use.

    ## Why it matters
    Code that turns dropout on for Monte Carlo prediction by ``train()`` turns on batch norm too.
    Its outputs then depend on the other examples of the batch, and each prediction writes to its
    running statistics.

    ## Instead
    Wake dropout alone: ``dropkit.awaken(model)``.

    ## When it is fine
    Where the statistics are to follow the data in use, as in test-time adaptation.
    """

    code, name, severity, since = "DRP109", "batch-norm-in-training", "error", "0.1"
    source = "https://github.com/lightning-uq-box/lightning-uq-box/pull/173"

    def check(self, seen: Observations) -> Iterator[Finding]:
        """Batch norms that are called in training mode in a run in eval mode that drops."""
        run = None
        if any(site.draws_in_eval for site in seen.sites):
            run = seen.evaluation
        elif is_half_awake(seen) and seen.drawn_in(seen.as_given):
            run = seen.as_given
        if run is None:
            return
        norms = [
            module
            for module in seen.model.modules()
            if isinstance(module, _BatchNorm)
            and module.track_running_stats
            and module in run.called_in_training
        ]
        if norms:
            names = [seen.name_of(norm) for norm in norms]
            n = counted(len(norms), "batch norm is", "batch norms are")
            yield self.finding(
                names[0],
                f"{n} in training mode while dropout is on in eval mode, and running statistics "
                "are overwritten.",
                evidence={"batch_norms": names},
            )
