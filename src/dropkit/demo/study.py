"""The demo's study: which arms, on which data, judged how."""

from dropkit.demo.fit import ARMS, HELD_OUT, MARGIN, RouterFit
from dropkit.demo.questions import Questions
from dropkit.errors import OptionError
from dropkit.studies.study import Study


def router_study(
    questions: Questions, *, replicates: int, seed: int, workers: int, steps: int = 240
) -> Study:
    """Does dropout help a small transformer that routes `questions` to their topics?

    Args:
        questions: Labelled texts.
        replicates: How many times everything is drawn anew.
        seed: Root of everything that chance decides.
        workers: Processes of one thread each; 0 runs in this one.
        steps: Of training, at least 8: that often the learning curve is measured.

    Raises:
        OptionError: `steps` is below that.
    """
    if steps < 8:
        raise OptionError(f"`steps` must be at least 8; got {steps}.")
    fit = RouterFit(questions, steps=steps)
    return Study(
        fit,
        ARMS,
        replicates=replicates,
        seed=seed,
        metric="validation_loss",
        margin=MARGIN,
        resample_ratio=HELD_OUT / (1.0 - HELD_OUT),
        workers=workers,
        title="Does dropout help the question router?",
        about=about(fit),
    )


def about(fit: RouterFit) -> dict[str, str | int]:
    """What a study of the router says it ran on."""
    return {
        "data": fit.questions.name,
        "examples": len(fit.questions.texts),
        "topics": len(fit.questions.topics),
        "model": "transformer, 2 layers, 64 wide",
        "training": f"{fit.steps} steps of {fit.batch}, AdamW at {fit.learning_rate:g}",
    }
