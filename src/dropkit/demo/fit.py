"""Train the router once, as one trial of the study."""

from collections import defaultdict
from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812 - everybody's name for it
from torch import Tensor

from dropkit.demo.questions import Questions
from dropkit.demo.router import Router, Vocabulary
from dropkit.studies.metrics import calibration_error
from dropkit.studies.plan import Arm
from dropkit.studies.trial import Trial

ARMS = (
    Arm("no dropout"),
    Arm("dropout 0.1", rates=0.1),
    Arm("dropout 0.3", rates=0.3),
    Arm("dropout 0.5", rates=0.5),
    Arm("weight decay", weight_decay=1.0),
    Arm("dropout 0.3 + weight decay", rates=0.3, weight_decay=1.0),
)

#: Share of the questions that are held out for validation.
HELD_OUT = 0.3

#: Differences of the validation loss up to this are called of no practical interest.
MARGIN = 0.05


@dataclass(frozen=True)
class RouterFit:
    """Trains a `Router` on its part of the questions and measures it on the rest.

    Attributes:
        questions: All of them; each trial splits them anew, topic by topic.
        steps: Of training.
        batch: Questions a step.
        learning_rate: Of AdamW.
        n_points: How often the learning curve is measured.
    """

    questions: Questions
    steps: int
    batch: int = 32
    learning_rate: float = 3e-3
    n_points: int = 8

    def __call__(self, trial: Trial) -> dict[str, float]:
        """Return the final metrics of `trial`, all of the model in eval.

        ``validation_loss`` and ``train_loss`` are mean cross-entropies in nats, ``gap`` is their
        difference, ``accuracy`` and ``ece`` (expected calibration error, 15 bins) are shares on
        the validation part, and ``best_validation_loss`` is the lowest on the way.
        """
        train, validation = split(self.questions.labels, trial.seed("split"))
        texts, topics = self.questions.texts, self.questions.topics
        vocabulary = Vocabulary([texts[i] for i in train])
        tokens = vocabulary.encode(texts)
        labels = torch.tensor([topics.index(label) for label in self.questions.labels])
        torch.manual_seed(trial.seed("weights"))
        model = Router(len(vocabulary), len(topics))
        trial.apply(model)
        optimizer = torch.optim.AdamW(
            model.parameters(),
            lr=self.learning_rate,
            weight_decay=trial.arm.weight_decay,
            fused=True,
        )
        order = torch.Generator().manual_seed(trial.seed("order"))
        seen = train[:0]
        for step in range(1, self.steps + 1):
            if len(seen) < self.batch:
                seen = torch.cat([seen, train[torch.randperm(len(train), generator=order)]])
            now, seen = seen[: self.batch], seen[self.batch :]
            with trial.masks(step):
                loss = F.cross_entropy(model(_trimmed(tokens[now])), labels[now])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if step * self.n_points % self.steps < self.n_points:
                train_loss, _ = _measure(model, tokens[train], labels[train])
                validation_loss, _ = _measure(model, tokens[validation], labels[validation])
                trial.report(step, train_loss=train_loss, validation_loss=validation_loss)
        train_loss, _ = _measure(model, tokens[train], labels[train])
        validation_loss, probabilities = _measure(model, tokens[validation], labels[validation])
        is_right = probabilities.argmax(1) == labels[validation]
        return {
            "validation_loss": validation_loss,
            "train_loss": train_loss,
            "gap": validation_loss - train_loss,
            "accuracy": is_right.float().mean().item(),
            "ece": calibration_error(probabilities, labels[validation]),
            "best_validation_loss": min(p.metrics["validation_loss"] for p in trial.points),
        }


def split(labels: tuple[str, ...], seed: int) -> tuple[Tensor, Tensor]:
    """Indices of a training and a validation part, drawn topic by topic.

    Args:
        labels: The topic of each example.
        seed: Decides who goes where.
    """
    generator = torch.Generator().manual_seed(seed)
    by_topic: dict[str, list[int]] = defaultdict(list)
    for index, label in enumerate(labels):
        by_topic[label].append(index)
    train: list[Tensor] = []
    validation: list[Tensor] = []
    for topic in sorted(by_topic):
        members = torch.tensor(by_topic[topic])
        members = members[torch.randperm(len(members), generator=generator)]
        n_held_out = max(1, round(HELD_OUT * len(members)))
        validation.append(members[:n_held_out])
        train.append(members[n_held_out:])
    return torch.cat(train), torch.cat(validation)


def _measure(model: Router, tokens: Tensor, labels: Tensor) -> tuple[float, Tensor]:
    """Mean cross-entropy in nats, and ``(n, topics)`` probabilities, of the model in eval."""
    model.eval()
    with torch.no_grad():
        parts = tokens.split(1024)
        logits = torch.cat([model(_trimmed(part)) for part in parts])
    model.train()
    return F.cross_entropy(logits, labels).item(), logits.softmax(1)


def _trimmed(tokens: Tensor) -> Tensor:
    """Without the columns in which no text has a word."""
    return tokens[:, : int((tokens != 0).sum(1).max())]
