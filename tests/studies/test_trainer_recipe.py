"""A Trainer that a recipe runs is one trial: its rates, seeds, masks and metrics."""

import functools
import math
import re
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

import dropkit
from dropkit.core.scope import current_scope
from dropkit.errors import MissingExtraError, OptionError
from dropkit.nn.schedules import Schedule
from dropkit.studies.plan import Arm
from dropkit.studies.study import Study
from dropkit.studies.trial import Trial, innermost

transformers = pytest.importorskip("transformers")

from dropkit.studies.recipes.trainer import TrainerFit  # noqa: E402 - only where it can be had
from dropkit.studies.recipes.trainer_masks import NamedMasks  # noqa: E402

HALF = Arm("half", rates=0.5)


def a_model() -> torch.nn.Module:
    """A BERT of a few hundred weights, whose attention drops in a function."""
    config = transformers.BertConfig(
        vocab_size=16, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, num_labels=2,
        intermediate_size=8, max_position_embeddings=8,
    )  # fmt: skip
    return transformers.BertForSequenceClassification(config)


def examples(n: int, seed: int) -> list[dict[str, torch.Tensor]]:
    """Random words; the label is whether the first is one of the lower half."""
    words = torch.randint(0, 16, (n, 6), generator=torch.Generator().manual_seed(seed))
    return [{"input_ids": row, "labels": (row[0] < 8).long()} for row in words]


def make(trial: Trial, *, folder: Path, **options) -> transformers.Trainer:
    """A Trainer as a user makes it."""
    callbacks = options.pop("callbacks", [])
    init = options.pop("model_init", None)
    arguments = {
        "max_steps": 4, "per_device_train_batch_size": 4, "gradient_accumulation_steps": 2,
        "learning_rate": 0.05, "logging_steps": 2, "save_strategy": "no", "eval_strategy": "steps",
        "eval_steps": 2, "use_cpu": True, "disable_tqdm": True, "report_to": [],
        "dataloader_pin_memory": False, **options,
    }  # fmt: skip
    return transformers.Trainer(
        model=None if init else a_model(),
        model_init=init,
        args=transformers.TrainingArguments(output_dir=str(folder), **arguments),
        train_dataset=examples(32, trial.seed("split")),
        eval_dataset=examples(8, trial.seed("split") + 1),
        callbacks=callbacks,
    )


def fit_of(folder: Path, **options) -> TrainerFit:
    """The recipe under test."""
    return TrainerFit(functools.partial(make, folder=folder, **options))


def weights(trainer: transformers.Trainer) -> list[torch.Tensor]:
    """What was learned."""
    return [p.detach().clone() for p in trainer.model.parameters()]


def equal(a: list[torch.Tensor], b: list[torch.Tensor]) -> bool:
    """Bit by bit."""
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


class Seen(transformers.TrainerCallback):
    """Keeps what each forward in training dropped, and at which rate."""

    def __init__(self) -> None:
        self.kept: list[torch.Tensor] = []
        self.rates: list[float] = []
        self.order: list[torch.Tensor] = []

    def on_train_begin(self, *_, model=None, **__) -> None:
        """Listen at one layer."""
        layer = model.bert.embeddings.dropout

        def look(module, _, output) -> None:
            if module.training:
                self.kept.append(output.detach() != 0)
                self.rates.append(module.p)

        layer.register_forward_hook(look)
        model.register_forward_pre_hook(self.read, with_kwargs=True)

    def read(self, module, _, kwargs) -> None:
        """Keep the words."""
        if module.training:
            self.order.append(kwargs["input_ids"].clone())


def test_metrics_and_reports(tmp_path) -> None:
    """What is measured and reported bears the names that studies use; costs are among it."""
    trial = Trial(HALF, 0)
    found = fit_of(tmp_path)(trial)
    assert {"validation_loss", "train_loss", "gap", "step_s", "peak_mib"} == set(found)
    assert found["gap"] == found["validation_loss"] - found["train_loss"]
    reported = [(point.step, sorted(point.metrics)) for point in trial.points]
    logged = ["grad_norm", "learning_rate", "train_loss"]
    assert [
        (2, logged),
        (2, ["validation_loss"]),
        (4, logged),
        (4, ["validation_loss"]),
    ] == reported


