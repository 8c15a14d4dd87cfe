"""Small models of Hugging Face's from configurations, with what is known of their dropout.

Every rate that a configuration has is above 0, and where it has several they differ. Nothing is
downloaded, and transformers is imported when a model is built.
"""

import warnings
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - everybody's name for it
from torch import Tensor, nn

from support_entry import Entry, ids, numbers

TOKENS = ids(2, 12)
#: The second example is two tokens shorter.
PADDED = {
    "input_ids": TOKENS,
    "attention_mask": (torch.arange(12) < torch.tensor([[12], [10]])).long(),
}
CAUSAL = {"input_ids": TOKENS}
PAIR = {"input_ids": ids(2, 10), "decoder_input_ids": TOKENS}
#: Classification by BART reads the state at the end token, here 2.
ENDED = {"input_ids": torch.cat([TOKENS, torch.full((2, 1), 2)], dim=1)}
IMAGES = {"pixel_values": numbers(2, 3, 16, 16)}
SPEECH = {"input_features": numbers(2, 8, 32), "decoder_input_ids": TOKENS}


def classified(output: Any) -> Tensor:
    """Cross-entropy of one label an example."""
    return F.cross_entropy(output.logits, torch.arange(len(output.logits)))


def continued(output: Any) -> Tensor:
    """Cross-entropy of the next token of `TOKENS`."""
    return F.cross_entropy(output.logits[:, :-1].flatten(0, 1), TOKENS[:, 1:].flatten())


def built(model: str, attention: str, **fields: Any) -> nn.Module:
    """The class `model` from a fresh configuration of `fields`, attention computed as said."""
    import transformers

    kind = getattr(transformers, model)
    return kind(kind.config_class(attn_implementation=attention, **fields))


BERT_SIZES = {
    "vocab_size": 64,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 32,
    "num_labels": 3,
}
BERT_RATES = {
    "hidden_dropout_prob": 0.1,
    "attention_probs_dropout_prob": 0.2,
    "classifier_dropout": 0.3,
}


def bert(attention: str) -> nn.Module:
    """A classifier."""
    return built("BertForSequenceClassification", attention, **BERT_SIZES, **BERT_RATES)


def roberta(attention: str) -> nn.Module:
    """A classifier with a head of two layers."""
    return built("RobertaForSequenceClassification", attention, **BERT_SIZES, **BERT_RATES)


def distilbert(attention: str) -> nn.Module:
    """A classifier."""
    return built(
        "DistilBertForSequenceClassification",
        attention,
        vocab_size=64,
        dim=16,
        n_layers=2,
        n_heads=2,
        hidden_dim=32,
        max_position_embeddings=32,
        num_labels=3,
        dropout=0.1,
        attention_dropout=0.2,
        seq_classif_dropout=0.3,
    )


def gpt2(attention: str) -> nn.Module:
    """A language model."""
    return built(
        "GPT2LMHeadModel",
        attention,
        vocab_size=64,
        n_positions=32,
        n_embd=16,
        n_layer=2,
        n_head=2,
        bos_token_id=1,
        eos_token_id=2,
        use_cache=False,
        embd_pdrop=0.1,
        resid_pdrop=0.2,
        attn_pdrop=0.3,
    )


def gpt_neo(attention: str) -> nn.Module:
    """A language model, one layer global and one local."""
    return built(
        "GPTNeoForCausalLM",
        attention,
        vocab_size=64,
        max_position_embeddings=32,
        hidden_size=16,
        num_layers=2,
        attention_types=[[["global", "local"], 1]],
        window_size=4,
        num_heads=2,
        bos_token_id=1,
        eos_token_id=2,
        use_cache=False,
        embed_dropout=0.1,
        resid_dropout=0.2,
        attention_dropout=0.3,
    )


def t5(attention: str) -> nn.Module:
    """An encoder and a decoder."""
    return built(
        "T5ForConditionalGeneration",
        attention,
        vocab_size=64,
        d_model=16,
        d_kv=8,
        d_ff=32,
        num_layers=2,
        num_heads=2,
        use_cache=False,
        dropout_rate=0.1,
    )


SEQ2SEQ_SIZES = {
    "vocab_size": 64,
    "d_model": 16,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 32,
    "decoder_ffn_dim": 32,
    "use_cache": False,
}
SEQ2SEQ_RATES = {
    "dropout": 0.1,
    "attention_dropout": 0.15,
    "activation_dropout": 0.2,
    "encoder_layerdrop": 0.25,
    "decoder_layerdrop": 0.3,
}


