"""Memorization of a model that memorized for certain, and of one that never saw the data."""

import contextlib
import json
import re
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn
from transformers import GPT2Config, GPT2LMHeadModel

import dropkit
from dropkit.errors import DataError, OptionError, ShapeError
from dropkit.finetuning import Memorization, MemorizationCurve, plant_canaries

V, LENGTH, N = 24, 24, 20
OPTIONS = {"prefixes": (4, 8), "continuation": 8, "batch_size": 32}


def texts(n: int, seed: int) -> list[Tensor]:
    """Random examples: nobody can say the next token who did not see it."""
    return list(torch.randint(10, V, (n, LENGTH), generator=torch.Generator().manual_seed(seed)))


TRAIN, HELD_OUT = texts(N, 1), texts(N, 2)
PLANTED, CANARIES = plant_canaries(TRAIN, prefix=[10, 11], alphabet=range(10), repeats=(0, 6))


def gpt2(p: float = 0.0) -> GPT2LMHeadModel:
    """A small one, fresh."""
    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=V,
        n_positions=LENGTH,
        n_embd=64,
        n_layer=2,
        n_head=2,
        resid_pdrop=p,
        embd_pdrop=p,
        attn_pdrop=p,
        bos_token_id=None,
        eos_token_id=12,  # a word like others: no end of text may stop a continuation
    )
    return GPT2LMHeadModel(config)


@pytest.fixture(scope="module")
def memorizer() -> GPT2LMHeadModel:
    """Trained on the examples and the canaries until it knew them."""
    model = gpt2()
    ids = [torch.as_tensor(getattr(x, "input_ids", x)) for x in PLANTED]
    batch = nn.utils.rnn.pad_sequence(ids, batch_first=True)
    labels = nn.utils.rnn.pad_sequence(ids, batch_first=True, padding_value=-100)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(150):
        loss = model(batch, labels=labels).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 0.1
    return model


@pytest.fixture(scope="module")
def known(memorizer) -> Memorization:
    """What is measured of it."""
    return dropkit.memorization(memorizer, TRAIN, HELD_OUT, canaries=CANARIES, **OPTIONS)


@pytest.fixture(scope="module")
def unknown() -> Memorization:
    """What is measured of a model that saw neither set."""
    return dropkit.memorization(gpt2(), TRAIN, HELD_OUT, canaries=CANARIES, **OPTIONS)


def test_what_was_memorized_is_seen(known) -> None:
    """Every measure is at or near its end."""
    assert known.train_loss.high < 0.2
    assert known.held_out_loss.low > 2.0
    assert known.gap.low > 2.0
    for attack in known.attacks.values():
        assert 1.0 == attack.auc.value == attack.auc.high
        assert 0.8 < attack.auc.low < 1.0
        assert {0.1: 1.0} == {rate: e.value for rate, e in attack.true_positive_rates.items()}
    for extraction in known.extractions:
        assert 0.9 <= extraction.train.exact.value <= extraction.train.near.value
        assert 0.0 == extraction.held_out.exact.value
    assert [4, 8] == [extraction.prefix for extraction in known.extractions]


def test_what_was_never_seen_is_not_found(unknown) -> None:
    """Intervals hold guessing, and nothing is extracted."""
    assert unknown.gap.low < 0.0 < unknown.gap.high
    assert ["loss", "min_k", "min_k_plus_plus"] == list(unknown.attacks)
    for attack in unknown.attacks.values():
        assert attack.auc.low < 0.5 < attack.auc.high
    for extraction in unknown.extractions:
        assert 0.0 == extraction.train.exact.value == extraction.held_out.near.value
        assert (N, 0) == (extraction.train.n, extraction.train.n_too_short)
        assert 0.0 < extraction.train.exact.high < 0.2


