"""DRP701."""

from collections.abc import Iterator

from dropkit.auditing.artefacts.artefact import Artefact
from dropkit.auditing.finding import Finding
from dropkit.auditing.observations import Observations
from dropkit.auditing.rule import Rule
from dropkit.auditing.words import at_rate


class DropoutInExport(Rule):
    """An exported model that draws a mask whenever it is used.

    ## Why it matters
    An exporter writes down the mode that the model is in. Exported in training mode, or with a
    rate that asks for no mode, dropout is part of the graph for good: `eval()` cannot reach it any
    more, and each answer of the service is another one.

    ## Instead
    Call `model.eval()` before `torch.export.export`, `torch.jit.trace`, `torch.jit.save` or
    `torch.onnx.export`, then audit what was written.

    ## When it is fine
    The service averages over many sub-networks on purpose, or goes on training.
    """

    code, name, severity, since = "DRP701", "dropout-in-export", "error", "0.1"
    source = "https://docs.pytorch.org/docs/stable/export.html and https://onnx.ai/onnx/operators/onnx__Dropout.html"

    def check(self, seen: Observations) -> Iterator[Finding]:
        """Nothing: this is about exported models."""
        del seen
        yield from ()

    def check_artefact(self, artefact: Artefact) -> Iterator[Finding]:
        """Each operator that draws."""
        for one in artefact.left_over:
            yield self.finding(
                one.site,
                f"`{one.function}` draws a mask{at_rate(one.rate)} in the {artefact.kind} graph.",
                evidence={"function": one.function, "rate": one.rate, "format": artefact.kind},
                where=one.where,
                proved=False,
            )