def bart(attention: str) -> nn.Module:
    """A classifier over an encoder and a decoder."""
    return built(
        "BartForSequenceClassification",
        attention,
        **SEQ2SEQ_SIZES,
        **SEQ2SEQ_RATES,
        max_position_embeddings=32,
        num_labels=3,
        classifier_dropout=0.35,
    )


def whisper(attention: str) -> nn.Module:
    """Speech to tokens."""
    return built(
        "WhisperForConditionalGeneration",
        attention,
        **SEQ2SEQ_SIZES,
        **SEQ2SEQ_RATES,
        num_mel_bins=8,
        max_source_positions=16,
        max_target_positions=32,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        decoder_start_token_id=1,
    )


LLAMA = {
    "vocab_size": 64,
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "max_position_embeddings": 32,
    "use_cache": False,
    "attention_dropout": 0.1,
}


def llama(attention: str) -> nn.Module:
    """A language model whose two heads share keys and values."""
    return built("LlamaForCausalLM", attention, **LLAMA)


def mistral(attention: str) -> nn.Module:
    """A language model that sees four tokens back."""
    return built("MistralForCausalLM", attention, **LLAMA, sliding_window=4)


def lora(attention: str) -> nn.Module:
    """Llama with adapters on queries and values; only these learn."""
    import peft

    config = peft.LoraConfig(r=4, lora_dropout=0.2, target_modules=["q_proj", "v_proj"])
    with warnings.catch_warnings():
        # peft 0.21 reads an attribute that transformers 5.24 has renamed
        warnings.simplefilter("ignore", FutureWarning)
        return peft.get_peft_model(llama(attention), config)


def vit(attention: str) -> nn.Module:
    """A classifier of 4 patches an image."""
    return built(
        "ViTForImageClassification",
        attention,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        image_size=16,
        patch_size=8,
        num_labels=3,
        hidden_dropout_prob=0.1,
        attention_probs_dropout_prob=0.2,
    )


#: name, make, batch, loss, places, by_hand
_FAMILIES: tuple[tuple[str, Any, dict[str, Tensor], Any, int, int], ...] = (
    # embeddings 1 + 2 x (probabilities 1 + BertSelfOutput 1 + BertOutput 1) + classifier 1
    ("bert", bert, PADDED, classified, 8, 0),
    # as BERT; the head's one module is called twice
    ("roberta", roberta, PADDED, classified, 8, 0),
    # embeddings 1 + 2 x (probabilities 1 + FFN 1) + classifier 1
    ("distilbert", distilbert, PADDED, classified, 6, 0),
    # embeddings 1 + 2 x (probabilities 1 + attention's output 1 + MLP 1)
    ("gpt-2", gpt2, CAUSAL, continued, 7, 0),
    # as GPT-2
    ("gpt-neo", gpt_neo, CAUSAL, continued, 7, 0),
    # a stack's one module, called at its start and its end, 2 x 1
    # + encoder 2 x (probabilities 1 + self-attention's output 1 + inside and after the FFN 2)
    # + decoder 2 x (as the encoder 4 + probabilities and output of cross-attention 2)
    ("t5", t5, PAIR, continued, 22, 0),
    # encoder: embeddings 1 + LayerDrop 1 + 2 x (probabilities 1 + three calls 3)
    # + decoder: embeddings 1 + LayerDrop 1 + 2 x (probabilities 2 + four calls 4)
    # + the head's one module, called twice, 1
    ("bart", bart, ENDED, classified, 25, 2),
    # as BART, without a head
    ("whisper", whisper, SPEECH, continued, 24, 2),
    # probabilities, one a layer
    ("llama", llama, CAUSAL, continued, 2, 0),
    ("mistral", mistral, CAUSAL, continued, 2, 0),
    # Llama's 2 + 2 layers x 2 adapters
    ("lora on llama", lora, CAUSAL, continued, 6, 0),
    # embeddings 1 + 2 x (probabilities 1 + the layer's one module, called twice, 1)
    ("vit", vit, IMAGES, classified, 5, 0),
)

TRANSFORMERS = tuple(
    Entry(
        f"{name}, {attention}",
        # bound now, not when called
        lambda make=make, attention=attention: make(attention),
        batch,
        loss,
        places,
        by_hand,
        ("transformers", "peft") if make is lora else ("transformers",),
    )
    for name, make, batch, loss, places, by_hand in _FAMILIES
    # GPT-Neo has no other attention than its own, in eager form
    for attention in (("eager",) if make is gpt_neo else ("eager", "sdpa"))
)
