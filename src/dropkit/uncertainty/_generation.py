"""How far sub-networks of a language model disagree about what to answer."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from dropkit.core.address import as_u64
from dropkit.errors import OptionError, ShapeError
from dropkit.uncertainty._disagreement import Disagreement, scored, summarized
from dropkit.uncertainty._groups import checked_vectors, equal_groups, similar_groups
from dropkit.uncertainty._reading import Readers
from dropkit.uncertainty._sampling import Only

#: From tokens to text, such as a tokenizer's ``decode``.
Decode = Callable[[Sequence[int]], str]
#: From `n` texts to vectors ``(n, D)``.
Embed = Callable[[list[str]], Any]


def generation_disagreement(  # noqa: PLR0913 - of which all but two may be left out
    model: nn.Module,
    prompts: Any,
    samples: int = 8,
    *,
    max_new_tokens: int = 32,
    temperature: float = 0.0,
    only: Only = None,
    seed: int = 0,
    end_ids: int | Iterable[int] | None = None,
    decode: Decode | None = None,
    embed: Embed | None = None,
    similarity: float = 0.9,
) -> tuple[Disagreement, ...]:
    """Let many sub-networks of a language model answer, and say how far they part.

    Each answers each prompt by itself, with a cache; then all of them say how likely they hold
    each of the answers. A sub-network is one function of the text: the masks of a position depend
    on `seed`, sample, site and position, and stay as they are while the answer grows, so that with
    a cache, without one, and in one forward over the whole text it gives the same. Each prompt is
    run without padding, so that what is said of it does not depend on the others. The model and
    torch's generators are left as they were to the bit.

    Args:
        model: A causal language model of transformers, or one that is called like it: with
            `input_ids`, `attention_mask` and `use_cache`, and gives `logits` and maybe
            `past_key_values`, with which it is then called too.
        prompts: What a tokenizer gives, a mapping with `input_ids` ``(B, T)`` and, where prompts
            are padded, `attention_mask`; or ``(B, T)`` tokens; or a sequence of ``(T,)`` tokens.
        samples: How many sub-networks, at least 2.
        max_new_tokens: The longest answer.
        temperature: 0 takes the likeliest token; above 0 tokens are drawn, by a name of their own,
            so that an answer does not depend on how many others there are.
        only: Glob patterns over the names that `find_sites` gives; None for all sites.
        seed: A whole number in [0, 2**64).
        end_ids: Tokens that end an answer; None takes those of the model's `generation_config`.
        decode: From tokens to text; answers of equal text are then one group.
        embed: From texts to vectors; answers whose vectors are similar are then one group, and
            `semantic_entropy` is given. Needs `decode`.
        similarity: The cosine from which on two texts say the same.

    Raises:
        OptionError: `samples`, `max_new_tokens`, `temperature`, `similarity` or `embed` is not as
            above.
        ShapeError: There is no prompt, one is empty, or `embed` gives no vector a text.
        DataError: A sub-network's logits, or a vector, is not finite.
        SiteError: The model has no dropout, `only` matches none, or no mask was drawn.
        AddressError: `seed` is no such number.

    Source:
        Malinin and Gales 2021, ICLR, arXiv:2002.07650, for length-normalized entropy and the
        token-level mutual information, with token probabilities averaged over the ensemble
        ("products of expectations"). Kuhn et al. 2023, ICLR, arXiv:2302.09664, and Farquhar et al.
        2024, Nature 630, for semantic entropy; there groups are by entailment.
    """
    _check(samples, max_new_tokens, temperature, similarity)
    if embed is not None and decode is None:
        raise OptionError("`embed` needs `decode`, which turns tokens into the texts it embeds.")
    as_u64(seed, "seed")
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    texts = [text.to(device) for text in _texts(prompts)]
    ends = _ends(model, end_ids)

    def readers(at_once: int) -> Readers:
        return Readers(
            model,
            range(samples),
            seed=seed,
            only=only,
            temperature=temperature,
            at_once=at_once,
        )

    with readers(samples) as together:
        at_once = samples if together.can_share(texts[0]) else 1
    found: list[Disagreement] = []
    with readers(at_once) as opened:
        for text in texts:
            answers = opened.answers(text, max_new_tokens, ends)
            scores = {}
            for answer in dict.fromkeys(answers):
                tokens = torch.tensor(answer, device=device)
                scores[answer] = scored(opened.log_probabilities(text, tokens), tokens)
            groups = _groups(answers, decode, embed, similarity)
            found.append(
                summarized(
                    answers,
                    [scores[answer] for answer in answers],
                    groups,
                    is_semantic=embed is not None,
                )
            )
    return tuple(found)


def disagreement(model: nn.Module, prompt: Any, samples: int = 8, **how: Any) -> Disagreement:
    """`generation_disagreement` for one prompt.

    Args:
        model: A causal language model.
        prompt: What a tokenizer gives for one text, or ``(T,)`` or ``(1, T)`` tokens.
        samples: How many sub-networks, at least 2.
        how: The keywords of `generation_disagreement`.

    Raises:
        ShapeError: There is more than one prompt.
        DkError: Whatever `generation_disagreement` refuses.
    """
    texts = _texts(prompt)
    if len(texts) != 1:
        raise ShapeError(f"`prompt` must be one text; got {len(texts)}.")
    return generation_disagreement(model, texts, samples, **how)[0]


def _check(samples: int, longest: int, temperature: float, similarity: float) -> None:
    if not isinstance(cast(object, samples), int) or samples < 2:
        raise OptionError(f"`samples` must be a whole number of at least 2; got {samples!r}.")
    if not isinstance(cast(object, longest), int) or longest < 1:
        raise OptionError(f"`max_new_tokens` must be a whole number from 1 on; got {longest!r}.")
    if not 0.0 <= temperature < float("inf"):  # nan fails this too
        raise OptionError(f"`temperature` must be 0 or above; got {temperature!r}.")
    if not -1.0 <= similarity <= 1.0:
        raise OptionError(f"`similarity` must be a cosine in [-1, 1]; got {similarity!r}.")


def _texts(prompts: Any) -> list[Tensor]:
    """The tokens of each prompt without padding: ``(T,)`` int64."""
    masks: Any = None
    if isinstance(prompts, Mapping):
        if "input_ids" not in prompts:
            raise ShapeError("`prompts` must hold `input_ids`; got " + _listed(prompts) + ".")
        prompts, masks = prompts["input_ids"], prompts.get("attention_mask")
    if isinstance(prompts, Tensor):
        if prompts.dim() not in (1, 2):
            raise ShapeError(
                f"`prompts` must be tokens (T,) or (B, T); got shape {tuple(prompts.shape)}."
            )
        prompts = prompts.unsqueeze(0) if prompts.dim() == 1 else prompts
    elif prompts and isinstance(prompts[0], int):
        prompts = [prompts]
    texts = [torch.as_tensor(text) for text in prompts]
    if masks is not None:
        masks = torch.as_tensor(masks).reshape(len(texts), -1).bool()
        texts = [text[mask] for text, mask in zip(texts, masks, strict=True)]
    if not texts or any(text.numel() == 0 for text in texts):
        raise ShapeError("`prompts` must hold at least one text of at least one token.")
    if any(text.dim() != 1 or text.is_floating_point() for text in texts):
        raise ShapeError("`prompts` must be whole numbers, a row of them for each text.")
    return [text.long() for text in texts]


def _listed(names: Iterable[Any]) -> str:
    return ", ".join(map(str, names)) or "nothing"


def _ends(model: nn.Module, given: int | Iterable[int] | None) -> frozenset[int]:
    if given is None:
        given = getattr(getattr(model, "generation_config", None), "eos_token_id", None)
    if given is None:
        return frozenset()
    return frozenset([given] if isinstance(given, int) else given)


def _groups(
    answers: Sequence[tuple[int, ...]],
    decode: Decode | None,
    embed: Embed | None,
    similarity: float,
) -> list[int]:
    if decode is None:
        return equal_groups(answers)
    texts = [decode(list(answer)) for answer in answers]
    if embed is None:
        return equal_groups(texts)
    return similar_groups(checked_vectors(embed(texts), len(texts)), similarity)
