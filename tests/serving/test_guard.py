"""A guard sees each mask that a model in service draws, whatever draws it, and nothing else."""

import json
import re
import threading
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - everybody's name for it
from torch import nn

import dropkit
from dropkit.errors import GuardError, OptionError
from dropkit.serving import guard
from support_models import MODELS, Entry
from support_sites import Calls, functions_replaced

X = torch.linspace(-1, 1, 32).reshape(8, 4)
TIME = r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00"


ENTRIES = [
    pytest.param(entry, id=entry.name, marks=[pytest.mark.long] if "eager" in entry.name else [])
    for entry in MODELS.values()
]


@pytest.mark.parametrize("entry", ENTRIES)
def test_zoo(entry: Entry) -> None:
    """Every architecture: clean in eval, and in training mode each forward that draws is seen."""
    for package in entry.needs:
        pytest.importorskip(package)
    model = entry.build().eval()
    with guard(model) as watch:
        entry.run(model)
        assert (True, 1, 0) == (watch.is_clean, watch.record().forwards, watch.record().with_draws)
        model.train()
        if entry.places:
            with pytest.raises(GuardError):
                entry.run(model)
    assert [] == functions_replaced()
    with guard(model, "count") as watch:
        entry.run(model)
    record = watch.record()
    assert (1, 1, int(entry.places > 0), 0) == (
        record.forwards,
        record.in_training_mode,
        record.with_draws,
        record.moved_generator,
    )
    found = {site.name for site in dropkit.find_sites(model, entry.batch) if site.active}
    if not entry.by_hand:  # else a layer may have been skipped, and with it the sites in it
        assert found == {site.site for site in record.sites}


FAULTS = {
    "dropout": (lambda x: F.dropout(x, 0.4), "dropout", 0.4),
    "feature": (lambda x: F.dropout1d(x[None], 0.4)[0], "dropout1d", 0.4),
    "attention": (
        lambda x: F.scaled_dot_product_attention(x, x, x, dropout_p=0.2),
        "scaled_dot_product_attention",
        0.2,
    ),
    "bernoulli": (lambda x: x * torch.bernoulli(torch.full_like(x, 0.5)), "bernoulli", None),
    "bernoulli_": (lambda x: x * torch.empty_like(x).bernoulli_(0.75), "bernoulli_", 0.25),
    "rand": (lambda x: x * (torch.rand(8, 4) > 0.5), "rand", None),
    "dropkit": (lambda x: dropkit.functional.gaussian_dropout(x, 0.3), "gaussian_dropout", 0.3),
}


@pytest.mark.parametrize("kind", FAULTS)
def test_every_kind(kind: str) -> None:
    """A fault in eval mode is named by function, rate, site and line before an answer leaves."""
    function, name, rate = FAULTS[kind]
    model = nn.Sequential(nn.Linear(4, 4), Calls(function)).eval()
    at = "" if rate is None else f" at rate {rate:g}"
    message = (
        rf"a model in service must draw no mask; {name} was about to draw one{at} at site "
        rf"'1\.{name}' \(tests/support/support_sites\.py:\d+\)\. `dropkit\.freeze` makes a model that "
        r"cannot\."
    )
    with guard(model), pytest.raises(GuardError, match=f"^{message}$"):
        model(X)
    with guard(model, "count") as watch:
        for _ in range(3):
            model(X)
    record = watch.record()
    [site] = record.sites
    assert (f"1.{name}", name, rate, 3) == (site.site, site.function, site.rate, site.count)
    assert (3, 3, 0) == (record.forwards, record.with_draws, record.in_training_mode)


@pytest.mark.parametrize("layer", [nn.Dropout(0.4), dropkit.nn.Dropout(0.4)])
def test_a_layer_left_in_training_mode(layer: nn.Module) -> None:
    """The message says what to do."""
    model = nn.Sequential(layer)
    kind = "dropout" if type(layer) is nn.Dropout else "Dropout"
    message = (
        rf"a model in service must draw no mask; {kind} was about to draw one at rate 0\.4 at site "
        r"'0'.*; it is in training mode, so call `eval\(\)`\. `dropkit\.freeze` makes a model that "
        r"cannot\."
    )
    with guard(model), pytest.raises(GuardError, match=f"^{message}$"):
        model(X)


def test_no_alarm_without_a_mask() -> None:
    """Training mode without dropout, rates of 0, and one number that is looked at in training."""
    layers = [nn.BatchNorm1d(4), nn.Dropout(0.0), dropkit.nn.Dropout(0.0)]
    model = nn.Sequential(*layers, Calls(lambda x: x + 0 * torch.rand([])).eval())
    with guard(model) as watch:
        model(X)
    record = watch.record()
    assert (True, 1, 1) == (record.is_clean, record.in_training_mode, record.moved_generator)


