"""One trial of a fine-tuning: train one arm, measure it, and keep what it learned."""

import contextlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from torch.utils.data import Sampler

from dropkit.finetuning.batches import LikeLengths
from dropkit.finetuning.general import read_general
from dropkit.finetuning.keeping import TrialFolder
from dropkit.finetuning.memorizing import Canary, memorization, plant_canaries
from dropkit.finetuning.models import load_model, load_tokenizer, with_adapter
from dropkit.finetuning.result import STEP_PARTS
from dropkit.finetuning.samples import answers
from dropkit.finetuning.settings import Settings
from dropkit.finetuning.tasks import Collate, Parts, Work, make_work, mean_loss
from dropkit.finetuning.trunk import Trunk
from dropkit.finetuning.watching import Clock, Curve, Steps
from dropkit.sites.find import find_sites
from dropkit.studies.costs import Costs
from dropkit.studies.recipes.chance import chance_put_back, seed_all
from dropkit.studies.recipes.trainer_masks import NamedMasks
from dropkit.studies.trial import Trial

from transformers import PrinterCallback, Trainer, TrainingArguments  # isort: skip

_REPEATS = (1, 2, 4, 8)  # how often canaries are planted, in turn


@dataclass(frozen=True)
class FinetuneFit:
    """Fine-tunes and measures one trial; goes on from its last checkpoint where there is one.

    Attributes:
        settings: What is asked for.
        run: Folder of the run.
        arms: Names of the arms, whose places name the trials' folders.
    """

    settings: Settings
    run: Path
    arms: tuple[str, ...]

    def __call__(self, trial: Trial) -> dict[str, float]:
        """The trial's metrics, see `dropkit.finetuning.result.ArmOutcome`; losses in nats."""
        folder = TrialFolder(self.run, self.arms.index(trial.arm.name), trial.replicate)
        folder.path.mkdir(parents=True, exist_ok=True)
        with chance_put_back(), contextlib.ExitStack() as stack:
            clock = Clock()
            with clock.part("loading"):
                tokenizer = load_tokenizer(self.settings.model)
                work = make_work(self.settings, tokenizer)
                parts = work.parts(trial.seed("split") % 2**31)
                general = read_general(self.settings.general, tokenizer)
                seed_all(trial, "weights")
                model = make_model(self.settings, work)
            canaries: tuple[Canary, ...] = ()
            train = list(parts.train)
            if self.settings.canaries:
                train, canaries = planted(train, tokenizer, self.settings.canaries, trial)
            stack.enter_context(trial.apply(model))
            costs = Costs(next(model.parameters()).device)
            pieces = general.pieces if general else ()
            trunk = Trunk.of(model, self.settings, [*train, *parts.held_out, *pieces])
            collate = work.collate if trunk is None else partial(trunk.collate, work)
            measure = partial(mean_loss, model, work, collate, batch=2 * self.settings.batch)
            curve = Curve(trial, folder, measure, parts, general, clock=clock)
            steps = Steps(trial, costs)
            masks = stack.enter_context(NamedMasks(trial))
            trainer = self._trainer(trial, folder, collate, model, train, clock)
            trainer.remove_callback(PrinterCallback)
            for callback in (masks, steps, curve):
                trainer.add_callback(callback)
            if trunk is not None:
                with clock.part("frozen blocks"):
                    trunk.fill([*train, *parts.held_out, *pieces])
            before = clock.parts["evaluation"]
            with clock.part("training"), trunk.skipped() if trunk else contextlib.nullcontext():
                trainer.train(resume_from_checkpoint=folder.last_checkpoint())
            forward, backward, rest = STEP_PARTS
            within = clock.parts[forward] + clock.parts[backward]
            within += clock.parts["evaluation"] - before
            clock.parts[rest] = clock.parts.pop("training") - within
            if trial.reasons:
                return {}
            found = self._measured(trial, folder, model, tokenizer, parts, canaries, clock)
            folder.write("summary", parts.summary)
            folder.write("clock", {**clock.parts, "n_steps": steps.n})
            folder.drop_checkpoints()
            return {**_of_curve(curve.moments), **found, **costs.metrics()}

    def _trainer(
        self,
        trial: Trial,
        folder: TrialFolder,
        collate: Collate,
        model: nn.Module,
        train: list[Any],
        clock: Clock,
    ) -> Trainer:
        settings, seed = self.settings, trial.seed("order") % 2**32
        arguments = TrainingArguments(
            output_dir=str(folder.checkpoints),
            per_device_train_batch_size=settings.batch,
            num_train_epochs=settings.epochs,
            learning_rate=settings.learning_rate,
            weight_decay=settings.weight_decay,
            lr_scheduler_type="linear",
            save_strategy="steps",
            save_steps=settings.checkpoint_every,
            save_total_limit=1,
            logging_strategy="no",
            report_to=[],
            disable_tqdm=True,
            remove_unused_columns=False,
            dataloader_pin_memory=False,
            seed=seed,
            data_seed=seed,
        )
        seed_all(trial, "order")
        order = LikeLengths([len(one.input_ids) for one in train], settings.batch, seed)
        trainer = _Trainer(model=model, args=arguments, train_dataset=train, data_collator=collate)
        trainer.order, trainer.clock = order, clock
        return trainer

    def _measured(
        self,
        trial: Trial,
        folder: TrialFolder,
        model: nn.Module,
        tokenizer: Any,
        parts: Parts,
        canaries: tuple[Canary, ...],
        clock: Clock,
    ) -> dict[str, float]:
        model.eval()
        if self.settings.task != "chat":
            return {}
        with clock.part("answers"):
            if trial.replicate == 0:
                folder.write("samples", answers(model, tokenizer, parts.prompts))
        with clock.part("memorization"):
            found = memorization(
                model,
                parts.train,
                parts.held_out,
                prefixes=self._prefixes(parts),
                canaries=canaries,
                batch_size=2 * self.settings.batch,
                seed=trial.seed("references") % 2**31,
            )
        kept = found.to_dict()
        folder.write("memorization", kept)
        return _of_memorization(kept)

    def _prefixes(self, parts: Parts) -> tuple[int, ...]:
        """Lengths for which some answer on either side is long enough."""
        return tuple(
            k
            for k in (4, 16)
            if all(_longest_run(side) >= k + 16 for side in (parts.train, parts.held_out))
        )


