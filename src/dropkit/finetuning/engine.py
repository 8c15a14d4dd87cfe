"""Fine-tune with several rates of dropout, measure what each memorized, and keep the best."""

import contextlib
import json
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch

from dropkit.core.files import write_text
from dropkit.errors import DataError, MissingExtraError, StoreError
from dropkit.finetuning.keeping import TrialFolder
from dropkit.finetuning.models import check_place, load_tokenizer
from dropkit.finetuning.result import (
    STEP_PARTS,
    Adapter,
    ArmOutcome,
    FinetuneResult,
    Moment,
    Sample,
    Speed,
)
from dropkit.finetuning.settings import Settings
from dropkit.finetuning.tasks import make_work
from dropkit.studies.plan import Arm
from dropkit.studies.result import StudyResult, TrialRecord, Verdict
from dropkit.studies.statistics import mean_with_interval
from dropkit.studies.study import Study

#: Differences of the held-out loss up to this, in nats, are called of no practical interest.
MARGIN = 0.02

_SETTINGS = "settings.json"

#: What of a trial's metrics an arm's outcome has, by its name there.
_MEASURES = {
    "validation_loss": "held_out_loss",
    "best_validation_loss": "best_held_out_loss",
    "gap": "gap",
    "forgotten": "forgotten",
    "membership_auc": "membership_auc",
    "min_k_auc": "min_k_auc",
    "min_k_plus_plus_auc": "min_k_plus_plus_auc",
    "extracted_train": "extracted_train",
    "extracted_held_out": "extracted_held_out",
    "nearly_train": "nearly_train",
    "nearly_held_out": "nearly_held_out",
    "exposure": "exposure",
}


def adapter_arms(settings: Settings) -> tuple[Arm, ...]:
    """An arm a rate, the lowest first: it is what the others are compared with."""
    # The first pattern that matches a place decides: the user's, the arm's, then what is left.
    named = {pattern: rate for pattern, rate in settings.site_rates.items() if pattern != "*"}
    rest = {"*": settings.site_rates["*"]} if "*" in settings.site_rates else {}
    if settings.is_full:
        place = "*"
    else:
        place, rest = "*lora_dropout*", rest or {"*": 0.0}  # the base learns nothing
    return tuple(
        Arm(
            f"dropout {rate:g}" if rate else "no dropout",
            {**named, place: rate, **({} if settings.is_full else rest)},
            settings.weight_decay,
        )
        for rate in sorted(settings.rates)
    )


def finetune_study(settings: Settings, run: Path) -> Study:
    """The study of `settings`; its trials keep what they learn in `run`.

    Raises:
        OptionError: There is no such model, or it has no layers for adapters.
        DataError: The data cannot be read, or do not fit the model.
        MissingExtraError: transformers or peft is not installed.
    """
    try:
        from dropkit.finetuning.fit import FinetuneFit, about_model, make_model  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            "fine-tuning needs transformers and peft: pip install 'dropkit[finetune]'."
        ) from error
    arms = adapter_arms(settings)
    _check_same(settings, run)
    # Whatever is wrong is found here, before hours are spent.
    check_place(settings.model)
    work = make_work(settings, load_tokenizer(settings.model))
    parts = work.parts(0)
    if min(len(parts.train), len(parts.held_out)) < 2:
        raise DataError(
            f"`{settings.data}` must leave at least 2 examples on each side of the split; got "
            f"{len(parts.train)} to learn from and {len(parts.held_out)} held out."
        )
    with torch.random.fork_rng():
        about = about_model(make_model(settings, work))
    study = Study(
        FinetuneFit(settings, run, tuple(arm.name for arm in arms)),
        arms,
        replicates=settings.replicates,
        seed=settings.seed,
        metric="validation_loss",
        margin=MARGIN,
        resample_ratio=settings.held_out / (1 - settings.held_out),
        threads=settings.threads,
        db=run / "study.db",
        title="Does dropout help this fine-tuning?",
        about={**about, "data": settings.data, "base": settings.model},
    )
    study.check()
    _begin(settings, run)
    return study


def _check_same(settings: Settings, run: Path) -> None:
    """Refuse a folder in which something else was begun."""
    file = run / _SETTINGS
    if file.is_file():
        begun = json.loads(file.read_text("utf-8"))
        asked = json.loads(json.dumps(settings.to_dict()))
        changed = [name for name in asked if begun.get(name) != asked[name]]
        if changed:
            raise StoreError(
                f"{str(run)!r} holds a fine-tuning that was begun with another "
                f"{', '.join(changed)}. Go on with the same command, or take another name."
            )


def _begin(settings: Settings, run: Path) -> None:
    """Make the folder of the run, where all is well."""
    try:
        run.mkdir(parents=True, exist_ok=True)
        write_text(run / _SETTINGS, json.dumps(settings.to_dict(), indent=1))
    except OSError as error:
        raise StoreError(f"the folder {str(run)!r} cannot be written: {error.strerror}.") from error


def finetune(
    settings: Settings,
    run: str | Path,
    on_record: Callable[[TrialRecord], None] = lambda _: None,
    on_verdict: Callable[[Verdict], None] = lambda _: None,
) -> FinetuneResult:
    """Run what is not done yet of a fine-tuning, and judge it.

    The model is trained once for each rate and replicate. All arms of a replicate share the split,
    the first weights, the order and the names of the masks. An interrupted run goes on from the
    last checkpoint of its last trial and ends with the same bits.

    Args:
        settings: What to do.
        run: Folder for what is on the way: the study's file, checkpoints, the best weights of each
            trial. Made where it is not there; `publish` takes what it needs from it.
        on_record: Called with the record of each trial as it comes.
        on_verdict: Called with the verdict so far.

    Raises:
        OptionError: There is no such model, or it has no layers for adapters.
        DataError: The data cannot be read, or do not fit the model.
        StoreError: Another process, or another fine-tuning, has the folder.
        MissingExtraError: transformers or peft is not installed.
    """
    run = Path(run)
    study = finetune_study(settings, run)
    begin = time.perf_counter()
    before = torch.get_num_threads()
    try:
        found = study.run(on_record, on_verdict)
    finally:
        torch.set_num_threads(before)
    return outcome(settings, run, found, wall_s=time.perf_counter() - begin)


