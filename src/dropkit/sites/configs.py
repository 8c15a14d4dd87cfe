"""The config of a model: which of its fields rule which sites, and how to write rates into it.

Hugging Face's models copy their rates out of a config when they are built, and save the config.
"""

import contextlib
import copy
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from dropkit.errors import RatesWarning
from dropkit.sites.held import hold
from dropkit.sites.marks import Marks
from dropkit.sites.sources import Source, find_sources, is_number


@dataclass
class ConfigField:
    """A rate in a config.

    Attributes:
        config: Which holds it.
        name: Of the field.
        sites: Names of the sites that take their rate from it.
    """

    config: Any
    name: str
    sites: list[str] = field(default_factory=list)


def config_fields(model: nn.Module) -> list[ConfigField]:
    """The rates in the configs of `model`, with the sites that each rules.

    To find these, the model is built once more from a config whose rates bear marks, on the
    ``meta`` device, where it takes no memory. A model that cannot be built from its config alone
    has no fields here.
    """
    return [*_of_model(model), *_of_adapters(model)]


def _of_model(model: nn.Module) -> Iterator[ConfigField]:
    owners = list(_owners(model))
    for prefix, owner in owners:
        marks, fields = Marks(), {}
        config = copy.deepcopy(owner.config)
        for path, name, value in _rates(config):
            key = Source(".".join([*path, name]), model, name, "rate")
            try:
                setattr(_at(config, path), name, marks.add(key, float(value)))
            except Exception:  # noqa: BLE001, S112 - a strict config, as where 0 is a whole number
                continue
            fields[key.name] = ConfigField(_at(owner.config, path), name)
        twin = _built(type(owner), config)
        if twin is not None:
            for source in find_sources(twin):
                of = marks.source_of(source.rate)
                if of is not None:
                    fields[of.name].sites.append(f"{prefix}{source.name}")
            yield from fields.values()
            return
    if owners and hasattr(owners[0][1], "save_pretrained"):
        owner = owners[0][1]
        names = ", ".join(repr(".".join([*path, name])) for path, name, _ in _rates(owner.config))
        warnings.warn(
            f"the config of {type(owner).__name__} keeps its rates ({names}): the model cannot "
            "be built from it alone, so nothing tells which sites they rule. Set them before "
            "`save_pretrained`.",
            RatesWarning,
            stacklevel=4,
        )


def _built(cls: type[nn.Module], config: Any) -> nn.Module | None:
    try:
        with torch.device("meta"), warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
            warnings.simplefilter("ignore")
            return cls(config)
    except Exception:  # noqa: BLE001 - any class may want more than its config, and fail in any way
        return None


def _owners(model: nn.Module) -> Iterator[tuple[str, Any]]:
    """The path to a module that has a config with rates to be built from, and the module.

    The first is the model; within a wrapper such as PEFT's, which shows the config of what it
    wraps, there are others that can be saved themselves.
    """
    is_first = True
    for path, module in model.named_modules():
        if is_first or hasattr(module, "save_pretrained"):
            config = getattr(module, "config", None)
            if hasattr(config, "to_dict") and any(True for _ in _rates(config)):
                is_first = False
                yield (f"{path}." if path else ""), module


def _rates(config: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], str, Any]]:
    for name, value in list(vars(config).items()):
        if hasattr(value, "to_dict") and not name.startswith("_"):
            yield from _rates(value, (*path, name))
        elif "drop" in name.lower() and is_number(value):
            yield path, name, value


def _at(config: Any, path: tuple[str, ...]) -> Any:
    for name in path:
        config = getattr(config, name)
    return config


def _of_adapters(model: nn.Module) -> Iterator[ConfigField]:
    """PEFT's: each of its adapters has a config, and modules that bear the adapter's name."""
    adapters = getattr(model, "peft_config", None)
    if not isinstance(adapters, Mapping):
        return
    names = [source.name for source in find_sources(model)]
    for adapter, config in adapters.items():
        if is_number(getattr(config, "lora_dropout", None)):
            ending = f"lora_dropout.{adapter}"
            yield ConfigField(config, "lora_dropout", [n for n in names if n.endswith(ending)])


def write_rates(
    fields: list[ConfigField], rates: Mapping[str, float], steps: contextlib.ExitStack
) -> None:
    """Write the rates of sites into the fields that rule them.

    A field whose sites have different rates stays as it is, and a warning says so.

    Args:
        fields: From `config_fields`, before any rate was set.
        rates: Of every site, by name.
        steps: Gets what takes this back.
    """
    for one in fields:
        found = {rates[name] for name in one.sites if name in rates}
        before = getattr(one.config, one.name)
        if len(found) == 1:
            rate = found.pop()
            if rate != before:
                hold(one.config, one.name, rate, steps)
        elif found:
            warnings.warn(
                f"the config field {one.name!r} stays {before!r}: its {len(one.sites)} sites have "
                f"rates from {min(found):g} to {max(found):g}, and one field cannot carry these "
                "through `save_pretrained`. Call `set_rates` again after loading.",
                RatesWarning,
                stacklevel=3,
            )