class _Trainer(Trainer):
    """Asks for the loss with the labels in the batch, whatever else the model could give.

    Attributes:
        order: Of the examples.
        clock: Counts the time of the forward pass, and of the step without it.
    """

    order: Sampler[int]
    clock: Clock

    def compute_loss(self, model: Any, inputs: Any, *arguments: Any, **options: Any) -> Any:
        options.pop("num_items_in_batch", None)  # each batch counts alike, as in evaluation
        del arguments
        with self.clock.part("forward"):
            output = model(**inputs)
        return (output.loss, output) if options.get("return_outputs") else output.loss

    def training_step(self, *arguments: Any, **options: Any) -> Tensor:
        before = self.clock.parts["forward"]
        with self.clock.part("backward"):
            loss = super().training_step(*arguments, **options)
        self.clock.parts["backward"] -= self.clock.parts["forward"] - before
        return loss

    def _get_train_sampler(self, *_: Any) -> Sampler[int]:
        return self.order


def make_model(settings: Settings, work: Work) -> Any:
    """The model to train, checked against the tokenizer; drawn from torch's generator.

    Raises:
        OptionError: There is no such model, or no layer for an adapter.
        DataError: The tokenizer is another model's.
    """
    model = load_model(settings, work.labels)
    work.check(model)
    if getattr(model.config, "use_cache", False):
        model.config.use_cache = False  # of no use in training
    return model if settings.is_full else with_adapter(model, settings)


def about_model(model: nn.Module) -> dict[str, Any]:
    """Facts for the report."""
    parameters = list(model.parameters())
    base: Any = getattr(model, "get_base_model", lambda: model)()
    return {
        "model": type(base).__name__,
        "parameters": sum(p.numel() for p in parameters),
        "trained": sum(p.numel() for p in parameters if p.requires_grad),
        "sites": len(find_sites(model)),
    }


def planted(
    train: list[Any], tokenizer: Any, n: int, trial: Trial
) -> tuple[list[Any], tuple[Canary, ...]]:
    """Training examples with secret numbers among them, drawn by the trial."""
    prefix = tokenizer("The secret number is", add_special_tokens=False)["input_ids"]
    digits = [tokenizer(d, add_special_tokens=False)["input_ids"][-1] for d in "0123456789"]
    return plant_canaries(
        train,
        prefix=prefix,
        alphabet=sorted(set(digits)),
        repeats=[_REPEATS[k % len(_REPEATS)] for k in range(n)],
        seed=trial.seed("canaries") % 2**31,
    )


def _longest_run(examples: Any) -> int:
    """Tokens with loss in a row, at most, prefix included."""
    longest = 0
    for example in examples:
        run = 0
        for label in example.labels:
            run = run + 1 if label >= 0 else 0
            longest = max(longest, run)
    return longest


def _of_curve(moments: list[dict[str, float]]) -> dict[str, float]:
    first, last = moments[0], moments[-1]
    trained = moments[1:] or moments
    best = min(trained, key=lambda moment: moment["held_out_loss"])
    found = {
        "validation_loss": last["held_out_loss"],
        "train_loss": last["train_loss"],
        "gap": last["held_out_loss"] - last["train_loss"],
        "accuracy": last["accuracy"],
        "best_validation_loss": best["held_out_loss"],
        "best_epoch": best["epoch"],
    }
    if "general_loss" in last:
        found["forgotten"] = last["general_loss"] - first["general_loss"]
    return found


def _of_memorization(kept: Mapping[str, Any]) -> dict[str, float]:
    found = {
        f"{'membership' if name == 'loss' else name}_auc": attack["auc"]["value"]
        for name, attack in kept["attacks"].items()
    }
    if kept["extractions"]:
        longest = kept["extractions"][-1]
        for side in ("train", "held_out"):
            found[f"extracted_{side}"] = longest[side]["exact"]["value"]
            found[f"nearly_{side}"] = longest[side]["near"]["value"]
    exposures = [one["exposure"]["value"] for one in kept["exposures"]]
    if exposures:
        found["exposure"] = sum(exposures) / len(exposures)
    return {name: value for name, value in found.items() if math.isfinite(value)}