def outcome(settings: Settings, run: Path, study: StudyResult, *, wall_s: float) -> FinetuneResult:
    """All that the finished trials of `study` left in `run`."""
    names = [result.arm.name for result in study.arms]
    done = [record for record in study.trials if record.error is None and record.metrics]
    folders = {
        (r.arm, r.replicate): TrialFolder(run, names.index(r.arm), r.replicate) for r in done
    }
    arms = []
    for result, rate in zip(study.arms, sorted(settings.rates), strict=True):
        mine = [record for record in done if record.arm == result.arm.name]
        arms.append(_arm(result.arm.name, rate, mine, folders, is_chat=settings.task == "chat"))
    first = next(iter(folders.values()), None)
    return FinetuneResult(
        settings=settings.to_dict(),
        about=dict(study.about),
        data=(first.read("summary") if first else None) or {},
        arms=tuple(arms),
        samples=_samples(names, folders),
        study=study,
        speed=_speed(done, folders, wall_s),
        adapter=_best(settings, done),
    )


def _arm(
    name: str,
    rate: float,
    records: Sequence[TrialRecord],
    folders: Mapping[tuple[str, int], TrialFolder],
    *,
    is_chat: bool,
) -> ArmOutcome:
    curves = [folders[record.arm, record.replicate].read("curve") for record in records]
    curve = [_moment(moments, is_chat=is_chat) for moments in zip(*curves, strict=False)]
    trained = curve[1:] or curve
    kept = [folders[record.arm, record.replicate].read("memorization") for record in records]
    return ArmOutcome(
        name=name,
        rate=rate,
        curve=tuple(curve),
        best_epoch=min(trained, key=lambda m: m.held_out_loss).epoch if trained else 0,
        measures={
            ours: mean_with_interval([record.metrics[theirs] for record in records])
            for theirs, ours in _MEASURES.items()
            if records and all(theirs in record.metrics for record in records)
        },
        memorization=tuple(one for one in kept if one is not None),
    )


def _moment(moments: Sequence[Mapping[str, float]], *, is_chat: bool) -> Moment:
    def mean(key: str) -> float:
        return sum(moment[key] for moment in moments) / len(moments)

    held_out = mean("held_out_loss")
    return Moment(
        epoch=int(moments[0]["epoch"]),
        train_loss=mean("train_loss"),
        held_out_loss=held_out,
        held_out_perplexity=float(torch.tensor(held_out, dtype=torch.float64).exp())
        if is_chat
        else None,
        accuracy=mean("accuracy"),
        general_loss=mean("general_loss")
        if all("general_loss" in moment for moment in moments)
        else None,
    )


def _samples(
    names: Sequence[str], folders: Mapping[tuple[str, int], TrialFolder]
) -> tuple[Sample, ...]:
    by_arm = {
        name: folders[name, 0].read("samples") or [] for name in names if (name, 0) in folders
    }
    asked = next((found for found in by_arm.values() if found), [])
    return tuple(
        Sample(
            one["question"],
            one["expected"],
            {name: found[k]["answer"] for name, found in by_arm.items() if k < len(found)},
        )
        for k, one in enumerate(asked)
    )


def _speed(
    records: Sequence[TrialRecord],
    folders: Mapping[tuple[str, int], TrialFolder],
    wall_s: float,
) -> Speed:
    clocks = [folders[record.arm, record.replicate].read("clock") or {} for record in records]
    parts: dict[str, float] = {}
    for clock in clocks:
        for part, seconds in clock.items():
            if part != "n_steps":
                parts[part] = parts.get(part, 0.0) + seconds
    n_steps = sum(clock.get("n_steps", 0) for clock in clocks)
    training = sum(parts.get(name, 0.0) for name in STEP_PARTS)
    steps = [record.metrics["step_s"] for record in records if "step_s" in record.metrics]
    peaks = [record.metrics["peak_mib"] for record in records if "peak_mib" in record.metrics]
    return Speed(
        steps_per_s=n_steps / training if training else 0.0,
        step_s=sorted(steps)[len(steps) // 2] if steps else 0.0,
        peak_mib=max(peaks, default=0.0),
        parts={part: round(seconds, 2) for part, seconds in parts.items()},
        wall_s=round(wall_s, 1),
    )


def _best(settings: Settings, records: Sequence[TrialRecord]) -> Adapter | None:
    if not records:
        return None
    by_arm: dict[str, list[TrialRecord]] = {}
    for record in records:
        by_arm.setdefault(record.arm, []).append(record)

    def loss(record: TrialRecord) -> float:
        return record.metrics["best_validation_loss"]

    arm = min(by_arm, key=lambda name: sum(map(loss, by_arm[name])) / len(by_arm[name]))
    best = min(by_arm[arm], key=loss)
    rates = {
        one.name: rate
        for one, rate in zip(adapter_arms(settings), sorted(settings.rates), strict=True)
    }
    return Adapter(
        arm=arm,
        rate=rates[arm],
        replicate=best.replicate,
        epoch=int(best.metrics["best_epoch"]),
        held_out_loss=loss(best),
        is_full=settings.is_full,
    )


def remove_run(run: Path) -> None:
    """Drop what was on the way, when all that matters has been published."""
    with contextlib.suppress(OSError):
        shutil.rmtree(run)
