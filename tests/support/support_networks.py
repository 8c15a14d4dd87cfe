"""Networks of torch alone: the architectures of the zoo that no package brings."""

import torch
import torch.nn.functional as F  # noqa: N812 - everybody's name for it
from torch import Tensor, nn


class Block(nn.Module):
    """The residual block of ResNet-18.

    Source:
        He et al. 2016, CVPR, arXiv:1512.03385.
    """

    def __init__(self, channels: int, out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, out, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(out)
        self.conv2 = nn.Conv2d(out, out, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(out)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or channels != out:
            self.shortcut = nn.Sequential(
                nn.Conv2d(channels, out, 1, stride, bias=False), nn.BatchNorm2d(out)
            )

    def forward(self, x: Tensor) -> Tensor:
        """``(batch, channels, height, width)`` to as many rows of `out` channels."""
        y = self.bn1(self.conv1(x)).relu()
        return (self.bn2(self.conv2(y)) + self.shortcut(x)).relu()


def resnet18(p: float | None = None, width: int = 8, classes: int = 4) -> nn.Sequential:
    """ResNet-18 with the stem for small images, an eighth as wide; dropout, if any, at the head."""
    blocks: list[nn.Module] = []
    channels = width
    for out, stride in ((width, 1), (2 * width, 2), (4 * width, 2), (8 * width, 2)):
        blocks += [Block(channels, out, stride), Block(out, out, 1)]
        channels = out
    return nn.Sequential(
        nn.Conv2d(3, width, 3, 1, 1, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(),
        *blocks,
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        *([] if p is None else [nn.Dropout(p)]),
        nn.Linear(8 * width, classes),
    )


class LockedDropout(nn.Module):
    """One mask for all steps of a sequence ``(batch, steps, features)``."""

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        """Drop the same features at each step."""
        if not self.training or self.p == 0.0:
            return x
        mask = x.new_empty(x.size(0), 1, x.size(2)).bernoulli_(1 - self.p)
        return x * mask / (1 - self.p)


class WeightDropLSTM(nn.Module):
    """An LSTM whose recurrent weights lose entries, the same ones at each step."""

    def __init__(self, inputs: int, hidden: int, p: float) -> None:
        super().__init__()
        self.p = p
        self.inward = nn.Linear(inputs, 4 * hidden)
        self.weight_hh = nn.Parameter(torch.empty(4 * hidden, hidden).uniform_(-0.2, 0.2))

    def forward(self, x: Tensor) -> Tensor:
        """``(batch, steps, inputs)`` to ``(batch, steps, hidden)``."""
        weight = F.dropout(self.weight_hh, self.p, self.training)
        h = c = x.new_zeros(x.size(0), self.weight_hh.size(1))
        hs = []
        for step in self.inward(x).unbind(1):
            i, f, g, o = (step + h @ weight.T).chunk(4, dim=1)
            c = f.sigmoid() * c + i.sigmoid() * g.tanh()
            h = o.sigmoid() * c.tanh()
            hs.append(h)
        return torch.stack(hs, dim=1)


class AWDLSTM(nn.Module):
    """A language model with five kinds of dropout.

    Source:
        Merity et al. 2018, ICLR, arXiv:1708.02182.
    """

    def __init__(self, vocabulary: int = 64, hidden: int = 16) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, hidden)
        self.embedding_p = 0.05
        self.drop_input = LockedDropout(0.1)
        self.first = WeightDropLSTM(hidden, hidden, 0.3)
        self.drop_hidden = LockedDropout(0.15)
        self.second = WeightDropLSTM(hidden, hidden, 0.3)
        self.drop_output = LockedDropout(0.2)
        self.head = nn.Linear(hidden, vocabulary)
        self.head.weight = self.embedding.weight

    def forward(self, tokens: Tensor) -> Tensor:
        """``(batch, steps)`` to logits ``(batch, steps, vocabulary)``."""
        weight = self.embedding.weight
        if self.training:
            mask = weight.new_empty(weight.size(0), 1).bernoulli_(1 - self.embedding_p)
            weight = weight * mask / (1 - self.embedding_p)
        x = self.drop_input(F.embedding(tokens, weight))
        x = self.drop_hidden(self.first(x))
        return self.head(self.drop_output(self.second(x)))


class Recurrent(nn.Module):
    """A classifier over ``nn.LSTM``, which drops between its layers."""

    def __init__(self, vocabulary: int = 64, hidden: int = 16, classes: int = 4) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, hidden)
        self.lstm = nn.LSTM(hidden, hidden, num_layers=2, dropout=0.3, batch_first=True)
        self.head = nn.Linear(hidden, classes)

    def forward(self, tokens: Tensor) -> Tensor:
        """``(batch, steps)`` to ``(batch, classes)``."""
        return self.head(self.lstm(self.embedding(tokens))[0][:, -1])


class Functional(nn.Module):
    """Dropout as calls of functions: a literal rate, a rate in an attribute, and attention's."""

    def __init__(self, hidden: int = 16, classes: int = 4) -> None:
        super().__init__()
        self.rate = 0.3
        self.attention_rate = 0.1
        self.qkv = nn.Linear(hidden, 3 * hidden)
        self.inner = nn.Linear(hidden, hidden)
        self.head = nn.Linear(hidden, classes)

    def forward(self, x: Tensor) -> Tensor:
        """``(batch, steps, hidden)`` to ``(batch, classes)``."""
        x = F.dropout(x, 0.2, self.training)
        q, k, v = self.qkv(x).unflatten(-1, (3, 2, -1)).permute(2, 0, 3, 1, 4)
        x = x + F.scaled_dot_product_attention(
            q, k, v, dropout_p=self.attention_rate if self.training else 0.0
        ).transpose(1, 2).flatten(2)
        x = F.dropout(self.inner(x).relu(), p=self.rate, training=self.training)
        return self.head(x.mean(1))


class Bernoulli(nn.Module):
    """A mask of one's own, from ``torch.bernoulli``."""

    def __init__(self, inputs: int = 16, hidden: int = 32, classes: int = 4) -> None:
        super().__init__()
        self.keep = 0.8
        self.inner = nn.Linear(inputs, hidden)
        self.head = nn.Linear(hidden, classes)

    def forward(self, x: Tensor) -> Tensor:
        """``(batch, inputs)`` to ``(batch, classes)``."""
        x = self.inner(x).relu()
        if self.training:
            x = x * torch.bernoulli(torch.full_like(x, self.keep)) / self.keep
        return self.head(x)


class DropPath(nn.Module):
    """A residual branch that single examples lose: stochastic depth.

    Source:
        Huang et al. 2016, ECCV, arXiv:1603.09382.
    """

    def __init__(self, hidden: int, drop_prob: float) -> None:
        super().__init__()
        self.drop_prob = drop_prob
        self.branch = nn.Sequential(nn.Linear(hidden, hidden), nn.Tanh())

    def forward(self, x: Tensor) -> Tensor:
        """``(batch, hidden)`` to the same."""
        y = self.branch(x)
        if self.training and self.drop_prob > 0.0:
            keep = 1 - self.drop_prob
            y = y * (torch.rand(len(x), 1, device=x.device) < keep) / keep
        return x + y


class LayerDrop(nn.Module):
    """Layers that a whole batch skips.

    Source:
        Fan et al. 2020, ICLR, arXiv:1909.11556.
    """

    def __init__(self, hidden: int = 16, layers: int = 4, classes: int = 4) -> None:
        super().__init__()
        self.layerdrop = 0.2
        self.layers = nn.ModuleList(nn.Linear(hidden, hidden) for _ in range(layers))
        self.head = nn.Linear(hidden, classes)

    def forward(self, x: Tensor) -> Tensor:
        """``(batch, hidden)`` to ``(batch, classes)``."""
        for layer in self.layers:
            if self.training and torch.rand([]) < self.layerdrop:
                continue
            x = layer(x).tanh()
        return self.head(x)
