"""The model that is fine-tuned, its tokenizer, and the adapter on it."""

import contextlib
import re
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from dropkit.errors import MissingExtraError, OptionError
from dropkit.finetuning.settings import Settings

#: Of the adapter when it is made; the arm's own is set afterwards. At 0 PEFT makes no place for it.
_ANY_RATE = 0.1


def load_tokenizer(name: str) -> Any:
    """The tokenizer of the model `name`.

    Raises:
        OptionError: There is none, or it cannot be read.
        MissingExtraError: transformers is not installed.
    """
    return _loaded(name, "AutoTokenizer", "tokenizer")


def load_model(settings: Settings, labels: Sequence[str] = ()) -> Any:
    """The model to train, in float32, without an adapter.

    Args:
        settings: Which one.
        labels: Names of the classes, of a classifier.

    Raises:
        OptionError: There is none, or it cannot be read as a model of this task.
        MissingExtraError: transformers is not installed.
    """
    check_place(settings.model)
    options: dict[str, Any] = {"dtype": torch.float32}
    if settings.task == "chat":
        return _loaded(settings.model, "AutoModelForCausalLM", "causal language model", **options)
    options |= {
        "num_labels": len(labels),
        "id2label": dict(enumerate(labels)),
        "label2id": {label: k for k, label in enumerate(labels)},
    }
    kind = "sequence classifier"
    return _loaded(settings.model, "AutoModelForSequenceClassification", kind, **options)


def _loaded(name: str, loader: str, kind: str, **options: Any) -> Any:
    try:
        import transformers  # noqa: PLC0415 - an extra
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            "fine-tuning needs transformers: pip install 'dropkit[finetune]'."
        ) from error
    try:
        with quiet_loading():
            return getattr(transformers, loader).from_pretrained(name, **options)
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        if not Path(name).is_dir():
            raise OptionError(
                f"`model` must be a folder with a model of transformers, or the name of one that "
                f"can be had from the hub; got {name!r}, which is no folder here: {_first(error)}"
            ) from error
        raise OptionError(
            f"`model` must hold a {kind}; the folder {name!r} cannot be read as one: "
            f"{_first(error)}"
        ) from error


def check_place(name: str) -> None:
    """Refuse what is plainly no model, before transformers says so in words of its own.

    Raises:
        OptionError: `name` is a path with no model; a name on the hub is not looked up.
    """
    place = Path(name)
    is_path = place.is_absolute() or name.startswith(".") or name.count("/") > 1
    if place.is_dir():
        if not (place / "config.json").is_file():
            raise OptionError(
                f"`model` must be a folder as save_pretrained writes it; {name!r} has no "
                "config.json."
            )
    elif is_path or place.is_file():
        raise OptionError(f"`model` must be a folder, or a name on the hub; {name!r} is neither.")


def _first(error: Exception) -> str:
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0]


@contextlib.contextmanager
def quiet_loading() -> Iterator[None]:
    """No progress bars and no remarks on new heads, which are meant to be new."""
    from transformers.utils import logging  # noqa: PLC0415 - an extra

    hf: Any = logging  # untyped in part

    level, was_shown = hf.get_verbosity(), hf.is_progress_bar_enabled()
    hf.set_verbosity_error()
    hf.disable_progress_bar()
    try:
        yield
    finally:
        hf.set_verbosity(level)
        if was_shown:
            hf.enable_progress_bar()


def with_adapter(model: nn.Module, settings: Settings) -> Any:
    """`model` within PEFT, its base frozen, with a place of dropout at each adapter.

    Raises:
        OptionError: No layer has such a name.
        MissingExtraError: peft is not installed.

    Source:
        Hu et al. 2022, ICLR, arXiv:2106.09685.
    """
    try:
        import peft  # noqa: PLC0415 - an extra
    except ModuleNotFoundError as error:
        raise MissingExtraError("adapters need peft: pip install 'dropkit[finetune]'.") from error
    config = peft.LoraConfig(
        r=settings.rank,
        lora_alpha=settings.alpha,
        lora_dropout=_ANY_RATE,
        target_modules=list(settings.targets) or None,
        layers_to_transform=_layers(model, settings.last_layers),
        task_type="CAUSAL_LM" if settings.task == "chat" else "SEQ_CLS",
    )
    try:
        with old_names():
            return peft.get_peft_model(model, config)
    except ValueError as error:
        linear = sorted(
            {n.rpartition(".")[2] for n, m in model.named_modules() if isinstance(m, nn.Linear)}
        )
        raise OptionError(
            f"`targets` must name layers of the model; got {', '.join(settings.targets) or 'none'} "
            f"for a {type(model).__name__}. Its linear layers: {', '.join(linear)}."
        ) from error


@contextlib.contextmanager
def old_names() -> Iterator[None]:
    """A block in which PEFT may ask transformers for an attribute by its old name."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing.*")
        yield


def _layers(model: nn.Module, last: int) -> list[int] | None:
    if not last:
        return None
    numbers = [int(n) for name, _ in model.named_modules() for n in re.findall(r"\.(\d+)$", name)]
    n_blocks = getattr(getattr(model, "config", None), "num_hidden_layers", 0) or (
        max(numbers, default=-1) + 1
    )
    if last > n_blocks:
        raise OptionError(f"`last_layers` must be at most the model's {n_blocks}; got {last}.")
    return list(range(n_blocks - last, n_blocks))