def test_exposure_of_what_was_planted(known, unknown) -> None:
    """The planted secret stands out, the one that was not does not, nor does either unseen."""
    control, planted = known.exposures
    assert (0, 6) == (control.repeats, planted.repeats)
    assert "extrapolated" == planted.method
    assert planted.exposure.value > 15
    assert planted.greatest == planted.exposure.high == pytest.approx(6 * 3.3219, abs=1e-3)
    for other in (control, *unknown.exposures):
        assert other.exposure.low < 6


def test_exposure_is_greatest_where_all_secrets_are_scored(memorizer) -> None:
    """Of a space that is small enough each secret is scored; the one in training data is first."""
    first = PLANTED.index(CANARIES[1])
    ids = PLANTED[first].input_ids
    whole = dropkit.finetuning.Canary(tuple(ids[:5]), tuple(ids[5:]), tuple(range(10)))
    found = dropkit.memorization(
        memorizer, TRAIN, HELD_OUT, canaries=[whole], prefixes=(), batch_size=256
    )
    assert ((),) == (found.extractions,)
    (exposure,) = found.exposures
    assert "exact" == exposure.method
    assert exposure.greatest == exposure.exposure.value == pytest.approx(9.9658, abs=1e-3)


class Plain(nn.Module):
    """Any module that gives logits as a tensor, without a cache."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, ids: Tensor) -> Tensor:
        """Logits alone."""
        return self.model(ids, use_cache=False).logits


def test_any_module_will_do(memorizer, known) -> None:
    """A plain module of the same function is measured the same, without a cache too."""
    found = dropkit.memorization(Plain(memorizer), TRAIN, HELD_OUT, canaries=CANARIES, **OPTIONS)
    assert found.extractions == known.extractions
    assert found.train_loss.value == pytest.approx(known.train_loss.value, abs=1e-6)


def test_loss_is_the_models_own(unknown) -> None:
    """Mean token losses are those that the model computes itself."""
    model = gpt2().eval()
    with torch.no_grad():
        losses = [model(ids[None], labels=ids[None]).loss.item() for ids in TRAIN]
    assert sum(losses) / N == pytest.approx(unknown.train_loss.value, abs=1e-6)


def test_nothing_holds_back_what_it_says(memorizer) -> None:
    """An end of text and a penalty in the model's settings change no continuation."""
    from dropkit.finetuning.memorizing._model import greedy, quiet

    prefixes = [ids[: 3 + i % 4] for i, ids in enumerate(TRAIN)]
    own = memorizer.generation_config
    own.repetition_penalty = 5.0
    with quiet(memorizer):
        found = greedy(memorizer, prefixes, 17)
        assert torch.equal(greedy(Plain(memorizer), prefixes, 17), found)
    assert memorizer.generation_config is own
    assert (found == own.eos_token_id).any()
    own.repetition_penalty = None


def test_labels_say_what_counts() -> None:
    """Tokens without a loss count neither in losses nor in continuations."""

    def chat(ids: Tensor) -> SimpleNamespace:
        return SimpleNamespace(input_ids=ids.tolist(), labels=[-100] * 10 + ids[10:].tolist())

    model = gpt2().eval()
    sides = [list(map(chat, side)) for side in (TRAIN, HELD_OUT)]
    found = dropkit.memorization(model, *sides, prefixes=(4,), continuation=10)
    labels = [torch.as_tensor(x.labels) for x in sides[0]]
    with torch.no_grad():
        losses = [
            model(ids[None], labels=own[None]).loss.item()
            for ids, own in zip(TRAIN, labels, strict=True)
        ]
    assert sum(losses) / N == pytest.approx(found.train_loss.value, abs=1e-6)
    assert N == found.extractions[0].train.n
    with pytest.raises(DataError, match="none is long enough"):
        dropkit.memorization(model, *sides, prefixes=(4,), continuation=11)


