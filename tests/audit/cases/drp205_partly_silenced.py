"""Dropout that is missed by those who switch it off."""

from torch import Tensor, nn

import dropkit
from support_cases import Case
from support_entry import ids, numbers


def encoder() -> nn.TransformerEncoder:
    """Two layers."""
    layer = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.1, batch_first=True)
    return nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)


class Mixed(nn.Module):
    """Modules of several kinds."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.drop = nn.Embedding(64, 16), nn.Dropout(0.1)
        self.recurrent = nn.LSTM(16, 16, num_layers=2, dropout=0.2, batch_first=True)
        self.inner, self.drop_inner = nn.Linear(16, 16), nn.Dropout(0.1)
        self.alpha = nn.AlphaDropout(0.1)
        self.head = nn.Linear(16, 4)

    def forward(self, tokens: Tensor) -> Tensor:
        """``(batch, steps)`` to ``(batch, steps, 4)``."""
        x = self.recurrent(self.drop(self.embed(tokens)))[0]
        return self.head(self.alpha(nn.functional.selu(self.drop_inner(self.inner(x)))))


def disabled(model: nn.Module) -> nn.Module:
    """What preference tuning does before it compares two models."""
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    return model


def silenced(model: nn.Module) -> nn.Module:
    """All dropout off."""
    dropkit.silence(model)
    return model


SEQUENCES, TOKENS = numbers(2, 6, 16), ids(4, 9)
BAD = [
    Case("transformer", lambda: disabled(encoder()), SEQUENCES, fault="TRL, LlamaFactory#10779"),
    Case("lstm and alpha", lambda: disabled(Mixed()), TOKENS, fault="TRL, unsloth-zoo#830"),
]
GOOD = [
    Case("as built", encoder, SEQUENCES),
    Case("silence", lambda: silenced(encoder()), SEQUENCES),
]
