"""Presets, and what becomes of configs."""

import re

import pytest
from torch import Tensor, nn

import dropkit
from dropkit import find_sites, set_rates
from dropkit.errors import OptionError, RatesWarning
from dropkit.sites.presets import PRESETS
from support_models import MODELS, Entry

HUGGING_FACE = [name for name, entry in MODELS.items() if entry.needs]


def built(name: str) -> tuple[Entry, nn.Module]:
    """A model of the zoo, where its packages are installed."""
    entry = MODELS[name]
    for package in entry.needs:
        pytest.importorskip(package)
    return entry, entry.build()


@pytest.mark.parametrize("preset", list(PRESETS))
@pytest.mark.parametrize("name", HUGGING_FACE)
def test_presets(name: str, preset: str) -> None:
    """Dropout is at 0.1, with adapters only before these; what skips layers keeps its rate."""
    _, model = built(name)
    before = find_sites(model)
    has_adapters = any("lora_dropout" in site.name for site in before)
    with set_rates(model, preset):
        found = find_sites(model)
    for old, new in zip(before, found, strict=True):
        if new.kind == "LayerDrop":
            assert old.rate == new.rate
        elif preset == "finetune" and has_adapters:
            assert (0.1 if "lora_dropout" in new.name else 0.0) == new.rate
        else:
            assert 0.1 == new.rate
    assert before == find_sites(model)


def test_presets_of_other_models() -> None:
    """A preset leaves stochastic depth alone in every model."""
    model = nn.Sequential(nn.Dropout(0.5), dropkit.nn.DropPath(0.3), dropkit.nn.LayerDrop(p=0.2))
    set_rates(model, "gpt")
    assert [0.1, 0.3, 0.2] == [site.rate for site in find_sites(model)]


def test_each_preset_has_a_source() -> None:
    """A preset says who uses it, under its own name."""
    assert all(name == preset.name and ", " in preset.source for name, preset in PRESETS.items())


def test_unknown_preset() -> None:
    """A name that is no preset is refused with those that are."""
    message = "`rates` must be a rate, a mapping or one of 'bert', 'finetune', 'gpt'; got 'brt'."
    with pytest.raises(OptionError, match="^" + re.escape(message) + "$"):
        set_rates(nn.Dropout(0.5), "brt")


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")  # PEFT asks for it
def test_adapters_without_dropout() -> None:
    """PEFT puts no module where the rate is 0, so there is no site, and none to set."""
    peft = pytest.importorskip("peft")
    entry, model = built("gpt-2, sdpa")
    config = peft.LoraConfig(r=2, target_modules=["c_attn"], lora_dropout=0.0, fan_in_fan_out=True)
    model = peft.get_peft_model(model, config)
    found = find_sites(model, entry.batch)
    assert not any("lora" in site.name for site in found)
    message = r"no site matches '\*lora_dropout\*'\. Near names: "
    with pytest.raises(dropkit.errors.SiteError, match=message):
        set_rates(model, {"*lora_dropout*": 0.1})


def test_the_config_below_an_adapter() -> None:
    """The config of a model that PEFT has wrapped carries the rates of its sites."""
    _, model = built("lora on llama, sdpa")
    with set_rates(model, 0.25):
        assert 0.25 == model.config.attention_dropout
        assert 0.25 == model.peft_config["default"].lora_dropout
    with set_rates(model, "finetune"):
        assert 0.0 == model.config.attention_dropout
        assert 0.1 == model.peft_config["default"].lora_dropout


class OwnConfig:
    """A config of somebody's own."""

    def __init__(self) -> None:
        self.dropout = 0.1

    def to_dict(self) -> dict[str, float]:
        """Its one field."""
        return {"dropout": self.dropout}


class NeedsMore(nn.Module):
    """A model that cannot be built from its config alone."""

    def __init__(self, config: OwnConfig, width: int) -> None:
        super().__init__()
        self.config = config
        self.drop = nn.Dropout(config.dropout)
        self.width = width

    def forward(self, x: Tensor) -> Tensor:
        """Drop."""
        return self.drop(x)


class Saved(NeedsMore):
    """That can be saved with its config."""

    def save_pretrained(self) -> None:
        """Write nothing."""


def test_a_config_that_cannot_be_followed() -> None:
    """Rates are set in the model; that its config keeps its own is told where it would be saved."""
    model = NeedsMore(OwnConfig(), 3)
    with set_rates(model, 0.3):
        assert (0.3, 0.1) == (model.drop.p, model.config.dropout)
    model = Saved(OwnConfig(), 3)
    with pytest.warns(RatesWarning) as caught, set_rates(model, 0.3):
        assert (0.3, 0.1) == (model.drop.p, model.config.dropout)
    assert [
        "the config of Saved keeps its rates ('dropout'): the model cannot be built from it alone, "
        "so nothing tells which sites they rule. Set them before `save_pretrained`."
    ] == [str(one.message) for one in caught]


def test_configs_are_undone_in_any_order() -> None:
    """Two changes of one config leave it as it was, whichever is undone first."""
    _, model = built("bert, sdpa")
    before = model.config.to_dict()
    first, second = set_rates(model, 0.25), set_rates(model, 0.4)
    first.undo()
    assert 0.4 == model.config.hidden_dropout_prob
    second.undo()
    assert before == model.config.to_dict()
