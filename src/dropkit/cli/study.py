"""``dropkit study``: run a study of your own."""

import dataclasses
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from dropkit.cli._live import run_live
from dropkit.cli._outcome import INTERRUPTED, check_folder, cores, tell
from dropkit.cli._target import load
from dropkit.reporting.trials_file import check_name, write_trials
from dropkit.studies.followers.mlflow import MLflow
from dropkit.studies.followers.tensorboard import TensorBoard
from dropkit.studies.search import Search, Tried
from dropkit.studies.study import Study


def study(  # noqa: PLR0913 - a command has an argument for each option
    target: Annotated[
        str,
        typer.Argument(
            help="A Python file, or package.module, with a dropkit Study or Search; :NAME "
            "where it has several. Or the .db file of a study, with --export.",
            metavar="FILE[:NAME]",
            show_default=False,
        ),
    ],
    db: Annotated[
        Path | None,
        typer.Option(
            help="File in which every trial is kept; a study that was cut off goes on there. "
            "[default: FILE.db in --out]",
            metavar="FILE",
        ),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            help="Processes of one trial each; 0 runs in this one. [default: the study's, or the "
            "cores]",
            min=0,
        ),
    ] = None,
    ray: Annotated[
        str | None,
        typer.Option(help="Run on the Ray cluster at this address; local starts one here."),
    ] = None,
    replicates: Annotated[
        int | None, typer.Option(help="In place of the study's own number.", min=1)
    ] = None,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Run again what failed before.")
    ] = False,
    export: Annotated[
        Path | None,
        typer.Option(
            help="Also write all trials, and beside them their reports, as .csv or .parquet.",
            metavar="FILE",
        ),
    ] = None,
    tensorboard: Annotated[
        Path | None,
        typer.Option(help="Show it in TensorBoard while it runs.", metavar="FOLDER"),
    ] = None,
    mlflow: Annotated[
        str | None,
        typer.Option(help="Show it in the MLflow server or store at this address.", metavar="URI"),
    ] = None,
    out: Annotated[
        Path, typer.Option(help="Folder for the page and the JSON file.", metavar="FOLDER")
    ] = Path(),
) -> None:
    """Run the study in FILE, or go on with it, and say whether dropout helps.

    This runs your code: FILE is imported, here and in each worker. Every trial and report is kept
    as it comes. Stop it whenever you like: the same command goes on from there, and a study that
    is done is judged again from its file.
    """
    console = Console()
    check_folder(out)
    if export is not None:
        check_name(export)
        if Path(target).suffix == ".db":
            _export(Path(target), export, console)
            return
    found = load(target, Study)
    stem = Path(target.partition(":")[0]).stem
    found.db = db or found.db or out / f"{stem}.db"
    found.ray = ray or found.ray
    if workers is not None:
        found.workers = workers
    elif not found.workers and found.ray is None:
        found.workers = max(1, cores() // found.threads)
    if replicates is not None:
        found.terms = dataclasses.replace(found.terms, replicates=replicates)
    _follow(found, tensorboard, mlflow)
    found.check()
    console.print(f"[bold]{escape(found.title)}[/] kept in {escape(str(found.db))}")
    if isinstance(found, Search):
        _search(found, console, retry_failed=retry_failed)
    result = run_live(found, console, retry_failed=retry_failed)
    if export is not None:
        _export(found.db, export, console)
    if result.was_stopped:
        console.print("Nothing is lost: the same command goes on from here.")
    tell(result, console, out / f"{stem}.html")


def _follow(study: Study, tensorboard: Path | None, mlflow: str | None) -> None:
    if tensorboard is not None:
        study.followers.append(TensorBoard(tensorboard))
    if mlflow is not None:
        study.followers.append(MLflow(study.title, mlflow))


def _search(search: Search, console: Console, *, retry_failed: bool) -> None:
    def say(tried: Tried) -> None:
        came = f"{tried.mean:.4g}" if tried.state == "done" else tried.state
        console.print(f"{escape(tried.arm.name)}: {came}", highlight=False)

    try:
        found = search.find(say, retry_failed=retry_failed)
    except KeyboardInterrupt:
        console.print("[yellow]Stopped.[/] Nothing is lost: the same command goes on from here.")
        raise typer.Exit(INTERRUPTED) from None
    rates = f"{found.rates:g}" if isinstance(found.rates, float) else str(found.rates)
    console.print(f"Found: {escape(rates)}. It is tested on fresh replicates.", highlight=False)


def _export(db: Path, path: Path, console: Console) -> None:
    for written in write_trials(db, path):
        console.print(f"Written: [bold]{escape(str(written))}[/]")
