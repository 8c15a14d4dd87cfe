"""``dropkit demo``: does dropout help a real model on real data?"""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from dropkit.cli._live import run_live
from dropkit.cli._outcome import check_folder, cores, tell
from dropkit.demo.questions import chatbot_questions, read_csv
from dropkit.demo.study import router_study


def demo(
    data: Annotated[
        Path | None,
        typer.Option(
            help="Your own CSV file with the columns text and label, in place of the questions "
            "that come with the demo.",
            metavar="FILE",
        ),
    ] = None,
    replicates: Annotated[
        int, typer.Option(help="How often split, weights, order and masks are drawn anew.", min=1)
    ] = 6,
    steps: Annotated[int, typer.Option(help="Of training, in each trial.", min=8)] = 240,
    seed: Annotated[int, typer.Option(help="Root of everything that chance decides.", min=0)] = 0,
    workers: Annotated[
        int | None,
        typer.Option(
            help="Processes of one thread each; 0 runs in this one. [default: the cores]", min=0
        ),
    ] = None,
    out: Annotated[
        Path,
        typer.Option(
            help="Folder for dropkit-report.html and dropkit-report.json.", metavar="FOLDER"
        ),
    ] = Path(),
) -> None:
    """Train a small text classifier with and without dropout, and say whether dropout helps.

    A transformer learns from scratch to route what people say to a chatbot to its topic: without
    dropout, at three rates, with weight decay and with both, in paired replicates. It ends with a
    table, a verdict in words and a report. About a minute on two cores; nothing is downloaded.
    """
    console = Console()
    check_folder(out)
    questions = chatbot_questions() if data is None else read_csv(data)
    study = router_study(
        questions,
        replicates=replicates,
        steps=steps,
        seed=seed,
        workers=cores() if workers is None else workers,
    )
    console.print(
        f"[bold]{escape(study.title)}[/] {len(questions.texts)} texts, "
        f"{len(questions.topics)} topics, from {escape(questions.name)}"
    )
    tell(run_live(study, console), console, out / "dropkit-report.html")
