"""Sub-networks of a language model agree where it was taught one answer, and part where two."""

import re
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import dropkit
from dropkit.core.naming import named_by
from dropkit.errors import DataError, DkError, OptionError, ShapeError, SiteError
from dropkit.uncertainty import disagreement, generation_disagreement
from dropkit.uncertainty._disagreement import scored
from dropkit.uncertainty._groups import group_entropy, similar_groups
from dropkit.uncertainty._reading import Readers
from dropkit.uncertainty._sampling import awakened
from dropkit.uncertainty._unrolled import Unrolled

transformers = pytest.importorskip("transformers")

END = 19
SURE, TORN = [3, 4, 5], [3, 4, 6]
ANSWERS = {5: ([7, 8, 9],), 6: ([10, 11, 12], [13, 14, 15])}
SIZES: dict[str, Any] = {"vocab_size": 20, "bos_token_id": 1, "eos_token_id": END}


def gpt2(attention: str = "sdpa", p: float = 0.1) -> nn.Module:
    """Two layers, with dropout everywhere."""
    torch.manual_seed(0)
    rates = {"embd_pdrop": p, "resid_pdrop": p, "attn_pdrop": p}
    sizes = {"n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": 32}
    config = transformers.GPT2Config(**SIZES, **sizes, **rates, attn_implementation=attention)
    return transformers.GPT2LMHeadModel(config).eval()


def llama(attention: str = "sdpa") -> nn.Module:
    """Two layers, with dropout in attention; two heads share keys and values."""
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        **SIZES,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=32,
        attention_dropout=0.3,
        attn_implementation=attention,
    )
    return transformers.LlamaForCausalLM(config).eval()


@pytest.fixture(scope="module")
def taught() -> nn.Module:
    """A model that was taught one answer to one prompt, and two to another."""
    model = gpt2().train()
    texts = torch.tensor(
        [[*SURE, *ANSWERS[5][0], END]] * 2 + [[*TORN, *answer, END] for answer in ANSWERS[6]]
    )
    labels = texts.clone()
    labels[:, :3] = -100
    optimizer = torch.optim.Adam(model.parameters(), 5e-3)
    for step in range(120):
        with dropkit.masks_at(0, step=step):
            loss = model(input_ids=texts, labels=labels).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model.eval()


def scaled(model: nn.Module) -> nn.Module:
    """The model with weights so large that its sub-networks say different things."""
    with torch.no_grad():
        for p in model.parameters():
            p.mul_(3.0)
    return model


def test_sure_and_torn(taught: nn.Module) -> None:
    """One answer where one was taught; several, and disagreement, where two contradict."""
    sure, torn = generation_disagreement(taught, [SURE, TORN], 24, max_new_tokens=6)
    assert {(*ANSWERS[5][0], END)} == set(sure.answers)
    assert {(*answer, END) for answer in ANSWERS[6]} <= set(torn.answers)
    assert 0.0 == sure.variation_ratio.value
    assert torn.variation_ratio.value > 0.1
    assert sure.entropy.value < 0.1
    assert torn.entropy.value > 0.1 > 5 * sure.entropy.value
    assert torn.mutual_information.value > 2 * sure.mutual_information.value


def test_drawn_answers(taught: nn.Module) -> None:
    """At temperature 1 the entropy is that of the answers: a coin's, over four tokens."""
    (torn,) = generation_disagreement(taught, [TORN], 64, max_new_tokens=6, temperature=1.0)
    error = torn.entropy.standard_error
    assert torn.entropy.value == pytest.approx(0.6931 / 4, abs=0.1 + 4 * error)
    assert 0.2 < torn.variation_ratio.value < 0.7


def test_alone_or_not() -> None:
    """What is said of a prompt does not depend on other prompts, padding or the order."""
    model = scaled(gpt2())
    batch = {
        "input_ids": torch.tensor([[0, 0, *SURE], [8, 9, 2, 7, 6]]),
        "attention_mask": torch.tensor([[0, 0, 1, 1, 1], [1, 1, 1, 1, 1]]),
    }
    how = {"max_new_tokens": 5, "temperature": 0.7}
    one, two = generation_disagreement(model, batch, 4, **how)
    assert one == disagreement(model, torch.tensor(SURE), 4, **how)
    assert two == disagreement(model, {"input_ids": [[8, 9, 2, 7, 6]]}, 4, **how)
    assert (two, one) == generation_disagreement(model, [[8, 9, 2, 7, 6], SURE], 4, **how)


