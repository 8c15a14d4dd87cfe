"""Pretraining that meets each text once."""

from torch import nn

from support_cases import Case
from support_entry import ids, numbers
from support_models import MODELS


def language_model(p: float = 0.1) -> nn.Sequential:
    """Tokens to tokens."""
    layer = nn.TransformerEncoderLayer(16, 2, 32, dropout=p, batch_first=True)
    return nn.Sequential(
        nn.Embedding(64, 16),
        nn.TransformerEncoder(layer, 2, enable_nested_tensor=False),
        nn.Linear(16, 64),
    )


def fine_tuned() -> nn.Sequential:
    """Whose embeddings are frozen."""
    model = language_model()
    model[0].requires_grad_(requires_grad=False)
    return model


def once(_: nn.Module) -> dict[str, float]:
    """Says that there is one epoch."""
    return {"epochs": 1.0}


TOKENS = ids(4, 9)
GPT2 = MODELS["gpt-2, sdpa"]
BAD = [
    Case("encoder", language_model, TOKENS, options=once),
    Case("gpt-2", GPT2.make, GPT2.batch, GPT2.loss, options=once),
]
GOOD = [
    Case("nothing was said", language_model, TOKENS),
    Case("three epochs", language_model, TOKENS, options=lambda _: {"epochs": 3}),
    Case("fine-tuning", fine_tuned, TOKENS, options=once),
    Case(
        "no language",
        lambda: nn.Sequential(nn.Linear(16, 64), nn.GELU(), nn.Dropout(0.2), nn.Linear(64, 4)),
        numbers(8, 16),
        options=once,
    ),
]
