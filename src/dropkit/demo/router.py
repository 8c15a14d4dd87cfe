"""A small transformer that reads a text and names its topic."""

import re
from collections.abc import Sequence

import torch
import torch.nn.functional as F  # noqa: N812 - everybody's name for it
from torch import Tensor, nn

from dropkit.nn import Dropout

#: Tokens a text; what is behind them is not read.
LONGEST = 24

_PAD, _UNKNOWN = 0, 1
_TOKEN = re.compile(r"\w+|[^\w\s]")


class Vocabulary:
    """Numbers for words: 0 fills up, 1 is any unknown word."""

    def __init__(self, texts: Sequence[str]) -> None:
        words = dict.fromkeys(word for text in texts for word in _TOKEN.findall(text)[:LONGEST])
        self._number = {word: number for number, word in enumerate(words, start=_UNKNOWN + 1)}

    def __len__(self) -> int:
        return len(self._number) + _UNKNOWN + 1

    def encode(self, texts: Sequence[str]) -> Tensor:
        """``(len(texts), longest text)`` int64, at most `LONGEST` wide."""
        rows = [
            [self._number.get(word, _UNKNOWN) for word in _TOKEN.findall(text)[:LONGEST]]
            or [_UNKNOWN]
            for text in texts
        ]
        width = max(map(len, rows))
        return torch.tensor([row + [_PAD] * (width - len(row)) for row in rows])


class Block(nn.Module):
    """Attention and feed-forward, each behind a layer norm and in front of a dropout."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.attention_norm = nn.LayerNorm(width)
        self.query_key_value = nn.Linear(width, 3 * width)
        self.attention_out = nn.Linear(width, width)
        self.attention_drop = Dropout(0.0)
        self.feed_norm = nn.LayerNorm(width)
        self.feed = nn.Sequential(
            nn.Linear(width, 4 * width), nn.ReLU(), nn.Linear(4 * width, width), Dropout(0.0)
        )

    def forward(self, x: Tensor, is_word: Tensor) -> Tensor:
        """Map ``(batch, length, width)``; `is_word` is ``(batch, 1, 1, length)`` bool."""
        batch, length, width = x.shape
        mixed = self.query_key_value(self.attention_norm(x))
        mixed = mixed.view(batch, length, 3, self.heads, width // self.heads)
        query, key, value = mixed.permute(2, 0, 3, 1, 4)
        seen = F.scaled_dot_product_attention(query, key, value, attn_mask=is_word)
        seen = seen.transpose(1, 2).reshape(batch, length, width)
        x = x + self.attention_drop(self.attention_out(seen))
        fed: Tensor = self.feed(self.feed_norm(x))
        return x + fed


class Router(nn.Module):
    """Texts to topics: embeddings, two blocks, the mean over words, one linear layer.

    Args:
        vocabulary: Number of different token numbers.
        topics: Number of topics.
        width: Of the embeddings; a multiple of `heads`.
        depth: Number of blocks.
        heads: Attention heads a block.
    """

    def __init__(
        self, vocabulary: int, topics: int, *, width: int = 64, depth: int = 2, heads: int = 4
    ) -> None:
        super().__init__()
        self.words = nn.Embedding(vocabulary, width, padding_idx=_PAD)
        self.places = nn.Embedding(LONGEST, width)
        self.embedding_drop = Dropout(0.0)
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.head_drop = Dropout(0.0)
        self.head = nn.Linear(width, topics)

    def forward(self, tokens: Tensor) -> Tensor:
        """``(batch, length)`` token numbers to ``(batch, topics)`` logits."""
        is_word = tokens != _PAD
        x = self.embedding_drop(self.words(tokens) + self.places.weight[: tokens.shape[1]])
        for block in self.blocks:
            x = block(x, is_word[:, None, None, :])
        weight = is_word.unsqueeze(-1) / is_word.sum(1, keepdim=True).unsqueeze(-1)
        logits: Tensor = self.head(self.head_drop((self.norm(x) * weight).sum(1)))
        return logits
