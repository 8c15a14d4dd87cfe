"""`freeze` gives a model without dropout that answers as the original in eval, or says why not."""

import copy
import re
import warnings

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - everybody's name for it
from torch import Tensor, nn
from torch.nn.utils import parametrize

import dropkit
from dropkit.serving import freeze
from dropkit.serving._answers import answers, is_equal
from dropkit.serving._program import dropout_operators, program_of
from dropkit.sites.watch import arguments_of
from support_models import MODELS, Entry
from support_sites import Calls

X = torch.linspace(-1, 1, 32).reshape(8, 4)


def head(*layers: nn.Module) -> nn.Sequential:
    """A small network around `layers`, the same at each call."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 4), *layers, nn.Linear(4, 2))


ENTRIES = [
    pytest.param(entry, id=entry.name, marks=[pytest.mark.long] if "eager" in entry.name else [])
    for entry in MODELS.values()
]


@pytest.mark.parametrize("entry", ENTRIES)
def test_zoo(entry: Entry) -> None:
    """Every architecture: equal to eval bit for bit, no mask in a run, no dropout in the graph."""
    for package in entry.needs:
        pytest.importorskip(package)
    model = entry.build()
    before = copy.deepcopy(model.state_dict())
    frozen = freeze(model, entry.batch)
    proof = frozen.proof
    assert (True, 0, 0, ()) == (
        proof.is_equal_to_eval,
        proof.draws,
        proof.dropout_operators,
        proof.not_proved,
    )
    assert [] == [site for site in dropkit.find_sites(frozen.model, entry.batch) if site.active]
    wanted = answers(model.eval(), arguments_of(entry.batch))
    assert is_equal(wanted, answers(frozen.model, arguments_of(entry.batch)))
    assert all(torch.equal(x, before[name]) for name, x in model.state_dict().items())


@pytest.mark.parametrize("name", ["mlp", "bert, sdpa", "functional", "nn.LSTM"])
def test_zoo_check_can_fail(name: str) -> None:
    """The checks above see the original in training mode, and its graph."""
    pytest.importorskip("transformers")
    entry = MODELS[name]
    model = entry.build()
    args, kwargs = arguments_of(entry.batch)
    first, second = (answers(model, (args, kwargs), seed=seed) for seed in (0, 1))
    assert not is_equal(first, second)
    assert [site for site in dropkit.find_sites(model, entry.batch) if site.active]
    if name != "nn.LSTM":  # torch exports its dropout as an argument
        program, _ = program_of(model, args, kwargs)
        assert dropout_operators(program)


@pytest.mark.parametrize("name", ["mlp", "nn.TransformerEncoder", "bert, sdpa", "gpt-2, sdpa"])
def test_stays_without_dropout_in_training_mode(name: str) -> None:
    """Nobody can switch it on again: in training mode two seeds give one answer."""
    pytest.importorskip("transformers")
    entry = MODELS[name]
    model = freeze(entry.build(), entry.batch).model.train()
    first, second = (answers(model, arguments_of(entry.batch), seed=seed) for seed in (0, 1))
    assert is_equal(first, second)


def test_the_model_is_left_as_it_was() -> None:
    """Mode, layers, rates, weights and generators."""
    model = head(nn.Dropout(0.5), nn.LSTM(4, 4, 2, dropout=0.3).train())[:2]
    state = torch.get_rng_state()
    freeze(model, X)
    assert torch.equal(state, torch.get_rng_state())
    assert (True, nn.Dropout, 0.5) == (model.training, type(model[1]), model[1].p)


def test_names_what_was_removed() -> None:
    """A row for each place, with what became of it."""
    function = Calls(lambda x, m: F.dropout(x, m.drop_rate, m.training), drop_rate=0.3)
    model = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5), function)
    frozen = freeze(model, X)
    assert [
        ("1", "Dropout", "identity"),
        ("2.drop_rate", "rate", "rate set to 0"),
    ] == [(one.site, one.kind, one.how) for one in frozen.proof.removed]
    [call] = frozen.proof.idle_calls
    assert ("2.drop_rate", "dropout", 0.3) == (call.site, call.function, call.rate)
    assert call.where is not None
    assert re.fullmatch(r"tests/support/support_sites\.py:\d+", call.where)


@pytest.mark.parametrize(
    ("layers", "how"),
    [
        ([dropkit.nn.Dropout(0.5, mode="vanilla")], "folded into 2"),
        ([dropkit.nn.Dropout(0.75, mode="vanilla"), nn.Flatten()], "folded into 3"),
        ([dropkit.nn.Dropout(0.5, mode="vanilla"), nn.ReLU()], "folded into 0"),
        ([dropkit.nn.Dropout(0.3, mode="vanilla")], "kept as a multiplication by 0.699997"),
        (
            [nn.ReLU(), dropkit.nn.Dropout(0.5, mode="vanilla"), nn.Tanh()],
            "kept as a multiplication by 0.5",
        ),
    ],
)
def test_vanilla_scaling(layers: list[nn.Module], how: str) -> None:
    """It goes into the weight beside it where that changes no bit, and else stays a factor."""
    model = head(*layers)
    frozen = freeze(model, X)
    assert [how] == [one.how for one in frozen.proof.removed]
    assert torch.equal(model.eval()(X), frozen.model(X))


def test_vanilla_scaling_of_a_shared_weight_stays() -> None:
    """A weight that is used elsewhere too takes no factor."""
    model = head(dropkit.nn.Dropout(0.5, mode="vanilla"))
    model[2] = model[0]
    frozen = freeze(model, X)
    assert ["kept as a multiplication by 0.5"] == [one.how for one in frozen.proof.removed]
    assert torch.equal(model.eval()(X), frozen.model(X))


def test_vanilla_model() -> None:
    """A model that is nothing but such a layer."""
    frozen = freeze(dropkit.nn.Dropout(0.25, mode="vanilla"), X)
    assert torch.equal(X * 0.75, frozen.model(X))


def test_wrappers_are_what_they_held() -> None:
    """Dropped weights and learned rates are gone, and the keys are those of the plain modules."""
    model = nn.Sequential(
        dropkit.nn.ConcreteDropout(nn.Linear(4, 4), p=0.2),
        dropkit.nn.WeightDrop(nn.Linear(4, 2), "weight", p=0.5),
    )
    frozen = freeze(model, X)
    assert ["unwrapped", "unwrapped"] == [one.how for one in frozen.proof.removed]
    assert ["0.weight", "0.bias", "1.weight", "1.bias"] == list(frozen.model.state_dict())


class Halved(nn.Module):
    """A parametrization with dropout in it."""

    def forward(self, w: Tensor) -> Tensor:
        """Half the weight."""
        return F.dropout(w, 0.5, self.training) / 2


def test_parametrizations_are_materialized() -> None:
    """The weight is the value that was computed for it."""
    model = nn.Sequential(nn.Linear(4, 2))
    parametrize.register_parametrization(model[0], "weight", Halved())
    frozen = freeze(model, X)
    assert [("0.weight", "Halved", "materialized")] == [
        (one.site, one.kind, one.how) for one in frozen.proof.removed
    ]
    assert torch.equal(model.eval()[0].weight, frozen.model[0].weight)
    assert torch.equal(model(X), frozen.model(X))


def test_accelerated_and_compiled_models() -> None:
    """What dropkit or torch put around a model does not go into service."""
    model = head(nn.Dropout(0.5))
    with dropkit.accelerate(model):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # torch's, on its own tracer
            compiled = torch.compile(model)
        frozen = freeze(compiled, X)
    assert type(frozen.model) is nn.Sequential
    assert not frozen.model._forward_hooks
    assert not frozen.model._forward_pre_hooks


def test_a_model_that_cannot_be_exported_is_frozen_and_says_so() -> None:
    """The proof names what it does not show."""

    def branch(x: Tensor, _: nn.Module) -> Tensor:
        return x + 1 if x.sum() > 0 else x

    frozen = freeze(nn.Sequential(Calls(branch), nn.Dropout(0.5)), X + 2)
    [sentence] = frozen.proof.not_proved
    assert sentence.startswith("torch.export cannot take this model: ")
    assert (True, 0, None) == (
        frozen.proof.is_equal_to_eval,
        frozen.proof.draws,
        frozen.proof.dropout_operators,
    )


def test_a_language_model_with_its_cache() -> None:
    """Transformers hands on keys and values by default: the graph is made without, and says so."""
    transformers = pytest.importorskip("transformers")
    sizes = {"vocab_size": 64, "n_embd": 16, "n_layer": 1, "n_head": 2, "n_positions": 16}
    config = transformers.GPT2Config(**sizes, bos_token_id=1, eos_token_id=2)
    frozen = freeze(transformers.GPT2LMHeadModel(config), {"input_ids": torch.arange(8)[None]})
    assert 0 == frozen.proof.dropout_operators
    assert (
        "The graph was made with use_cache=False: it does not show the keys and values that the "
        "model hands on.",
    ) == frozen.proof.not_proved


def test_what_torchscript_compiled_stays() -> None:
    """In eval it draws nothing, and the rest is frozen around it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # torch's, on its own compiler
        inner = torch.jit.script(nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5)))
    frozen = freeze(nn.Sequential(nn.Dropout(0.5), inner), X)
    assert ["0"] == [one.site for one in frozen.proof.removed if one.how == "identity"]
    assert frozen.proof.is_equal_to_eval
