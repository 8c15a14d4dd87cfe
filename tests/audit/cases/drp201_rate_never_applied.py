"""A drop rate on a module that no run applies."""

import torch.nn.functional as F  # noqa: N812 - everybody's name for it
from torch import Tensor, nn

from support_cases import Case
from support_entry import ids, numbers


class OpenAI(nn.Module):
    """Dropout for the embedding and the classifier is built; whether it is called is the case's."""

    def __init__(self, *, is_called: bool) -> None:
        super().__init__()
        self.embed, self.inner, self.head = (
            nn.Embedding(64, 16),
            nn.Linear(16, 16),
            nn.Linear(16, 4),
        )
        self.embed_drop, self.drop = nn.Dropout(0.1), nn.Dropout(0.1)
        self.head_drop = nn.Dropout(0.2)
        self.is_called = is_called

    def forward(self, tokens: Tensor) -> Tensor:
        """``(batch, steps)`` to ``(batch, 4)``."""
        x = self.embed(tokens)
        x = self.embed_drop(x) if self.is_called else x
        x = self.drop(self.inner(x).relu()).mean(1)
        return self.head(self.head_drop(x) if self.is_called else x)


class Attention(nn.Module):
    """Several ways to compute, of which one forgets the rate, or reads a name that nobody set."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self.qkv, self.out = nn.Linear(16, 48), nn.Linear(16, 16)
        self.attention_dropout = 0.1
        self.path = path

    def forward(self, x: Tensor) -> Tensor:
        """``(batch, steps, 16)`` to the same shape."""
        q, k, v = self.qkv(x).unflatten(-1, (3, 2, -1)).permute(2, 0, 3, 1, 4)
        rate = self._rate() if self.training else 0.0
        return self.out(
            F.scaled_dot_product_attention(q, k, v, dropout_p=rate).transpose(1, 2).flatten(2)
        )

    def _rate(self) -> float:
        if self.path == "forgets":
            return 0.0
        return self.attention_dropout


class WrongName(Attention):
    """Asks for an attribute that does not exist."""

    def _rate(self) -> float:
        return getattr(self, "attn_dropout", 0.0)


class Unread(nn.Module):
    """Stores a rate, and hands none to anything."""

    def __init__(self) -> None:
        super().__init__()
        self.dropout = 0.3
        self.inner, self.head = nn.Linear(16, 8), nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        """``(..., 16)`` to ``(..., 4)``."""
        return self.head(self.inner(x).relu())


class LoRALinear(nn.Module):
    """An adapter whose dropout is or is not called."""

    def __init__(self, *, is_called: bool) -> None:
        super().__init__()
        self.base = nn.Linear(16, 16).requires_grad_(requires_grad=False)
        self.lora_A, self.lora_B = nn.Linear(16, 2, bias=False), nn.Linear(2, 16, bias=False)
        self.lora_dropout = nn.ModuleDict({"default": nn.Dropout(0.05)})
        self.is_called = is_called
        self.disable_adapters = False

    def forward(self, x: Tensor) -> Tensor:
        """``(..., 16)`` to the same shape."""
        if self.disable_adapters:
            return self.base(x)
        y = self.lora_dropout["default"](x) if self.is_called else x
        return self.base(x) + self.lora_B(self.lora_A(y))


def disabled() -> nn.Module:
    """An adapter that is switched off, in front of a layer that learns."""
    adapter = LoRALinear(is_called=True)
    adapter.disable_adapters = True
    return nn.Sequential(adapter, nn.Dropout(0.1), nn.Linear(16, 4))


class BuiltFrom(nn.Module):
    """Keeps the rate that its parts were built from; one part does not run."""

    def __init__(self) -> None:
        super().__init__()
        self.drop_rate = 0.2
        self.body = nn.Sequential(nn.Linear(16, 8), nn.ReLU(), nn.Dropout(self.drop_rate))
        self.auxiliary = nn.Sequential(nn.Linear(8, 2), nn.Dropout(0.3))
        self.head = nn.Linear(8, 4)

    def forward(self, x: Tensor, *, with_auxiliary: bool = False) -> Tensor:
        """``(..., 16)`` to ``(..., 4)``."""
        x = self.body(x)
        return self.auxiliary(x) if with_auxiliary else self.head(x)


TOKENS, SEQUENCES = ids(4, 9), numbers(2, 6, 16)
BAD = [
    Case(
        "built, never called",
        lambda: OpenAI(is_called=False),
        TOKENS,
        fault="pytorch-openai-transformer-lm#49, #19",
    ),
    Case(
        "attribute that does not exist",
        lambda: WrongName(""),
        SEQUENCES,
        fault="transformers#40667",
    ),
    Case("path that forgets the rate", lambda: Attention("forgets"), SEQUENCES),
    Case("nobody reads it", Unread, SEQUENCES),
    Case("lora dropout", lambda: LoRALinear(is_called=False), SEQUENCES),
]
GOOD = [
    Case("called", lambda: OpenAI(is_called=True), TOKENS),
    Case("used", lambda: Attention("uses"), SEQUENCES),
    Case("lora dropout called", lambda: LoRALinear(is_called=True), SEQUENCES),
    Case("adapter switched off", disabled, SEQUENCES),
    Case("built from it", BuiltFrom, SEQUENCES),
]