def test_same_trial_gives_the_same_numbers(tmp_path) -> None:
    """A trial is a function of its seeds: nothing of the process's chance matters."""
    torch.manual_seed(1)
    first = fit_of(tmp_path)(Trial(HALF, 0))
    torch.manual_seed(2)
    again = fit_of(tmp_path)(Trial(HALF, 0))
    other = fit_of(tmp_path)(Trial(HALF, 1))
    losses = [found["validation_loss"] for found in (first, again, other)]
    assert losses[0] == losses[1] != losses[2]


def test_arms_share_all_but_their_rates(tmp_path) -> None:
    """Two arms see the same examples in the same order; masks are nested; replicates differ."""
    seen = {}
    for rate, replicate in ((0.3, 0), (0.5, 0), (0.5, 1)):
        seen[rate, replicate] = Seen()
        fit_of(tmp_path, callbacks=[seen[rate, replicate]])(Trial(Arm("a", rate), replicate))
    low, high, other = seen.values()
    assert equal(low.order, high.order)
    assert not equal(low.order, other.order)
    assert [0.3] * 8 == low.rates
    assert all((a | ~b).all() and (a & ~b).any() for a, b in zip(low.kept, high.kept, strict=True))
    assert len({kept.numpy().tobytes() for kept in high.kept}) == 8, "a micro batch, a mask"


def test_masks_do_not_hang_on_ambient_chance(tmp_path) -> None:
    """Every site of a model of torch's own layers and functions draws by name."""
    results = []
    for seed in (1, 2):
        torch.manual_seed(3)
        trainer = make(Trial(HALF, 0), folder=tmp_path, max_steps=2, eval_strategy="no")
        torch.manual_seed(3)
        with NamedMasks(Trial(HALF, 0)) as masks:
            trainer.add_callback(masks)
            trainer.add_callback(Stirred(seed))
            trainer.train()
        results.append(weights(trainer))
    assert equal(*results)


def test_masks_by_example_do_not_hang_on_the_division(tmp_path) -> None:
    """Eight examples at once, or two by two over four micro batches, drop the same elements."""
    for by_example in (True, False):
        kept = []
        for size in (8, 2):
            seen = Seen()
            divided = {
                "per_device_train_batch_size": size,
                "gradient_accumulation_steps": 8 // size,
            }
            fit = fit_of(tmp_path, callbacks=[seen], max_steps=1, **divided)
            TrainerFit(fit.make, by_example=by_example)(Trial(HALF, 0))
            kept.append(torch.cat(seen.kept))
        assert by_example == torch.equal(*kept)


def test_every_batch_of_every_rank_has_a_name_of_its_own() -> None:
    """Three micro batches of two ranks are six names; by example, they are rows of one."""
    for by_example in (False, True):
        kept = []
        for rank in (0, 1):
            masks = NamedMasks(Trial(HALF, 0), by_example=by_example)
            model = torch.nn.Sequential(dropkit.nn.Dropout(0.5))
            args = SimpleNamespace(world_size=2, process_index=rank, train_batch_size=4)
            state = SimpleNamespace(global_step=7)
            masks.on_train_begin(model=model)
            masks.on_step_begin(args, state, None)
            for _ in range(3):
                kept.append(model(torch.ones(4, 16)) != 0)
                masks.on_substep_end(args, state, None)
            masks.on_train_end()
        assert 6 == len({mask.numpy().tobytes() for mask in kept})
        with Trial(HALF, 0).masks(7, rows=range(24)):
            whole = model(torch.ones(24, 16)) != 0
        order = [kept[k] for k in (0, 3, 1, 4, 2, 5)]
        assert by_example == torch.equal(torch.cat(order), whole)


