"""What frozen blocks say is remembered where it is always the same, and nowhere else."""

import warnings
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import dropkit
from dropkit.finetuning.prefix import remember_prefix

IDS = torch.arange(24).reshape(3, 8) % 19 + 3
MASK = torch.tensor([[1] * 8, [1] * 5 + [0] * 3, [1] * 6 + [0] * 2])
LABELS = IDS.masked_fill(MASK == 0, -100)


def _adapted(base: Any, **options: Any) -> Any:
    import peft

    config = peft.LoraConfig(
        r=2, lora_dropout=0.5, init_lora_weights=False, layers_to_transform=[2, 3], **options
    )
    torch.manual_seed(1)
    with warnings.catch_warnings():
        # PEFT asks transformers for an attribute by its old name.
        warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing.*")
        return peft.get_peft_model(base, config)


def _llama(**options: Any) -> Any:
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=32, hidden_size=16, intermediate_size=32, num_hidden_layers=4,
        num_attention_heads=2, num_key_value_heads=1, use_cache=False, **options,
    )  # fmt: skip
    return _adapted(LlamaForCausalLM(config), target_modules=["q_proj", "down_proj"])


def _gpt2(rate: float = 0.0) -> Any:
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=32, n_embd=16, n_layer=4, n_head=2, use_cache=False,
        resid_pdrop=rate, embd_pdrop=rate, attn_pdrop=rate,
    )  # fmt: skip
    return _adapted(GPT2LMHeadModel(config), target_modules=["c_attn"], fan_in_fan_out=True)


def _bert() -> Any:
    from transformers import BertConfig, BertForSequenceClassification

    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=32, hidden_size=16, num_hidden_layers=4, num_attention_heads=2,
        intermediate_size=32, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
    )  # fmt: skip
    return _adapted(
        BertForSequenceClassification(config), target_modules=["query"], task_type="SEQ_CLS"
    )


def _step(model: Any, labels: Tensor) -> tuple[Tensor, list[Tensor]]:
    model.train()
    model.zero_grad()
    with dropkit.accelerate(model), dropkit.masks_at(seed=3):
        loss = model(input_ids=IDS, attention_mask=MASK, labels=labels).loss
    loss.backward()
    return loss.detach(), [p.grad.clone() for p in model.parameters() if p.grad is not None]


def _count(model: Any) -> list[int]:
    """How many texts each block has run, from now on."""
    base = model.get_base_model().base_model
    blocks = next(m for m in base.modules() if isinstance(m, nn.ModuleList) and len(m) == 4)
    counts = [0] * 4
    for k, block in enumerate(blocks):
        attention = next(m for m in block.modules() if "Attention" in type(m).__name__)

        def count(_: Any, given: Any, named: Any, k: int = k) -> None:
            hidden = given[0] if given else named["hidden_states"]
            counts[k] += len(hidden)

        attention.register_forward_pre_hook(count, with_kwargs=True)
    return counts


@pytest.mark.parametrize("make", [_llama, _gpt2, _bert])
def test_same_loss_and_gradients(make: Any) -> None:
    """As through all blocks, but for rounding, under the same masks; the frozen ones run once."""
    model = make()
    labels = torch.tensor([0, 1, 0]) if make is _bert else LABELS
    loss, gradients = _step(model, labels)
    counts = _count(model)
    with remember_prefix(model) as n:
        assert 2 == n
        found = [_step(model, labels) for _ in range(4)]
    assert [4, 4, 12, 12] == counts  # three texts, the first of them twice
    for loss_now, gradients_now in found:
        torch.testing.assert_close(loss_now, loss, rtol=1e-5, atol=1e-6)
        for now, before in zip(gradients_now, gradients, strict=True):
            torch.testing.assert_close(now, before, rtol=1e-3, atol=1e-6)


def test_bits_do_not_depend_on_the_batch() -> None:
    """A text that is first met alone says the same bits later as one that is met in a batch."""
    texts = {"input_ids": IDS, "attention_mask": MASK}
    results = []
    for is_warm in (False, True):
        model = _llama().eval()
        with remember_prefix(model), torch.no_grad():
            if is_warm:
                for row, mask in zip(IDS, MASK, strict=True):
                    n = int(mask.sum())
                    model(input_ids=row[None, :n], attention_mask=mask[None, :n])
            results.append(model(**texts).logits)
    assert torch.equal(*results)


def test_full_memory_changes_no_bit() -> None:
    """What finds no room is computed each time, in the same way."""
    model = _llama().eval()
    results = []
    for most_mib in (100.0, 0.0):
        counts = _count(model)
        with remember_prefix(model, most_mib=most_mib), torch.no_grad():
            results += [model(input_ids=IDS, attention_mask=MASK).logits for _ in range(2)]
        assert (4 if most_mib else 12) == counts[0]
    assert all(torch.equal(results[0], one) for one in results)


def test_generation_runs_through_all_blocks() -> None:
    """With keys and values kept, and texts that are padded in front."""
    model = _llama().eval()
    asked = {"input_ids": IDS, "attention_mask": MASK.flip(1), "max_new_tokens": 5}
    expected = model.generate(**asked, do_sample=False, pad_token_id=0)
    with remember_prefix(model) as n:
        assert 2 == n
        got = model.generate(**asked, do_sample=False, pad_token_id=0)
    assert torch.equal(expected, got)


def _embedding_is_trained() -> Any:
    model = _llama()
    model.get_input_embeddings().weight.requires_grad_(True)
    return model


def _full() -> Any:
    return _llama().requires_grad_(True)


@pytest.mark.parametrize(
    "make",
    [lambda: _gpt2(0.1), lambda: _llama(attention_dropout=0.1), _embedding_is_trained, _full,
     lambda: nn.Linear(2, 2)],
    ids=["dropout in the base", "dropout in attention", "embedding", "full", "plain module"],
)  # fmt: skip
def test_nothing_is_remembered_where_it_could_be_wrong(make: Any) -> None:
    """Blocks below the first trained one that draw masks, or change."""
    with remember_prefix(make()) as n:
        assert 0 == n


def test_dropout_written_in_code_is_seen() -> None:
    """A mask that is in no list of sites: two runs differ, and all blocks run from then on."""
    model = _llama()
    mlp = model.get_base_model().model.layers[0].mlp
    plain = mlp.forward
    mlp.forward = lambda x: nn.functional.dropout(plain(x), 0.5, training=mlp.training)
    counts = _count(model)
    with remember_prefix(model) as n:
        assert 2 == n
        losses = {float(_step(model, LABELS)[0])}
        torch.manual_seed(8)
        before = list(counts)
        model.train()
        losses |= {
            float(model(input_ids=IDS, attention_mask=MASK, labels=LABELS).loss.detach())
            for _ in range(3)
        }
    assert 4 == len(losses)
    assert [9, 9, 9, 9] == [now - then for now, then in zip(counts, before, strict=True)]


def test_everything_is_put_back() -> None:
    """Also where an error is raised: no hook, no attribute."""
    model = _llama()
    with pytest.raises(KeyError), remember_prefix(model):
        raise KeyError
    body = model.get_base_model().model
    assert not any("forward" in vars(block) for block in body.layers)
    assert not body._forward_pre_hooks
    assert not body._forward_hooks
