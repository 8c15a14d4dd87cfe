"""Small language models with their tokenizers, made in a test: a folder as transformers saves it."""

import json
import warnings
from pathlib import Path
from typing import Any

import torch

CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content']"
    " + '<|im_end|>' + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
_TOWNS = ["Paris", "Rome", "Oslo", "Lima", "Cairo", "Delhi", "Quito", "Dakar", "Hanoi", "Sofia"]
_THINGS = ["bread", "lamps", "boats", "books", "shoes"]


def write_chats(path: Path, n: int = 40) -> Path:
    """`n` made-up conversations as JSON lines."""
    lines = []
    for k in range(n):
        town, thing = _TOWNS[k % 10], _THINGS[k // 10 % 5]
        turns = [
            {"role": "user", "content": f"Where do I find {thing} in {town}?"},
            {
                "role": "assistant",
                "content": f"In {town} the {thing} are sold at number {37 * k % 91} of the market.",
            },
        ]
        lines.append(json.dumps({"id": f"chat {k}", "messages": turns}))
    path.write_text("\n".join(lines) + "\n", "utf-8")
    return path


def new_tokenizer(template: str | None = CHATML, **tokens: str | None) -> Any:
    """Bytes, merged on the conversations' words."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    built = Tokenizer(models.BPE())
    built.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    built.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    words = [f"Where do I find {thing} in {town}?" for thing in _THINGS for town in _TOWNS]
    words += ["the are sold at number of market. user assistant"] * 20
    built.train_from_iterator(words, trainer)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tokenizer = PreTrainedTokenizerFast(
            tokenizer_object=built,
            **{"eos_token": "<|im_end|>", "bos_token": "<|endoftext|>", **tokens},
        )
    tokenizer.chat_template = template
    return tokenizer


def write_model(folder: Path, *, template: str | None = CHATML, rows: int = 400) -> Path:
    """A Llama of two layers, 32 wide, with random weights, and its tokenizer."""
    from transformers import LlamaConfig, LlamaForCausalLM

    with torch.random.fork_rng():
        torch.manual_seed(5)
        config = LlamaConfig(
            vocab_size=rows,
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=128,
            bos_token_id=0,
            eos_token_id=2,
        )
        LlamaForCausalLM(config).save_pretrained(folder)
    new_tokenizer(template).save_pretrained(folder)
    return folder
