"""The transformer of `dropkit demo`: higher rates, early dropout, and more weight decay.

The demo tries rates up to 0.5 and one strength of weight decay. Here 0.7 is tried too, 0.5 in the first
third of training only (Liu et al. 2023, ICML, arXiv:2303.01500), three times the weight decay, and
0.5 with either strength. Run it with

    dropkit study examples/question_router.py

It needs ``pip install 'dropkit[demo]'``.
"""

import dropkit
from dropkit.demo.fit import HELD_OUT, MARGIN, RouterFit
from dropkit.demo.questions import chatbot_questions
from dropkit.demo.study import about
from dropkit.studies.plan import Arm
from dropkit.studies.study import Study

STEPS = 240
P = 0.5

ARMS = (
    Arm("no dropout"),
    Arm("0.3", rates=0.3),
    Arm("0.5", rates=P),
    Arm("0.7", rates=0.7),
    Arm("0.5, early", rates=dropkit.Schedule.early(P, steps=STEPS // 3, is_linear=True)),
    Arm("decay 1", weight_decay=1.0),
    Arm("decay 3", weight_decay=3.0),
    Arm("0.5 + decay 1", rates=P, weight_decay=1.0),
    Arm("0.5 + decay 3", rates=P, weight_decay=3.0),
)

questions = chatbot_questions()
fit = RouterFit(questions, steps=STEPS)

study = Study(
    fit,
    ARMS,
    replicates=8,
    margin=MARGIN,
    resample_ratio=HELD_OUT / (1.0 - HELD_OUT),
    title="Rates, early dropout and weight decay for the question router",
    about=about(fit),
)
