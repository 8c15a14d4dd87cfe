"""A frozen part that still drops."""

import torch
from torch import Tensor, nn

from support_cases import Case
from support_entry import numbers


class Tagger(nn.Module):
    """A head on an encoder that was trained before."""

    def __init__(self, how: str) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.1, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(16, 4)
        self.how = how
        if how in ("frozen", "in eval"):
            self.encoder.requires_grad_(requires_grad=False)
        if how == "in eval":
            self.encoder.eval()

    def train(self, mode: bool = True) -> "Tagger":
        """Keep a frozen encoder in eval."""
        super().train(mode)
        if self.how == "in eval":
            self.encoder.eval()
        return self

    def forward(self, x: Tensor) -> Tensor:
        """``(batch, steps, 16)`` to ``(batch, steps, 4)``."""
        with torch.set_grad_enabled(self.how != "no grad" and torch.is_grad_enabled()):
            h = self.encoder(x)
        return self.head(h)


class Adapted(nn.Module):
    """A frozen layer with an adapter in front of it, so that gradients pass through."""

    def __init__(self) -> None:
        super().__init__()
        self.adapter = nn.Linear(16, 16)
        self.frozen = nn.Sequential(
            nn.Linear(16, 32), nn.GELU(), nn.Dropout(0.1), nn.Linear(32, 16)
        ).requires_grad_(requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        """``(..., 16)`` to the same shape."""
        return self.frozen(self.adapter(x))


class FrozenEmbedding(nn.Module):
    """Dropout behind frozen vectors, in front of layers that learn."""

    def __init__(self) -> None:
        super().__init__()
        embedding = nn.Embedding(32, 16).requires_grad_(requires_grad=False)
        self.embed = nn.Sequential(embedding, nn.Dropout(0.1))
        self.head = nn.Linear(16, 4)

    def forward(self, x: Tensor) -> Tensor:
        """Tokens ``(batch, steps)`` to ``(batch, steps, 4)``."""
        return self.head(self.embed(x))


def lower_layer() -> nn.Module:
    """The first of two layers is frozen."""
    layer = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.1, batch_first=True)
    model = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
    model.layers[0].requires_grad_(requires_grad=False)
    return model


SEQUENCES = numbers(2, 6, 16)
BAD = [
    Case("no parameter learns", lambda: Tagger("frozen"), SEQUENCES, fault="allennlp#4895"),
    Case("lower layer", lower_layer, SEQUENCES),
    Case("no gradients", lambda: Tagger("no grad"), SEQUENCES, fault="allennlp#4895"),
]
GOOD = [
    Case("all learns", lambda: Tagger("all"), SEQUENCES),
    Case("frozen in eval", lambda: Tagger("in eval"), SEQUENCES),
    Case("adapter in front", Adapted, SEQUENCES, fault="alpaca-lora#347"),
    Case("frozen embedding", FrozenEmbedding, torch.arange(12).reshape(2, 6)),
    Case("wholly frozen", lambda: Tagger("all").requires_grad_(requires_grad=False), SEQUENCES),
]
