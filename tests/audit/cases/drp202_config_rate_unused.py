"""A drop rate in a config that nothing reads."""

from typing import Any

from torch import Tensor, nn

from support_cases import Case
from support_entry import numbers


class Config:
    """Takes any field, as Hugging Face's do."""

    def __init__(self, **fields: Any) -> None:
        self.hidden_dropout_prob = 0.1
        self.summary_dropout = 0.0
        vars(self).update(fields)

    def to_dict(self) -> dict[str, Any]:
        """The fields by name."""
        return dict(vars(self))


class Encoder(nn.Module):
    """Reads one of the fields."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.inner, self.head = nn.Linear(16, 16), nn.Linear(16, 4)
        self.drop = nn.Dropout(config.hidden_dropout_prob)

    def forward(self, x: Tensor) -> Tensor:
        """``(batch, 16)`` to ``(batch, 4)``."""
        return self.head(self.drop(self.inner(x).relu()))


class Summary(nn.Module):
    """Another class of the file, which reads another field."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.drop = nn.Dropout(config.summary_dropout)


VECTORS = numbers(8, 16)
BAD = [
    Case(
        "in the config and used nowhere",
        lambda: Encoder(Config(activation_dropout=0.2)),
        VECTORS,
        fault="transformers#25854",
    ),
    Case(
        "another field than the one read",
        lambda: Encoder(Config(hidden_dropout=0.3)),
        VECTORS,
    ),
]
GOOD = [
    Case("read", lambda: Encoder(Config(hidden_dropout_prob=0.3)), VECTORS),
    Case("another class reads it", lambda: Encoder(Config(summary_dropout=0.2)), VECTORS),
    Case("unread and 0", lambda: Encoder(Config(hidden_dropout=0.0)), VECTORS),
]
