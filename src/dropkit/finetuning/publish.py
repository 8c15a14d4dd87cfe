"""The best arm's weights under their final name: whole, or not at all."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dropkit.errors import OptionError, StoreError
from dropkit.finetuning.card import model_card
from dropkit.finetuning.keeping import TrialFolder
from dropkit.finetuning.models import load_tokenizer
from dropkit.finetuning.result import FinetuneResult

_ADAPTER_CONFIG = "adapter_config.json"


def check_out(out: Path, *, overwrite: bool) -> None:
    """Refuse a place for the result before hours are spent on it.

    Raises:
        OptionError: It is taken, or cannot be written to.
    """
    if out.exists() and not overwrite:
        raise OptionError(
            f"`--out` must be a folder that is not there yet; {str(out)!r} is. Take another name, "
            "or --overwrite."
        )
    if out.exists() and not (out.is_dir() and (out / "report.json").is_file()):
        raise OptionError(
            f"`--overwrite` replaces what dropkit wrote, and {str(out)!r} is none of it."
        )
    if not out.absolute().parent.is_dir():
        raise OptionError(f"`--out` must lie in a folder that exists; got {str(out)!r}.")


def publish(
    result: FinetuneResult,
    run: Path,
    out: Path,
    write_reports: Callable[[FinetuneResult, Path], None] = lambda _, __: None,
) -> None:
    """Put weights, tokenizer, model card and reports into `out`, in one step.

    The weights are safetensors; an adapter loads with PEFT alone. Everything is written beside
    `out` first and gets its name last.

    Args:
        result: What came out.
        run: Where the trials kept their weights.
        out: Replaced where it is there.
        write_reports: Writes more into the folder that it is given.

    Raises:
        StoreError: It cannot be written, a full disk say; `out` is as it was.
        OptionError: No trial was finished.
    """
    if result.adapter is None:
        raise OptionError("there is nothing to keep: no trial was finished.")
    arms = [arm.name for arm in result.arms]
    kept = TrialFolder(run, arms.index(result.adapter.arm), result.adapter.replicate).best
    draft = out.with_name(f".{out.name}.part")
    try:
        shutil.rmtree(draft, ignore_errors=True)
        shutil.copytree(kept, draft)
        load_tokenizer(str(result.settings["model"])).save_pretrained(draft)
        _set_rate(draft, result.adapter.rate)
        (draft / "README.md").write_text(model_card(result), encoding="utf-8")
        write_reports(result, draft)
        _put(draft, out)
    except OSError as error:
        shutil.rmtree(draft, ignore_errors=True)
        raise StoreError(
            f"{str(out)!r} cannot be written: {error.strerror or error}. Nothing is lost: the same "
            "command goes on from here when there is room."
        ) from error
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise


def _put(draft: Path, out: Path) -> None:
    """Give `draft` the name `out`; what was there goes last."""
    old = out.with_name(f".{out.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if out.exists():
        out.rename(old)
    try:
        draft.rename(out)
    except OSError:
        if old.exists():
            old.rename(out)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _set_rate(folder: Path, rate: float) -> None:
    """The adapter's own file names the rate it was trained with."""
    path = folder / _ADAPTER_CONFIG
    if path.is_file():
        config: dict[str, Any] = json.loads(path.read_text("utf-8"))
        config["lora_dropout"] = rate
        path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", "utf-8")
