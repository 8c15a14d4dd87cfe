"""The router of ``dropkit demo``, ready to be served: what it answers, how sure, to whom.

Trained once and kept in a folder: weights as safetensors, the words, the hand-over. What the
hand-over promises was fit on questions that the router was not trained on.
"""

import json
import logging
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import torch
import torch.nn.functional as F  # noqa: N812 - everybody's name for it
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

import dropkit
from dropkit.core.files import write_text
from dropkit.demo.fit import split
from dropkit.demo.questions import chatbot_questions
from dropkit.demo.router import Router, Vocabulary
from dropkit.errors import DataError
from dropkit.uncertainty import Handoff

logger = logging.getLogger("service")

RATE, STEPS, BATCH, LEARNING_RATE = 0.3, 240, 32, 3e-3
#: Of the answers given, at most this share is wrong, with probability 1 - DELTA.
RISK, DELTA = 0.15, 0.1
SEED = 0


@dataclass(frozen=True)
class Answer:
    """What a user gets.

    Attributes:
        topic: The likeliest; None where the model has said nan.
        confidence: Its mean probability over the sub-networks, in [0, 1]; likewise.
        disagreement: Share of the sub-networks that would choose otherwise, in [0, 1]; likewise.
        handed_over: Whether a person should answer.
    """

    topic: str | None
    confidence: float | None
    disagreement: float | None
    handed_over: bool


class Service:
    """Answers one text at a time; safe to call from several threads.

    Args:
        model: The trained router, with its rates.
        texts: The training texts, from which the vocabulary is made.
        topics: By number.
        handoff: Decides whose turn it is.
        samples: Sub-networks asked for each text; 0 asks the served model alone.
    """

    def __init__(
        self,
        model: nn.Module,
        texts: list[str],
        topics: list[str],
        handoff: Handoff,
        *,
        samples: int = 16,
    ) -> None:
        self.vocabulary, self.topics, self.handoff = Vocabulary(texts), topics, handoff
        self.model, self.texts, self.samples = model, texts, samples
        self.served = dropkit.freeze(model, self.vocabulary.encode(texts[:4])).model
        self._lock = threading.Lock()  # one model, and it changes its mode while it is asked

    def answer(self, text: str) -> Answer:
        """The topic of `text`. The same text always gets the same answer, to the bit."""
        tokens = self.vocabulary.encode([text.lower()])
        with self._lock:
            try:
                confidence, disagreement, choice = ask(
                    self.model, self.served, tokens, self.samples
                )
            except DataError:  # an answer that is no number: a person knows better
                logger.exception("the model gave no answer")
                return Answer(None, None, None, handed_over=True)
        is_answered = bool(self.handoff.answers(torch.tensor([confidence])))
        return Answer(self.topics[choice], confidence, disagreement, handed_over=not is_answered)

    def save(self, folder: Path) -> None:
        """Keep it in `folder`."""
        folder.mkdir(parents=True, exist_ok=True)
        save_file(self.model.state_dict(), folder / "router.safetensors")
        self.handoff.save(folder / "handoff.json")
        about = {"texts": self.texts, "topics": self.topics}
        write_text(folder / "router.json", json.dumps(about, indent=1))

    @classmethod
    def load(cls, folder: Path, *, samples: int = 16) -> Self:
        """Read what `save` has kept."""
        about = json.loads((folder / "router.json").read_text("utf-8"))
        model = Router(len(Vocabulary(about["texts"])), len(about["topics"]))
        dropkit.set_rates(model, RATE)
        model.load_state_dict(load_file(folder / "router.safetensors"))
        handoff = Handoff.load(folder / "handoff.json")
        return cls(model.eval(), about["texts"], about["topics"], handoff, samples=samples)


def ask(
    model: nn.Module, served: nn.Module, tokens: Tensor, samples: int
) -> tuple[float, float, int]:
    """How sure of which topic, and the share of sub-networks that disagree.

    Raises:
        DataError: An answer is nan or infinite.
    """
    if not samples:
        with torch.no_grad():
            confidence, choice = served(tokens)[0].softmax(-1).max(-1)
        if not bool(confidence.isfinite()):
            raise DataError("the model must answer with finite numbers; got nan.")
        return float(confidence), 0.0, int(choice)
    found = dropkit.mc_predict(model, tokens, samples=samples, seed=SEED)
    confidence, choice = found.mean[0].max(-1)
    return float(confidence), float(found.variation_ratio[0]), int(choice)


def train(*, samples: int = 16, steps: int = STEPS) -> Service:
    """Train the router on 70 % of the demo's questions, and fit the hand-over on the others."""
    questions = chatbot_questions()
    topics = list(questions.topics)
    train_part, held_out = split(questions.labels, SEED)
    texts = [questions.texts[i] for i in train_part]
    vocabulary = Vocabulary(texts)
    labels = torch.tensor([topics.index(questions.labels[i]) for i in train_part])
    torch.manual_seed(SEED)
    model = Router(len(vocabulary), len(topics))
    dropkit.set_rates(model, RATE)
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, weight_decay=1.0)
    order, tokens = torch.Generator().manual_seed(SEED), vocabulary.encode(texts)
    for step in range(steps):
        now = torch.randint(len(texts), (BATCH,), generator=order)
        with dropkit.masks_at(seed=SEED, step=step):
            loss = F.cross_entropy(model(tokens[now]), labels[now])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.eval()
    served = dropkit.freeze(model, tokens[:4]).model
    # One text at a time, as in service: an example that is padded otherwise has other masks.
    scores, correct = [], []
    for i in held_out.tolist():
        one = vocabulary.encode([questions.texts[i]])
        confidence, _, choice = ask(model, served, one, samples)
        scores.append(confidence)
        correct.append(topics[choice] == questions.labels[i])
    handoff = Handoff.fit(
        torch.tensor(scores), torch.tensor(correct), risk=RISK, delta=DELTA, seed=SEED
    )
    return Service(model, texts, topics, handoff, samples=samples)
