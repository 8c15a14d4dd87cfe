"""DRP203."""

from collections.abc import Iterator

from dropkit.auditing.finding import Finding
from dropkit.auditing.observations import Observations
from dropkit.auditing.rule import Rule


class RecurrentDropoutWithoutLayers(Rule):
    """A recurrent layer with dropout between its layers, and one layer only.

    ## Why it matters
    ``nn.LSTM``, ``nn.GRU`` and ``nn.RNN`` drop behind every layer but the last. With
    ``num_layers=1`` there is none, and nothing is ever dropped; torch warns once, when it is made.

    ## Instead
    Put an ``nn.Dropout`` or ``dropkit.nn.LockedDropout`` behind the layer, or use two layers.

    ## When it is fine
    Where the same settings also build deeper models. Then hand over the rate only for these.
    """

    code, name, severity, since = "DRP203", "recurrent-dropout-without-layers", "warning", "0.1"
    source = "https://docs.pytorch.org/docs/stable/generated/torch.nn.LSTM.html"

    def check(self, seen: Observations) -> Iterator[Finding]:
        """Recurrent layers that keep a rate and have no place for it."""
        for source in seen.sources:
            if not source.acts and source.rate > 0.0:
                n_calls = seen.training.run.n_calls.get(source.module, 0)
                yield self.finding(
                    source.name,
                    f"{source.kind}(dropout={source.rate:g}) has one layer, so nothing is dropped.",
                    evidence={"rate": source.rate, "calls": n_calls},
                    proved=n_calls > 0,
                )
