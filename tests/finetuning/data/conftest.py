"""What the tests of data share: small tokenizers, trained here."""

import warnings
from collections.abc import Callable
from typing import Any

import pytest

_LINES = [
    "What is the capital of France? Paris, of course.",
    "How do I reset my password? Open the settings, then choose security.",
    "Hello there! How are you doing today? I am fine, thank you :)",
    "user assistant system [INST] [/INST] ### Question Answer",
    "  two  spaces\n\n\nthree lines\t\ttabs",
]
#: Builds a tokenizer that writes with a template.
NewTokenizer = Callable[..., Any]


def _byte_level(specials: list[str]) -> Any:
    """Like GPT-2's: bytes, merged; it spells every text."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=specials,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_LINES * 4, trainer)
    return tokenizer


def _metaspace(specials: list[str]) -> Any:
    """Like Llama 2's: words after a space, and a space of its own before a text."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    tokenizer.decoder = decoders.Metaspace(prepend_scheme="always")
    trainer = trainers.BpeTrainer(
        vocab_size=300, special_tokens=["<unk>", *specials], show_progress=False
    )
    tokenizer.train_from_iterator(_LINES * 4, trainer)
    return tokenizer


@pytest.fixture(scope="session")
def new_tokenizer() -> NewTokenizer:
    """A tokenizer of transformers with this chat template."""
    from transformers import PreTrainedTokenizerFast

    specials = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    built: dict[str, Any] = {}

    def new(template: str | None, kind: str = "bytes", **tokens: str | None) -> Any:
        if kind not in built:
            built["bytes"] = _byte_level(specials)
            built["metaspace"] = _metaspace(specials)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tokenizer = PreTrainedTokenizerFast(
                tokenizer_object=built[kind],
                **{"eos_token": "<|im_end|>", "bos_token": "<|endoftext|>", **tokens},
            )
        tokenizer.chat_template = template
        return tokenizer

    return new
