"""Ways to drop out in a recurrent language model that overfits.

An LSTM that reads 20,000 characters of Shakespeare again and again: no dropout; dropout of its
inputs and outputs with another mask at each time step (Zaremba et al. 2014, arXiv:1409.2329); with
one mask for all of them (Gal and Ghahramani 2016, arXiv:1512.05287); and that with dropout of the
recurrent weights and of whole characters (Merity et al. 2018, arXiv:1708.02182). Run it with

    dropkit study examples/language_model.py

The text is tinyshakespeare (https://github.com/karpathy/char-rnn): ``tinyshakespeare/input.txt``
in the folder that the environment variable DROPKIT_DATA names, or else in ``../shared/data``.
"""

import math
from functools import cache

import torch
from shared_data import find
from torch import Tensor, nn

import dropkit
from dropkit.studies.plan import Arm
from dropkit.studies.study import Study
from dropkit.studies.trial import Trial

N_TRAIN, N_VALIDATION = 20_000, 30_000
EMBEDDED, WIDTH, LENGTH, BATCH, STEPS, LEARNING_RATE = 32, 192, 50, 20, 600, 5e-3
LOCKED = {"locked_*": 0.3}

ARMS = (
    Arm("no dropout"),
    Arm("anew each step", rates={"plain_*": 0.3}),
    Arm("locked", rates=LOCKED),
    Arm("locked + weights", rates={**LOCKED, "recurrent": 0.3, "characters": 0.05}),
)


@cache
def text() -> tuple[Tensor, int]:
    """``(characters,)`` int64, and how many different ones there are."""
    written = find("tinyshakespeare/input.txt").read_text(encoding="utf-8")
    numbers = {character: number for number, character in enumerate(sorted(set(written)))}
    return torch.tensor([numbers[character] for character in written]), len(numbers)


class LanguageModel(nn.Module):
    """Characters to the next ones, with every kind of dropout in its place at a rate of 0."""

    def __init__(self, n_characters: int) -> None:
        super().__init__()
        self.characters = dropkit.nn.EmbeddingDropout(nn.Embedding(n_characters, EMBEDDED), 0.0)
        self.plain_in = dropkit.nn.Dropout(0.0)
        self.locked_in = dropkit.nn.LockedDropout(0.0, batch_first=True)
        lstm = nn.LSTM(EMBEDDED, WIDTH, batch_first=True)
        self.recurrent = dropkit.nn.WeightDrop(lstm, "weight_hh_l0", 0.0)
        self.plain_out = dropkit.nn.Dropout(0.0)
        self.locked_out = dropkit.nn.LockedDropout(0.0, batch_first=True)
        self.head = nn.Linear(WIDTH, n_characters)

    def forward(self, characters: Tensor) -> Tensor:
        """Map ``(batch, time)`` to ``(batch, time, characters)`` logits."""
        x = self.locked_in(self.plain_in(self.characters(characters)))
        x, _ = self.recurrent(x)
        logits: Tensor = self.head(self.locked_out(self.plain_out(x)))
        return logits


def fit(trial: Trial) -> dict[str, float]:
    """Train on one piece of the text, measure on the piece behind it."""
    characters, n_characters = text()
    split = torch.Generator().manual_seed(trial.seed("split"))
    begin = int(torch.randint(len(characters) - N_TRAIN - N_VALIDATION, (), generator=split))
    train, validation = characters[begin:][: N_TRAIN + N_VALIDATION].split([N_TRAIN, N_VALIDATION])
    torch.manual_seed(trial.seed("weights"))
    model = LanguageModel(n_characters)
    trial.apply(model)
    optimizer = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE)
    order = torch.Generator().manual_seed(trial.seed("order"))
    lowest = math.inf
    for step in range(1, STEPS + 1):
        begins = torch.randint(N_TRAIN - LENGTH, (BATCH, 1), generator=order)
        now = train[begins + torch.arange(LENGTH + 1)]
        with trial.masks(step):
            loss = cross_entropy(model, now)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % (STEPS // 6) == 0:
            train_loss, validation_loss = measure(model, train), measure(model, validation)
            trial.report(step, train_loss=train_loss, validation_loss=validation_loss)
            lowest = min(lowest, validation_loss)
            if trial.should_stop:
                return {}
    return {
        "validation_loss": validation_loss,
        "best_validation_loss": lowest,
        "bits_per_character": validation_loss / math.log(2.0),
        "perplexity": math.exp(validation_loss),
        "train_loss": train_loss,
        "gap": validation_loss - train_loss,
    }


def cross_entropy(model: nn.Module, pieces: Tensor) -> Tensor:
    """Mean in nats a character, of all but the first in each piece of ``(pieces, length)``."""
    return nn.functional.cross_entropy(model(pieces[:, :-1]).flatten(0, 1), pieces[:, 1:].flatten())


@torch.no_grad()
def measure(model: nn.Module, characters: Tensor) -> float:
    """Mean cross-entropy in evaluation, in nats a character, over pieces as long as in training."""
    model.eval()
    loss = cross_entropy(model, characters.unfold(0, LENGTH + 1, LENGTH)).item()
    model.train()
    return loss


study = Study(
    fit,
    ARMS,
    replicates=6,
    title="Ways to drop out in a recurrent language model",
    about={
        "data": "tinyshakespeare",
        "n_train": N_TRAIN,
        "n_validation": N_VALIDATION,
        "model": f"LSTM, {EMBEDDED} to {WIDTH}",
        "training": f"{STEPS} steps of {BATCH} x {LENGTH} characters, Adam at {LEARNING_RATE:g}",
    },
)
