"""Which kind of network a site stands in, and the rates that such networks are trained with."""

from dataclasses import dataclass

from torch import nn

from dropkit.auditing.observations import Observations, SeenSite

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)


@dataclass(frozen=True)
class Usual:
    """What is used.

    Attributes:
        kind: The kind of network, for people.
        low: The lowest rate that its sources use where they use dropout.
        high: The highest.
        far: From where on a rate is far from that.
        source: Of these numbers.
    """

    kind: str
    low: float
    high: float
    far: float
    source: str


FULLY_CONNECTED = Usual(
    "fully connected layers", 0.2, 0.5, 0.8, "Srivastava et al. 2014, JMLR 15, section A.4"
)
CONVOLUTION = Usual("feature maps", 0.1, 0.5, 0.7, "Srivastava et al. 2014, JMLR 15, appendix B")
RECURRENT = Usual(
    "recurrent networks",
    0.1,
    0.65,
    0.8,
    "Zaremba et al. 2014, arXiv:1409.2329; Merity et al. 2018, ICLR",
)
BERT_LIKE = Usual(
    "transformers", 0.1, 0.3, 0.5, "Vaswani et al. 2017, NeurIPS; Devlin et al. 2019, NAACL"
)
GPT_LIKE = Usual(
    "language models", 0.0, 0.1, 0.4, "GPT, Radford et al. 2018; Llama, Touvron et al. 2023"
)
FINE_TUNING = Usual(
    "adapters", 0.0, 0.1, 0.4, "Hu et al. 2022, ICLR; Dettmers et al. 2023, NeurIPS (QLoRA)"
)


def usual_for(seen: Observations, site: SeenSite) -> Usual | None:
    """The kind of network around a site; None where it is not clear, or has no common rates."""
    if "lora" in site.name.lower():
        return FINE_TUNING
    if site.kind in ("LSTM", "GRU", "RNN") or _is_beside_recurrence(seen, site):
        return RECURRENT
    if _is_in_block(seen, site):
        return GPT_LIKE if _is_generative(seen) else BERT_LIKE
    shapes = {len(drop.shape) for drop in site.drops}
    if not site.drops or _is_decided_for_all(site):
        return None
    if shapes <= {4, 5} and any(isinstance(m, _CONVOLUTIONS) for m in seen.model.modules()):
        return CONVOLUTION
    return FULLY_CONNECTED if shapes == {2} else None


def _is_beside_recurrence(seen: Observations, site: SeenSite) -> bool:
    into = seen.edges(site, "recurrent", only=frozenset({"shape", "scale"}))
    return bool(into) or any(drop.made_by == "recurrent" for drop in site.drops)


def _is_in_block(seen: Observations, site: SeenSite) -> bool:
    """Whether a part of the model around the site, but not the whole model, has attention."""
    around = [one for one in seen.ancestors(site.module) if one is not seen.model]
    return any(_has_attention(one) for one in around)


def _has_attention(module: nn.Module) -> bool:
    return any("attention" in type(part).__name__.lower() for part in module.modules())


def _is_generative(seen: Observations) -> bool:
    names = {type(module).__name__ for module in seen.model.modules()}
    return any("CausalLM" in name or "LMHead" in name for name in names)


def _is_decided_for_all(site: SeenSite) -> bool:
    """Whether whole examples or layers are lost: depth, whose rates are others."""
    return any(
        event.elements < 2 * max(drop.shape[0], 1) for drop in site.drops for event in [drop.event]
    )
