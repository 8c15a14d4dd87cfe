"""DRP206."""

from collections.abc import Iterator

from dropkit.auditing.finding import Finding
from dropkit.auditing.observations import Observations
from dropkit.auditing.rule import Rule
from dropkit.sites.code import reads


class RateLeftUnset(Rule):
    """A drop rate that is None while the rest of the model drops.

    ## Why it matters
    A rate of its own for attention, or for the embeddings, that was not given is often believed
    to fall back on the general rate. Where the code has no such fall-back, nothing is dropped.

    ## Instead
    Hand over the rate, or fall back on the general one where it is None.

    ## When it is fine
    Where None stands for no dropout on purpose; 0.0 says so.
    """

    code, name, severity, since = "DRP206", "rate-left-unset", "info", "0.1"
    source = "https://github.com/OpenNMT/OpenNMT-py/pull/1830"

    def check(self, seen: Observations) -> Iterator[Finding]:
        """Attributes named after dropout that are None, in modules that ran and read them."""
        rates = sorted({site.rate for site in seen.sites if site.draws_in_training and site.rate})
        kept = {source.module for source in seen.sources if source.is_whole}
        if not rates:
            return
        for module, name in seen.names.items():
            if module in kept or not seen.training.run.n_calls.get(module):
                continue
            for key, value in vars(module).items():
                if value is not None or "drop" not in key.lower() or key.startswith("_"):
                    continue
                if reads(type(module), key):
                    yield self.finding(
                        f"{name}.{key}".lstrip("."),
                        f"`{key}` is None and drops nothing, while other sites drop at "
                        f"{' and '.join(f'{rate:g}' for rate in rates[:3])}.",
                        evidence={"rates": rates},
                        proved=False,
                    )