class Stirred(transformers.TrainerCallback):
    """Seeds torch anew in the middle of everything."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def on_step_begin(self, *_, **__) -> None:
        """Stir."""
        torch.manual_seed(self.seed)


def test_rates_follow_the_steps(tmp_path) -> None:
    """A schedule counts optimizer's steps, each of two micro batches here."""
    seen = Seen()
    arm = Arm("late", rates=Schedule.late(0.5, start=2))
    fit_of(tmp_path, callbacks=[seen])(Trial(arm, 0))
    assert [0.0] * 4 + [0.5] * 4 == seen.rates


@pytest.mark.parametrize("at", [1, 3])
def test_resumed_training_is_the_same(tmp_path, at) -> None:
    """Cut off and resumed from a checkpoint, a training ends with the same bits."""
    options = {"save_strategy": "steps", "save_steps": 1, "eval_strategy": "no"}
    arm = Arm("linear", rates=Schedule.linear(0.1, 0.6, steps=4))

    def trained(folder: Path, *, until: int | None, resume: bool) -> list[torch.Tensor]:
        transformers.set_seed(5)
        trial = Trial(arm, 0)
        trainer = make(trial, folder=folder, **options)
        with trial.apply(trainer.model), NamedMasks(trial) as masks:
            trainer.add_callback(masks)
            if until is not None:
                trainer.add_callback(Ends(until))
            torch.rand(17 if resume else 1)  # another process stands somewhere else
            trainer.train(resume_from_checkpoint=resume)
        return weights(trainer)

    whole = trained(tmp_path / "whole", until=None, resume=False)
    part = trained(tmp_path / "cut", until=at, resume=False)
    assert not equal(whole, part)
    for state in (tmp_path / "cut").rglob("rng_state.pth"):
        state.unlink()  # names are enough
    assert equal(whole, trained(tmp_path / "cut", until=None, resume=True))


@pytest.mark.long
@pytest.mark.filterwarnings("ignore")  # the compiler and torch.jit, of each other
def test_compiled_training_draws_the_same_masks(tmp_path) -> None:
    """With ``torch_compile`` losses are those of eager mode up to rounding; masks move them more."""
    losses = []
    for replicate, is_compiled in ((0, False), (0, True), (1, False)):
        transformers.set_seed(5)
        options = {"max_steps": 3, "logging_steps": 1, "eval_strategy": "no"}
        data = Trial(HALF, 0)
        trainer = make(data, folder=tmp_path, torch_compile=is_compiled, **options)
        trial = Trial(HALF, replicate)
        with trial.apply(trainer.model), NamedMasks(trial) as masks:
            trainer.add_callback(masks)
            trainer.train()
        logs = trainer.state.log_history
        losses.append(torch.tensor([log["loss"] for log in logs if "loss" in log]))
    eager, compiled, other = losses
    assert torch.allclose(eager, compiled, rtol=0.0, atol=1e-5)
    assert (eager - other).abs().min() > 1e-3


class Ends(transformers.TrainerCallback):
    """Ends training after a step."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_step_end(self, _, state, control, **__) -> None:
        """End it."""
        control.should_training_stop = state.global_step >= self.step


class Breaks(transformers.TrainerCallback):
    """Raises in the middle of a step."""

    def on_substep_end(self, *_, **__) -> None:
        """Raise."""
        raise ValueError("broken")


@pytest.mark.parametrize("breaks", [False, True])
def test_everything_is_put_back(tmp_path, breaks) -> None:
    """After the run, however it ends, rates and layers are the model's own, and no mask is named."""
    made = []

    def keep(trial: Trial) -> transformers.Trainer:
        made.append(make(trial, folder=tmp_path, callbacks=[Breaks()] if breaks else []))
        return made[0]

    if breaks:
        with pytest.raises(ValueError, match=r"^broken$"):
            TrainerFit(keep)(Trial(HALF, 0))
    else:
        TrainerFit(keep)(Trial(HALF, 0))
    model = made[0].model
    drops = [m for m in model.modules() if isinstance(m, torch.nn.Dropout)]
    assert {0.1} == {drop.p for drop in drops}
    assert {torch.nn.Dropout} == {type(drop) for drop in drops}
    assert not model._forward_pre_hooks
    assert current_scope() is None
    names = [type(callback).__name__ for callback in made[0].callback_handler.callbacks]
    assert not {"NamedMasks", "_Watch"} & set(names)


