"""Where and when to drop out in the transformer of ``dropkit demo``.

The demo asks how much dropout its router of 663 questions needs. Here the rate is 0.5, and the
question is where it stands (behind the embeddings, in the blocks, in front of the head, or at all
of these) and when (throughout, in the first third of training, in the last two). Run it with

    dropkit study examples/router.py

The questions are those of the package chatterbot-corpus (``pip install 'dropkit[demo]'``).
"""

import dropkit
from dropkit.demo.fit import HELD_OUT, MARGIN, RouterFit
from dropkit.demo.questions import chatbot_questions
from dropkit.demo.study import about
from dropkit.studies.plan import Arm
from dropkit.studies.study import Study
from dropkit.studies.trial import Trial

RATE, STEPS = 0.5, 240

ARMS = (
    Arm("no dropout"),
    Arm("everywhere", rates=RATE),
    Arm("embedding", rates={"embedding_drop": RATE}),
    Arm("blocks", rates={"blocks.*": RATE}),
    Arm("head", rates={"head_drop": RATE}),
    Arm("early", rates=dropkit.Schedule.early(RATE, steps=STEPS // 3)),
    Arm("late", rates=dropkit.Schedule.late(RATE, start=STEPS // 3)),
)

QUESTIONS = chatbot_questions()


def fit(trial: Trial) -> dict[str, float]:
    """Train on the demo's part of the questions, measure on the rest."""
    return RouterFit(QUESTIONS, steps=STEPS)(trial)


study = Study(
    fit,
    ARMS,
    replicates=8,
    margin=MARGIN,
    resample_ratio=HELD_OUT / (1.0 - HELD_OUT),
    title="Where and when to drop out in the question router",
    about=about(RouterFit(QUESTIONS, steps=STEPS)),
)
