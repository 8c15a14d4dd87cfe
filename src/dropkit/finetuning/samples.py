"""What a model answers to a few held-out questions."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from dropkit.finetuning.data import Conversation

N_SAMPLES, N_TOKENS = 4, 48


def answers(
    model: nn.Module, tokenizer: Any, conversations: Sequence[Conversation]
) -> list[dict[str, str]]:
    """Greedy answers to the first turn of the first conversations, beside the true ones.

    Returns:
        ``{"question", "expected", "answer"}`` each.
    """
    found: list[dict[str, str]] = []
    was_training = model.training
    model.eval()
    for conversation in conversations:
        if len(found) == N_SAMPLES:
            break
        at = next(
            (k for k, turn in enumerate(conversation.messages) if turn.role == "assistant"), 0
        )
        if at == 0:
            continue
        asked = conversation.messages[:at]
        found.append(
            {
                "question": asked[-1].content,
                "expected": conversation.messages[at].content,
                "answer": answer(
                    model, tokenizer, [{"role": m.role, "content": m.content} for m in asked]
                ),
            }
        )
    model.train(was_training)
    return found


def answer(model: Any, tokenizer: Any, turns: list[dict[str, str]]) -> str:
    """The likeliest answer to `turns`, at most `N_TOKENS` long."""
    inputs = tokenizer.apply_chat_template(
        turns, add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    device = next(model.parameters()).device
    inputs = {name: x.to(device) for name, x in inputs.items() if name != "token_type_ids"}
    with torch.no_grad():
        said = model.generate(
            **inputs,
            max_new_tokens=N_TOKENS,
            do_sample=False,
            pad_token_id=tokenizer.pad_token_id or tokenizer.eos_token_id,
        )
    ids = said[0, inputs["input_ids"].shape[1] :]
    return str(tokenizer.decode(ids, skip_special_tokens=True)).strip()