def test_weight_decay_is_the_arms(tmp_path) -> None:
    """The optimizer decays by what the arm says."""
    made = []

    def keep(trial: Trial) -> transformers.Trainer:
        made.append(make(trial, folder=tmp_path, weight_decay=0.7))
        return made[0]

    TrainerFit(keep)(Trial(Arm("decay", weight_decay=0.25), 0))
    assert {0.0, 0.25} == {group["weight_decay"] for group in made[0].optimizer.param_groups}


def test_model_init_is_served(tmp_path) -> None:
    """A model that Trainer makes anew when training begins has the rates and the seed too."""
    seen = Seen()
    found = fit_of(tmp_path, model_init=a_model, callbacks=[seen])(Trial(HALF, 0))
    again = fit_of(tmp_path, model_init=a_model)(Trial(HALF, 0))
    other = fit_of(tmp_path, model_init=a_model)(Trial(HALF, 1))
    assert [0.5] * 8 == seen.rates
    assert found["validation_loss"] == again["validation_loss"] != other["validation_loss"]


def test_trial_that_is_to_stop_stops(tmp_path) -> None:
    """A loss that is not finite ends training at once, and nothing is evaluated any more."""
    trial = Trial(HALF, 0)
    options = {"learning_rate": 1e30, "logging_steps": 1, "logging_nan_inf_filter": False}
    assert {} == fit_of(tmp_path, eval_strategy="no", max_steps=8, **options)(trial)
    assert len(trial.points) < 8
    assert not math.isfinite(trial.points[-1].metrics["train_loss"])


def test_study_of_a_recipe(tmp_path) -> None:
    """A study takes the recipe as its fit, and its file bears the name of what makes Trainers."""
    fit = fit_of(tmp_path)
    assert innermost(fit) is make
    study = Study(fit, [Arm("none"), HALF], replicates=2)
    result = study.run()
    assert "make" == study.design()["fit"]
    assert 2 == result.n_complete
    signals = {signal.name: signal.state for signal in result.verdict.signals}
    assert "silent" == signals["arms-alike"] == signals["replicates-alike"]


def test_missing_transformers_names_the_extra(monkeypatch) -> None:
    """Without transformers the error says what to install."""
    monkeypatch.setitem(sys.modules, "transformers", None)
    for name in ("trainer", "trainer_masks"):
        monkeypatch.delitem(sys.modules, f"dropkit.studies.recipes.{name}")
    message = "a recipe for Trainer needs transformers: pip install 'dropkit[finetune]'."
    with pytest.raises(MissingExtraError, match="^" + re.escape(message) + "$"):
        from dropkit.studies.recipes.trainer import TrainerFit  # noqa: F401


def test_decay_that_is_not_the_arms_is_refused(tmp_path) -> None:
    """An optimizer that was brought along must have the arm's weight decay."""

    def keep(trial: Trial) -> transformers.Trainer:
        made = make(trial, folder=tmp_path)
        made.optimizer = torch.optim.SGD(made.model.parameters(), lr=0.1, weight_decay=0.5)
        return made

    message = (
        "the optimizer must decay by the 0.25 of arm 'decay'; got 0.5. Give it "
        "trial.arm.weight_decay where it is made."
    )
    with pytest.raises(OptionError, match="^" + re.escape(message) + "$"):
        TrainerFit(keep)(Trial(Arm("decay", weight_decay=0.25), 0))
