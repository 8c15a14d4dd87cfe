"""A recurrent layer with a rate and no place for it."""

import warnings

from torch import Tensor, nn

from support_cases import Case
from support_entry import ids


class Classifier(nn.Module):
    """Over the last state."""

    def __init__(self, kind: type[nn.RNNBase], layers: int, p: float) -> None:
        super().__init__()
        self.embed, self.head = nn.Embedding(64, 16), nn.Linear(16, 4)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch says it once, here
            self.recurrent = kind(16, 16, num_layers=layers, dropout=p, batch_first=True)

    def forward(self, tokens: Tensor) -> Tensor:
        """``(batch, steps)`` to ``(batch, 4)``."""
        return self.head(self.recurrent(self.embed(tokens))[0][:, -1])


TOKENS = ids(4, 9)
BAD = [
    Case("lstm", lambda: Classifier(nn.LSTM, 1, 0.3), TOKENS, fault="nn.LSTM(0.3, num_layers=1)"),
    Case("gru", lambda: Classifier(nn.GRU, 1, 0.2), TOKENS),
]
GOOD = [
    Case("two layers", lambda: Classifier(nn.LSTM, 2, 0.3), TOKENS),
    Case("no rate", lambda: Classifier(nn.LSTM, 1, 0.0), TOKENS),
]