@pytest.mark.parametrize("temperature", [0.0, 1.0])
@pytest.mark.parametrize("build", [gpt2, llama])
def test_one_by_one(build: Any, temperature: float) -> None:
    """A sub-network answers the same among others as alone, and with more of them."""
    model, prompt = scaled(build()), torch.tensor(SURE)
    how: dict[str, Any] = {"seed": 3, "only": None, "temperature": temperature}

    def answers(samples: Sequence[int], at_once: int) -> list[tuple[int, ...]]:
        with Readers(model, samples, at_once=at_once, **how) as readers:
            return readers.answers(prompt, 6, frozenset())

    together = answers(range(6), 6)
    assert len(set(together)) > 1
    assert together == answers(range(6), 1)
    assert together[2:4] == answers([2, 3], 2)


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("build", [gpt2, llama])
def test_one_function(build: Any, attention: str) -> None:
    """With a cache, without, and in one forward, a sub-network holds the same of each token."""
    model = scaled(build(attention))
    text = torch.tensor([[3, 4, 5, 9, 12, 2, 7]])
    found = []
    with torch.no_grad(), awakened(model, None):
        for cuts in ([7], [3, 1, 1, 1, 1], [1, 4, 2]):
            scope, cache, at, logits = Unrolled(1, [5]), {}, 0, []
            with named_by(scope):
                for length in cuts:
                    scope.reads(at, length)
                    out = model(input_ids=text[:, at : at + length], use_cache=True, **cache)
                    name = "cache" if hasattr(out, "cache") else "past_key_values"
                    cache, at = {name: getattr(out, name)}, at + length
                    logits.append(out.logits)
            found.append(torch.cat(logits, 1))
        plain = model(input_ids=text, use_cache=False).logits
    torch.testing.assert_close(found[1], found[0], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found[2], found[0], rtol=1e-4, atol=1e-5)
    assert not torch.allclose(plain, found[0], rtol=1e-2, atol=1e-2)


def test_positions_differ() -> None:
    """Masks of two positions, and of two sub-networks at one, are not the same."""
    model = nn.Sequential(nn.Dropout(0.5))
    scope = Unrolled(0, [0, 1])
    with awakened(model, None), named_by(scope):
        scope.reads(4, 2)
        y = model(torch.ones(2, 2, 64))
        scope.reads(5, 1)
        again = model(torch.ones(2, 1, 64))
    assert torch.equal(y[:, 1:], again)
    assert 4 == len({tuple(row.tolist()) for row in y.flatten(0, 1)})


def test_is_generate() -> None:
    """The likeliest answers are those of transformers' own `generate` without dropout."""
    model = scaled(gpt2(p=1e-4))  # so rare that no mask drops
    text = torch.tensor([SURE])
    mask = torch.ones_like(text)
    out = model.generate(text, attention_mask=mask, do_sample=False, max_new_tokens=6)
    expected = tuple(out[0, 3:].tolist())
    answers = disagreement(model, text, 2, max_new_tokens=6).answers
    assert (expected, expected) == answers


def test_meaning(taught: nn.Module) -> None:
    """Answers of similar vectors are one group."""

    def embed(texts: list[str]) -> Tensor:
        return torch.tensor([[1.0, 0.1 * (text[0] == "1")] for text in texts])

    def decode(tokens: Sequence[int]) -> str:
        return " ".join(map(str, tokens))

    how: dict[str, Any] = {"max_new_tokens": 6, "decode": decode, "embed": embed}
    near = disagreement(taught, TORN, 8, similarity=0.9, **how)
    far = disagreement(taught, TORN, 8, similarity=0.9999, **how)
    assert near.semantic_entropy is not None
    assert far.semantic_entropy is not None
    assert {0} == set(near.groups)
    assert (0.0, 0.0) == (near.semantic_entropy.value, near.variation_ratio.value)
    assert near.entropy == far.entropy


def test_groups() -> None:
    """A text joins the first group whose first member is near; entropy is that of the shares."""
    vectors = torch.tensor([[1.0, 0.0], [0.0, 1.0], [2.0, 0.1], [0.1, 3.0]])
    assert [0, 1, 0, 1] == similar_groups(vectors, 0.9)
    assert [0, 1, 2, 3] == similar_groups(vectors, 0.99999)
    entropy, error = group_entropy([0, 1, 0, 1])
    assert (entropy, error) == (pytest.approx(0.6931, abs=1e-4), pytest.approx(0.0, abs=1e-7))
    entropy, error = group_entropy([0, 0, 0, 1])
    assert entropy == pytest.approx(0.5623, abs=1e-4)
    assert error == pytest.approx(0.4757 / 2, abs=1e-4)  # log 3 * sqrt(3 / 16), over sqrt(4)


def test_scores_by_hand() -> None:
    """Surprise is of the mean over sub-networks; what each holds for itself is its own entropy."""
    shares = torch.tensor([[[0.5, 0.5]], [[1.0, 0.0]]])
    found = scored([shares[:1].log(), shares[1:].clamp(min=1e-30).log()], torch.tensor([0]))
    assert found.surprise == pytest.approx(0.2877, abs=1e-4)  # -log(3/4)
    assert found.own.tolist() == pytest.approx([0.6931, 0.0], abs=1e-4)
    mutual = float((found.crossed - found.own).mean())
    assert mutual == pytest.approx(0.5623 - 0.3466, abs=1e-4)  # H(3/4) - log(2) / 2


def test_plain_data(taught: nn.Module) -> None:
    """The result is frozen, and goes into JSON."""
    found = disagreement(taught, SURE, 3, max_new_tokens=2)
    said = found.to_dict()
    assert [[7, 8]] * 3 == said["answers"]
    assert (3, None) == (said["samples_used"], said["semantic_entropy"])
    with pytest.raises(AttributeError):
        found.samples_used = 4


