"""Rates of another kind of network."""

import torch
from torch import Tensor, nn

from support_cases import Case
from support_entry import ids, numbers


def mlp(p: float) -> nn.Sequential:
    """A perceptron."""
    return nn.Sequential(nn.Linear(16, 64), nn.ReLU(), nn.Dropout(p), nn.Linear(64, 4))


def convolutional(p: float) -> nn.Sequential:
    """Channels are dropped between two convolutions."""
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1),
        nn.ReLU(),
        nn.Dropout2d(p),
        nn.Conv2d(16, 16, 3, padding=1),
        nn.Flatten(),
        nn.Linear(16 * 64, 4),
    )


def encoder(p: float) -> nn.Module:
    """Two layers of a transformer and a head."""
    layer = nn.TransformerEncoderLayer(16, 2, 32, dropout=p, batch_first=True)
    return nn.Sequential(
        nn.TransformerEncoder(layer, 2, enable_nested_tensor=False), nn.Linear(16, 4)
    )


def bert(p: float) -> nn.Module:
    """A classifier, at one rate."""
    from transformers import BertConfig, BertForSequenceClassification

    return BertForSequenceClassification(
        BertConfig(
            vocab_size=64,
            hidden_size=16,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=32,
            max_position_embeddings=32,
            hidden_dropout_prob=p,
            attention_probs_dropout_prob=0.1,
            classifier_dropout=0.5,
        )
    )


class Recurrent(nn.Module):
    """Dropout between the layers of an LSTM and behind it."""

    def __init__(self, p: float) -> None:
        super().__init__()
        self.embed, self.drop = nn.Embedding(64, 16), nn.Dropout(p)
        self.rnn = nn.LSTM(16, 16, num_layers=2, dropout=p, batch_first=True)
        self.head = nn.Linear(16, 64)

    def forward(self, tokens: Tensor) -> Tensor:
        """``(batch, steps)`` to ``(batch, steps, 64)``."""
        return self.head(self.drop(self.rnn(self.embed(tokens))[0]))


class Depth(nn.Module):
    """A branch that examples lose, at a rate that only branches have."""

    def __init__(self) -> None:
        super().__init__()
        self.branch, self.head = nn.Linear(16, 16), nn.Linear(16, 4)

    def forward(self, x: Tensor) -> Tensor:
        """``(batch, 16)`` to ``(batch, 4)``."""
        y = self.branch(x)
        if self.training:
            y = y * (torch.rand(len(x), 1) < 0.1) / 0.1
        return self.head(x + y)


VECTORS, IMAGES, SEQUENCES, TOKENS = (
    numbers(8, 16),
    numbers(4, 3, 8, 8),
    numbers(4, 8, 16),
    ids(4, 9),
)
BAD = [
    Case("chance to keep", lambda: mlp(0.9), VECTORS),
    Case("feature maps", lambda: convolutional(0.7), IMAGES),
    Case("encoder", lambda: encoder(0.5), SEQUENCES),
    Case("bert", lambda: bert(0.5), {"input_ids": TOKENS}),
    Case("recurrent", lambda: Recurrent(0.85), TOKENS),
]
GOOD = [
    Case("fully connected", lambda: mlp(0.5), VECTORS),
    Case("few channels", lambda: convolutional(0.2), IMAGES),
    Case("transformer", lambda: encoder(0.1), SEQUENCES),
    Case("bert with a head of 0.5", lambda: bert(0.1), {"input_ids": TOKENS}),
    Case("awd-lstm's", lambda: Recurrent(0.65), TOKENS),
    Case("depth", Depth, VECTORS),
]
