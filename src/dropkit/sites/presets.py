"""Rates that published models use, by name."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from dropkit.errors import OptionError
from dropkit.sites.sources import Source


@dataclass(frozen=True)
class Preset:
    """Rates by pattern, and who uses them.

    Attributes:
        name: What `dropkit.set_rates` takes.
        rates: From the names of a model's sites to ``{pattern: rate}``.
        source: Where the rates are from.
    """

    name: str
    rates: Callable[[Sequence[str]], Mapping[str, float]]
    source: str


def _everywhere(_: Sequence[str]) -> Mapping[str, float]:
    return {"*": 0.1}


def _finetune(names: Sequence[str]) -> Mapping[str, float]:
    if any("lora_dropout" in name for name in names):
        return {"*lora_dropout*": 0.1, "*": 0.0}
    return {"*": 0.1}


PRESETS = {
    preset.name: preset
    for preset in (
        Preset(
            "bert",
            _everywhere,
            "Devlin et al. 2019, NAACL, arXiv:1810.04805, appendix A.2: 0.1 on all layers.",
        ),
        Preset(
            "gpt",
            _everywhere,
            "Radford et al. 2018, section 4.1: residual, embedding and attention dropout of 0.1.",
        ),
        Preset(
            "finetune",
            _finetune,
            "With adapters 0.1 before them and none in the frozen model: Dettmers et al. 2023, "
            "NeurIPS, arXiv:2305.14314, appendix B.2 (7B and 13B; 0.05 for 33B and 65B). Without, "
            "0.1 throughout: Devlin et al. 2019, appendix A.3.",
        ),
    )
}


def preset_rates(name: str, sources: Sequence[Source]) -> Mapping[str, float]:
    """The rates of a preset for a model that keeps these.

    Rates at which whole layers or paths are left out stay: no preset speaks of them.

    Raises:
        OptionError: There is no preset of this name.
    """
    if name not in PRESETS:
        known = ", ".join(map(repr, sorted(PRESETS)))
        raise OptionError(f"`rates` must be a rate, a mapping or one of {known}; got {name!r}.")
    kept = {
        source.name: source.rate
        for source in sources
        if any(word in source.kind for word in ("LayerDrop", "DropPath", "StochasticDepth"))
    }
    return {**kept, **PRESETS[name].rates([source.name for source in sources])}
