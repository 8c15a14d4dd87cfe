"""Models of torch alone, with what is known of their dropout."""

import torch
import torch.nn.functional as F  # noqa: N812 - everybody's name for it
from torch import Tensor, nn

from support_entry import Entry, ids, numbers
from support_networks import (
    AWDLSTM,
    Bernoulli,
    DropPath,
    Functional,
    LayerDrop,
    Recurrent,
    resnet18,
)

VECTORS = numbers(8, 16)
IMAGES = numbers(4, 3, 16, 16)
SEQUENCES = numbers(4, 8, 16)
TOKENS = ids(4, 9)


def classified(logits: Tensor) -> Tensor:
    """Cross-entropy of ``(batch, classes)`` with labels that go round."""
    return F.cross_entropy(logits, torch.arange(len(logits)) % logits.size(1))


def continued(logits: Tensor) -> Tensor:
    """Cross-entropy of ``(batch, steps, vocabulary)`` with the next token of `TOKENS`."""
    return F.cross_entropy(logits[:, :-1].flatten(0, 1), TOKENS[:, 1:].flatten())


def squared(y: Tensor) -> Tensor:
    """How far `y` is from a wave of its shape."""
    return F.mse_loss(y, numbers(*y.shape))


def conv_net(*, before_batch_norm: bool) -> nn.Sequential:
    """Channel dropout in front of a batch norm, which is a fault, or behind the last one."""
    drop = nn.Dropout2d(0.2)
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1),
        *([drop] if before_batch_norm else []),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        *([] if before_batch_norm else [drop]),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(64, 4),
    )


def mlp() -> nn.Sequential:
    """Some 280,000 weights for eight examples."""
    return nn.Sequential(
        nn.Linear(16, 512),
        nn.ReLU(),
        nn.Dropout(0.2),
        nn.Linear(512, 512),
        nn.ReLU(),
        nn.Dropout(0.5),
        nn.Linear(512, 4),
    )


def encoder() -> nn.TransformerEncoder:
    """Two layers."""
    layer = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.1, batch_first=True)
    return nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)


def stochastic_depth() -> nn.Sequential:
    """Three branches, the later ones lost more often."""
    return nn.Sequential(*(DropPath(16, p) for p in (0.1, 0.2, 0.3)), nn.Linear(16, 4))


TORCH = (
    Entry("mlp", mlp, VECTORS, classified, places=2),
    Entry("resnet-18", resnet18, IMAGES, classified, places=0),
    Entry("resnet-18, dropout", lambda: resnet18(0.2), IMAGES, classified, places=1),
    Entry(
        "dropout2d before batch norm",
        lambda: conv_net(before_batch_norm=True),
        IMAGES,
        classified,
        places=1,
    ),
    Entry(
        "dropout2d after batch norm",
        lambda: conv_net(before_batch_norm=False),
        IMAGES,
        classified,
        places=1,
    ),
    # 1 rows of the embedding + 3 locked (input, hidden, output), these by hand
    # + 2 recurrent weights, one a layer
    Entry("awd-lstm", AWDLSTM, TOKENS, continued, places=6, by_hand=4),
    Entry("nn.LSTM", Recurrent, TOKENS, classified, places=1),
    # 2 x (attention 1 + dropout, dropout1, dropout2 3)
    Entry("nn.TransformerEncoder", encoder, SEQUENCES, squared, places=8),
    # the encoder's 8 + 2 x (attention 2 + dropout, dropout1, dropout2, dropout3 4)
    Entry(
        "nn.Transformer",
        lambda: nn.Transformer(16, 2, 2, 2, 32, dropout=0.1, batch_first=True),
        (SEQUENCES, numbers(4, 6, 16)),
        squared,
        places=20,
    ),
    Entry("functional", Functional, SEQUENCES, classified, places=3),
    Entry("bernoulli", Bernoulli, VECTORS, classified, places=1, by_hand=1),
    # one a block
    Entry("stochastic depth", stochastic_depth, VECTORS, classified, places=3, by_hand=3),
    # one expression in one loop, whatever the number of layers
    Entry("layer drop", LayerDrop, VECTORS, classified, places=1, by_hand=1),
)