def test_other_models_are_let_pass() -> None:
    """A model that is trained beside the one in service may drop."""
    model, other = nn.Sequential(nn.Dropout(0.5)).eval(), nn.Sequential(nn.Dropout(0.5))
    with guard(model) as watch:
        other(X)
        F.dropout(X, 0.5)
        torch.rand(3)
    assert watch.is_clean


def test_allowed_sites() -> None:
    """Noise that is meant may be drawn."""
    model = nn.Sequential(Calls(lambda x: x + torch.rand(8, 4)), nn.Dropout(0.5)).eval()
    with guard(model, allow="0.rand") as watch:
        model(X)
        assert watch.is_clean
        model.train()
        with pytest.raises(GuardError, match="at site '1'"):
            model(X)


def test_silenced_models_are_clean() -> None:
    """It sees what is left of a call when all others are through with it."""
    model = nn.Sequential(nn.Dropout(0.5), Calls(lambda x: F.dropout(x, 0.5)))
    with guard(model) as watch, dropkit.silence(model):
        model(X)
    assert watch.is_clean


def test_answers_are_the_same() -> None:
    """A guard that counts changes no bit of what is drawn."""
    model = nn.Sequential(nn.Dropout(0.5), Calls(lambda x: x * torch.rand_like(x)))
    torch.manual_seed(0)
    wanted = model(X)
    torch.manual_seed(0)
    with guard(model, "count"):
        assert torch.equal(wanted, model(X))


def test_threads() -> None:
    """Four threads count together, and none is lost."""
    model = nn.Sequential(nn.Linear(4, 4), Calls(lambda x: F.dropout(x, 0.4))).eval()

    def serve() -> None:
        for _ in range(50):
            model(X)

    with guard(model, "count") as watch:
        threads = [threading.Thread(target=serve) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    record = watch.record()
    assert (200, 200, [200]) == (
        record.forwards,
        record.with_draws,
        [site.count for site in record.sites],
    )


def test_record(tmp_path: Path) -> None:
    """Plain data with times in UTC, as JSON for the release gate."""
    model = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.25))
    with guard(model, "count") as watch:
        model(X)
    watch.save(tmp_path / "guard.json")
    found = json.loads((tmp_path / "guard.json").read_text("utf-8"))
    [site] = found.pop("sites")
    assert re.fullmatch(r"tests/serving/test_guard\.py:\d+", site.pop("where"))
    times = [found.pop("since"), found.pop("until"), site.pop("first"), site.pop("last")]
    assert all(re.fullmatch(TIME, time) for time in times)
    assert {
        "format": "dropkit guard",
        "version": 1,
        "is_clean": False,
        "model": "Sequential",
        "action": "count",
        "forwards": 1,
        "in_training_mode": 1,
        "with_draws": 1,
        "moved_generator": 0,
    } == found
    assert {"site": "1", "function": "dropout", "rate": 0.25, "count": 1} == site
    watch.reset()
    assert (True, 0) == (watch.is_clean, watch.record().forwards)


def test_undo_and_copies(again: Callable[[nn.Module], nn.Module]) -> None:
    """After undo nothing is left; a copy made meanwhile is not guarded."""
    model = nn.Sequential(nn.Linear(4, 4), dropkit.nn.Dropout(0.5))
    watch = guard(model)
    other = again(model)
    other(X)
    assert watch.is_clean
    watch.undo()
    watch.undo()
    model(X)
    assert [] == functions_replaced()
    assert not any(module._forward_pre_hooks for module in model.modules())


def test_a_forward_that_raises() -> None:
    """It is counted, and the next one is seen as before."""
    model = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5)).eval()
    with guard(model, "count") as watch:
        with pytest.raises(RuntimeError):
            model(X[:, :2])
        model.train()(X)
    assert (2, 1) == (watch.record().forwards, watch.record().with_draws)


def test_compiled_model() -> None:
    """A compiled model that is clean runs as before; one that draws is seen."""
    model = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5), dropkit.nn.Dropout(0.5))
    torch._dynamo.reset()
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore", DeprecationWarning)  # torch's, on its own tracer
        compiled = torch.compile(model.eval(), backend="eager")
        with guard(compiled) as watch:
            compiled(X)
            assert (True, 1) == (watch.is_clean, watch.record().forwards)
            compiled.train()
            with pytest.raises(GuardError):
                compiled(X)
    torch._dynamo.reset()


@pytest.mark.parametrize(
    ("model", "action", "message"),
    [
        (nn.Linear(2, 2), "log", "`action` must be 'raise' or 'count'; got 'log'."),
        (print, "raise", "`model` must be an nn.Module; got a builtin_function_or_method."),
    ],
)
def test_bad_input(model: object, action: str, message: str) -> None:
    """One sentence says what is wrong, and nothing is replaced."""
    with pytest.raises(OptionError, match="^" + re.escape(message) + "$"):
        guard(model, action)
    assert [] == functions_replaced()
