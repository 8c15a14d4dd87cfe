"""On every model of the zoo: all sites are found, set, silenced and woken, and all is put back."""

import warnings
from collections.abc import Iterator
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - everybody's name for it
from torch import nn

import dropkit
from dropkit.sites.replaced import PLACES
from support_entry import tensors
from support_models import MODELS, Entry

pytestmark = pytest.mark.filterwarnings("ignore:enable_nested_tensor is True")


@pytest.fixture(params=list(MODELS))
def entry(request) -> Entry:
    """A model of the zoo."""
    entry = MODELS[request.param]
    for package in entry.needs:
        pytest.importorskip(package)
    return entry


@pytest.fixture(autouse=True)
def _functions_are_put_back() -> Iterator[None]:
    yield
    assert [] == [name for holder, name, theirs, _ in PLACES if getattr(holder, name) != theirs]


def state(model: nn.Module) -> tuple[Any, ...]:
    """All that a tool could leave changed."""
    values = [x.clone() for x in model.state_dict().values()]
    modes = [module.training for module in model.modules()]
    hooks = [
        (len(module._forward_hooks), len(module._forward_pre_hooks)) for module in model.modules()
    ]
    return values, modes, hooks, repr(model), torch.get_rng_state()


def same(a: tuple[Any, ...], b: tuple[Any, ...]) -> bool:
    """Whether two states are equal to the bit."""
    tensors_are = all(torch.equal(x, y) for x, y in zip(a[0], b[0], strict=True))
    return tensors_are and a[1:4] == b[1:4] and torch.equal(a[4], b[4])


def test_every_site_is_found(entry: Entry) -> None:
    """As many sites draw as the architecture has, each with a rate and a line of the model's code."""
    model = entry.build()
    before = state(model)
    found = [site for site in dropkit.find_sites(model, entry.batch) if site.active]
    assert entry.places == len(found) == len({site.name for site in found})
    assert all(site.elements and site.calls for site in found)
    assert same(before, state(model))


def test_nothing_draws_in_eval(entry: Entry) -> None:
    """In eval the same sites are listed, and none is active."""
    model = entry.build()
    in_training = dropkit.find_sites(model, entry.batch)
    in_eval = dropkit.find_sites(model.eval(), entry.batch)
    assert [site.name for site in in_training] == [site.name for site in in_eval]
    assert not any(site.active for site in in_eval)


def test_rates_are_set_everywhere(entry: Entry) -> None:
    """One rate goes to every site that is not a mask made by hand, and undo takes it back."""
    model = entry.build()
    before = dropkit.find_sites(model, entry.batch)
    with dropkit.set_rates(model, 0.25):
        found = dropkit.find_sites(model, entry.batch)
    assert {0.25} >= {site.rate for site in found if site.kind != "unnamed"}
    assert before == dropkit.find_sites(model, entry.batch)


def test_rate_zero_is_nothing_to_draw(entry: Entry) -> None:
    """At rate 0 no site is active."""
    model = entry.build()
    with dropkit.set_rates(model, 0.0):
        assert not any(site.active for site in dropkit.find_sites(model, entry.batch))


def test_config_carries_the_rates(entry: Entry) -> None:
    """A model that is built anew from the config has the rates that were set."""
    model = entry.build()
    if not hasattr(model, "config") or hasattr(model, "peft_config"):
        pytest.skip("the model is built from no config")
    with dropkit.set_rates(model, 0.25):
        twin = type(model)(model.config)
    assert {0.25} == {site.rate for site in dropkit.find_sites(twin)}


def test_silence_leaves_nothing_to_chance(entry: Entry) -> None:
    """Two silenced forwards in training mode are bit-equal, and torch's generator stands still."""
    model = entry.build()
    with dropkit.silence(model), torch.no_grad():
        model.train()
        first, again = tensors(entry.run(model)), tensors(entry.run(model))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))


def test_awaken_wakes_all(entry: Entry) -> None:
    """All sites draw, and nothing but what draws is in training mode."""
    model = entry.build()
    in_training = {site.name for site in dropkit.find_sites(model, entry.batch) if site.active}
    if not in_training:
        with pytest.raises(dropkit.errors.SiteError, match=r"The model has no dropout\.$"):
            dropkit.awaken(model)
        return
    before = state(model)
    with dropkit.awaken(model):
        awake = {site.name for site in dropkit.find_sites(model, entry.batch) if site.active}
        norms = [
            m.training for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)
        ]
    assert in_training == awake
    assert not any(norms)
    assert same(before, state(model))


def _awake(entry: Entry, model: nn.Module, name: str) -> list[str]:
    with dropkit.awaken(model, only=name):
        return [site.name for site in dropkit.find_sites(model, entry.batch) if site.active]


def test_awaken_wakes_one(entry: Entry) -> None:
    """The first and the last site are woken alone."""
    model = entry.build()
    names = [site.name for site in dropkit.find_sites(model, entry.batch) if site.active]
    for name in {*names[:1], *names[-1:]}:
        assert [name] == _awake(entry, model, name)


@pytest.mark.long
def test_awaken_wakes_each(entry: Entry) -> None:
    """Each site is woken alone."""
    model = entry.build()
    names = [site.name for site in dropkit.find_sites(model, entry.batch) if site.active]
    assert [[name] for name in names] == [_awake(entry, model, name) for name in names]


def test_saved_models_carry_rates(tmp_path) -> None:
    """``save_pretrained`` writes the rates that were set, also of a part of the sites."""
    entry = MODELS["bert, sdpa"]
    for package in entry.needs:
        pytest.importorskip(package)
    model = entry.build()
    dropkit.set_rates(model, {"*.attention.self.*": 0.0, "*": 0.3})
    model.save_pretrained(tmp_path)
    again = type(model).from_pretrained(tmp_path)
    rates = {site.name: site.rate for site in dropkit.find_sites(again)}
    assert {name: 0.0 if ".attention.self." in name else 0.3 for name in rates} == rates


def test_what_a_config_cannot_carry() -> None:
    """Sites of one field that get different rates are set, and a warning says what is lost."""
    entry = MODELS["bert, eager"]
    for package in entry.needs:
        pytest.importorskip(package)
    model = entry.build()
    with pytest.warns(dropkit.errors.RatesWarning) as caught:
        dropkit.set_rates(model, {"bert.encoder.layer.0.output.dropout": 0.4})
    rate = model.config.hidden_dropout_prob
    assert [
        f"the config field 'hidden_dropout_prob' stays {rate!r}: its 5 sites have rates from "
        f"{rate:g} to 0.4, and one field cannot carry these through `save_pretrained`. "
        "Call `set_rates` again after loading."
    ] == [str(one.message) for one in caught]


def test_what_others_call_is_left_alone() -> None:
    """While one model is silenced, the calls of another draw as ever."""
    silenced = MODELS["functional"].build()
    with dropkit.silence(silenced), warnings.catch_warnings():
        assert not F.dropout(torch.ones(1000), 0.5).all()