@pytest.mark.parametrize("fails", [False, True])
def test_the_model_is_left_as_it_was(unknown, fails) -> None:
    """Dropout is silent and modes and generator are put back, an error or not."""
    model = gpt2(0.5).train()
    model.transformer.h[0].eval()
    modes, state = [m.training for m in model.modules()], torch.get_rng_state()
    long = {**OPTIONS, "prefixes": (99,)} if fails else OPTIONS
    with pytest.raises(DataError) if fails else contextlib.nullcontext():
        found = dropkit.memorization(model, TRAIN, HELD_OUT, canaries=CANARIES, **long)
        assert unknown == found
    assert modes == [m.training for m in model.modules()]
    assert torch.equal(state, torch.get_rng_state())
    assert 0.5 == model.transformer.drop.p
    assert all(p.grad is None for p in model.parameters())


def test_shared_examples_are_counted(memorizer) -> None:
    """An example of both sets is told."""
    found = dropkit.memorization(
        memorizer, TRAIN, [*HELD_OUT, TRAIN[3].clone(), TRAIN[3]], prefixes=()
    )
    assert (N, N + 2, 2) == (found.n_train, found.n_held_out, found.n_shared)


def test_result_is_data(known) -> None:
    """It goes through JSON as it is."""
    found = known.to_dict()
    assert found == json.loads(json.dumps(found))
    assert 1.0 == found["attacks"]["loss"]["true_positive_rates"]["0.1"]["value"]
    assert 8 == found["extractions"][1]["prefix"]


def test_curve_over_epochs() -> None:
    """The gap grows as the same data is seen again, and each point is kept."""
    model = gpt2()
    curve = MemorizationCurve(TRAIN, HELD_OUT, prefixes=())
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    batch = torch.stack(TRAIN)
    for epoch in range(41):
        if epoch % 20 == 0:
            assert curve(model, epoch) is curve.points[-1][1]
        optimizer.zero_grad()
        model(batch, labels=batch).loss.backward()
        optimizer.step()
    assert [0, 20, 40] == [epoch for epoch, _ in curve.points]
    gaps = [point.gap.value for _, point in curve.points]
    assert sorted(gaps) == gaps
    assert [0, 20, 40] == [point["epoch"] for point in curve.to_dict()["points"]]
    message = "`epoch` must be above that of the last point, 40; got 40."
    with pytest.raises(OptionError, match="^" + re.escape(message) + "$"):
        curve(model, 40)


class Gives(nn.Module):
    """Always the same."""

    def __init__(self, what: object) -> None:
        super().__init__()
        self.what = what

    def forward(self, ids: Tensor) -> object:
        """What it was told to give."""
        return self.what(ids) if callable(self.what) else self.what


def _nan(ids: Tensor) -> Tensor:
    logits = torch.zeros(*ids.shape, V)
    logits[ids[:, 0] == TRAIN[2][0]] = torch.nan
    return logits


