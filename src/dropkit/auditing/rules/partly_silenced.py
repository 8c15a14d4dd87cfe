"""DRP205."""

from collections.abc import Iterator

from torch import nn
from torch.nn.modules.dropout import _DropoutNd

from dropkit.auditing.finding import Finding
from dropkit.auditing.observations import Observations
from dropkit.auditing.rule import Rule
from dropkit.auditing.words import counted

#: What drops elements as nn.Dropout does, and is none.
_MISSED = (nn.MultiheadAttention, nn.RNNBase, _DropoutNd)
_LAYERS = (nn.TransformerEncoderLayer, nn.TransformerDecoderLayer)


class PartlySilenced(Rule):
    """Dropout that goes on though every ``nn.Dropout`` of the model has rate 0.

    ## Why it matters
    Tools that switch dropout off by setting ``p`` to 0 on each ``nn.Dropout`` miss
    ``nn.MultiheadAttention``, recurrent layers, functions, and the other dropout classes. The
    model is then still random where it was to be the same at each call, as in preference tuning.

    ## Instead
    Use ``dropkit.silence(model)``, which finds every site.

    ## When it is fine
    Where these sites alone are meant to drop.
    """

    code, name, severity, since = "DRP205", "partly-silenced", "warning", "0.1"
    source = "https://github.com/hiyouga/LlamaFactory/pull/10779"

    def check(self, seen: Observations) -> Iterator[Finding]:
        """Other sites that draw, where one of torch's layers shows that its modules were set."""
        plain = [module for module in seen.model.modules() if type(module) is nn.Dropout]
        others = [
            site
            for site in seen.sites
            if site.draws_in_training and isinstance(site.module, _MISSED)
        ]
        if len(plain) < 2 or any(module.p > 0.0 for module in plain) or not others:
            return
        # torch gives all parts of such a layer one rate: these were changed by somebody
        were_set = any(
            isinstance(module, _LAYERS) and module.self_attn.dropout > 0.0
            for module in seen.model.modules()
        )
        kinds = sorted({site.kind for site in others})
        yield self.finding(
            others[0],
            f"All {len(plain)} nn.Dropout modules have rate 0, and "
            f"{counted(len(others), 'other site draws', 'other sites draw')}: "
            f"{', '.join(kinds)}.",
            evidence={"sites": [site.name for site in others], "silenced": len(plain)},
            severity="warning" if were_set else "info",
        )