def test_untouched(taught: nn.Module) -> None:
    """Weights, modes and torch's generator are as before."""
    before = [p.clone() for p in taught.parameters()], torch.get_rng_state()
    taught.train()
    disagreement(taught, TORN, 2, max_new_tokens=2, temperature=1.0)
    assert all(module.training for module in taught.modules())
    taught.eval()
    assert all(map(torch.equal, before[0], taught.parameters()))
    assert torch.equal(before[1], torch.get_rng_state())


class Tiny(nn.Module):
    """A language model without a cache, of one sum over what it has read."""

    def __init__(self, *, drops: str) -> None:
        super().__init__()
        self.table, self.head = nn.Embedding(20, 16), nn.Linear(16, 20)
        self.drop, self.drops = nn.Dropout(0.5), drops

    def forward(self, input_ids: Tensor, **_: Any) -> Any:
        """Logits ``(B, T, 20)``."""
        x = self.table(input_ids).cumsum(1)
        if self.drops == "weight":  # in one forward all sub-networks would share its mask
            return _Output(x @ nn.functional.dropout(self.head.weight, 0.5, self.drop.training).T)
        if self.drops == "nan":
            x = x * torch.nan
        return _Output(self.head(self.drop(x)))


class _Output:
    def __init__(self, logits: Tensor) -> None:
        self.logits = logits


@pytest.mark.parametrize("drops", ["units", "weight"])
def test_without_a_cache(drops: str) -> None:
    """A model without a cache reads all again; one whose weights are dropped runs one by one."""
    torch.manual_seed(1)
    model = scaled(Tiny(drops=drops))
    many = disagreement(model, SURE, 4, max_new_tokens=4)
    with Readers(model, range(4), seed=0, only=None, temperature=0.0, at_once=1) as readers:
        assert list(many.answers) == readers.answers(torch.tensor(SURE), 4, frozenset())
    assert len(set(many.answers)) > 1


NOTHING_DRAWN = (
    "`model` must draw a mask at a site that `only` names; none was drawn. Many language models "
    "come with rates of 0: look with dropkit.find_sites(model, batch), and set some with "
    "dropkit.set_rates."
)


@pytest.mark.parametrize(
    ("prompts", "how", "error", "message"),
    [
        ([SURE], {"samples": 1}, OptionError, "`samples` must be a whole number of at least 2; got 1."),
        ([SURE], {"max_new_tokens": 0}, OptionError, "`max_new_tokens` must be a whole number from 1 on; got 0."),
        ([SURE], {"temperature": -1.0}, OptionError, "`temperature` must be 0 or above; got -1.0."),
        ([SURE], {"similarity": 2}, OptionError, "`similarity` must be a cosine in [-1, 1]; got 2."),
        ([SURE], {"embed": len}, OptionError, "`embed` needs `decode`, which turns tokens into the texts it embeds."),
        ([], {}, ShapeError, "`prompts` must hold at least one text of at least one token."),
        ([[]], {}, ShapeError, "`prompts` must hold at least one text of at least one token."),
        (torch.ones(2, 0), {}, ShapeError, "`prompts` must hold at least one text of at least one token."),
        (torch.ones(1, 2), {}, ShapeError, "`prompts` must be whole numbers, a row of them for each text."),
        (torch.ones(1, 1, 2), {}, ShapeError, "`prompts` must be tokens (T,) or (B, T); got shape (1, 1, 2)."),
        ({"ids": [SURE]}, {}, ShapeError, "`prompts` must hold `input_ids`; got ids."),
        (
            [SURE],
            {"decode": str, "embed": lambda _: torch.ones(3)},
            ShapeError,
            "`embed` must give one vector a text, (8, D); got shape (3,).",
        ),
        (
            [SURE],
            {"decode": str, "embed": lambda _: torch.zeros(8, 2)},
            DataError,
            "`embed` must give finite vectors that are not zero; got others.",
        ),
    ],
)  # fmt: skip
def test_bad_input(prompts: Any, how: Any, error: type[DkError], message: str) -> None:
    """What cannot be answered is refused in one sentence."""
    with pytest.raises(error, match="^" + re.escape(message) + "$"):
        generation_disagreement(gpt2(), prompts, **({"max_new_tokens": 2} | how))


@pytest.mark.parametrize(
    ("model", "error", "message"),
    [
        (gpt2(p=0.0), SiteError, NOTHING_DRAWN),
        (
            Tiny(drops="nan"),
            DataError,
            "`model` must give finite logits; got nan or an infinity in sample 7.",
        ),
    ],
)
def test_bad_model(model: nn.Module, error: type[DkError], message: str) -> None:
    """Likewise a model that drops nothing, and one that gives nan."""
    with pytest.raises(error, match="^" + re.escape(message) + "$"):
        disagreement(model, SURE)


def test_two_prompts() -> None:
    """`disagreement` takes one prompt."""
    with pytest.raises(ShapeError, match=r"^`prompt` must be one text; got 2\.$"):
        disagreement(gpt2(), [SURE, TORN])