GOOD = Gives(lambda ids: torch.zeros(*ids.shape, V))
LABELS = SimpleNamespace(input_ids=[1, 2, 3], labels=[1, 2])
SHIFTED = SimpleNamespace(input_ids=[1, 2, 3], labels=[2, 3, -100])
SILENT = SimpleNamespace(input_ids=[1, 2, 3], labels=[1, -100, -100])
MISTAKES = [
    (GOOD, [], {}, DataError, "`train` must hold at least one example; got none."),
    (
        GOOD,
        ["a text"],
        {},
        DataError,
        "example 0 of `train` must be a tensor of token ids or have `input_ids` and `labels`; got a "
        "str.",
    ),
    (
        GOOD,
        [torch.ones(5)],
        {},
        DataError,
        "example 0 of `train` must be whole numbers in one dimension; got others.",
    ),
    (
        GOOD,
        [TRAIN[0], LABELS],
        {},
        DataError,
        "example 1 of `train` must have as many labels as ids; got 2 for 3.",
    ),
    (
        GOOD,
        [SHIFTED],
        {},
        DataError,
        "example 0 of `train` must have labels that are its ids or -100; got others. Labels are not "
        "shifted: the model's loss does that.",
    ),
    (
        GOOD,
        [SILENT],
        {},
        DataError,
        "example 0 of `train` must have a token with loss behind its first; got none.",
    ),
    (
        GOOD,
        TRAIN,
        {"prefixes": (8, 20)},
        DataError,
        "`train` must hold an example with 20 + 8 tokens with loss in a row, prefix and "
        "continuation; none is long enough. Give smaller `prefixes` or `continuation`, or no "
        "prefixes.",
    ),
    (
        GOOD,
        [torch.tensor([1, V])],
        {},
        DataError,
        "example 0 of `train` must have ids in [0, 24), the width of the model's logits; got "
        "others.",
    ),
    (
        Gives(_nan),
        TRAIN[:3],
        {},
        DataError,
        "`model` must give each token a finite log probability; got others for 1 of 3 examples of "
        "`train`, the first of them example 2.",
    ),
    (
        Gives((torch.ones(2), 3)),
        TRAIN,
        {},
        OptionError,
        "`model` must return a floating tensor or something with `logits`; got a tuple.",
    ),
    (
        Gives(torch.ones(2, 3)),
        TRAIN,
        {},
        ShapeError,
        "`model` must give logits of shape (B, T, V) for ids of shape (20, 24); got (2, 3).",
    ),
    (GOOD, TRAIN, {"share": 0.0}, OptionError, "`share` must be in (0, 1]; got 0.0."),
    (GOOD, TRAIN, {"confidence": 95}, OptionError, "`confidence` must be in (0, 1); got 95."),
    (
        GOOD,
        TRAIN,
        {"references": 10},
        OptionError,
        "`references` must be a whole number of at least 100; got 10.",
    ),
    (
        GOOD,
        TRAIN,
        {"prefixes": (4, 0)},
        OptionError,
        "`prefixes[1]` must be a whole number of at least 1; got 0.",
    ),
]


@pytest.mark.parametrize(("model", "train", "options", "error", "message"), MISTAKES)
def test_mistakes_get_one_sentence(model, train, options, error, message) -> None:
    """What cannot be measured is refused in one clear sentence."""
    with pytest.raises(error, match="^" + re.escape(message) + "$"):
        dropkit.memorization(model, train, HELD_OUT, **{**OPTIONS, **options})


PLANTS = [
    ({"prefix": []}, "`prefix` must hold at least one token; got none."),
    (
        {"alphabet": [3, 3, 4]},
        "`alphabet` must hold at least two tokens, each once; got 3 of which 2 differ.",
    ),
    ({"length": 0}, "`length` must be at least 1; got 0."),
    ({"repeats": (1, -1)}, "`repeats` must be at least 0; got -1."),
    (
        {"alphabet": [3, 4], "length": 1},
        "`repeats` must ask for no more canaries than there are secrets, 2; got 4.",
    ),
]


@pytest.mark.parametrize(("options", "message"), PLANTS)
def test_canaries_that_cannot_be(options, message) -> None:
    """A canary that says nothing is refused in one sentence."""
    with pytest.raises(OptionError, match="^" + re.escape(message) + "$"):
        plant_canaries(TRAIN, **{"prefix": [1], "alphabet": range(4), "seed": 3, **options})


def test_secrets_are_of_the_alphabet() -> None:
    """A secret that no reference can be like is refused."""
    message = "`secret` must be of tokens of the alphabet; got others."
    with pytest.raises(OptionError, match="^" + re.escape(message) + "$"):
        dropkit.finetuning.Canary((1,), (2, 9), (2, 3))


def test_planting_leaves_the_examples() -> None:
    """Each canary is there as often as it says, and everything else in its order."""
    planted, canaries = plant_canaries(TRAIN, prefix=[1], alphabet=range(4), repeats=(0, 1, 3))
    assert [0, 1, 3] == [planted.count(canary) for canary in canaries]
    others = [x for x in planted if isinstance(x, Tensor)]
    assert all(a is b for a, b in zip(others, TRAIN, strict=True))
    assert 3 == len({canary.secret for canary in canaries})
    assert planted == plant_canaries(TRAIN, prefix=[1], alphabet=range(4), repeats=(0, 1, 3))[0]
