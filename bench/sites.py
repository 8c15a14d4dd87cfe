"""How many places of dropout do dropkit, TRL and torch-uncertainty find in well-known models?

Prints a JSON line a model to stdout, and a table to stderr. The models are small ones of the same
architectures, from the tests; how many places each has was counted by reading it, and is measured
in the tests by something else than a finder. Beside `dropkit.find_sites` stand

- what TRL's ``disable_dropout_in_model`` switches off: ``isinstance(m, torch.nn.Dropout)``, written
  out here from trl/trainer/utils.py of TRL 1.16;
- what torch-uncertainty's ``mc_dropout`` keeps on in eval: ``isinstance(m, _DropoutNd)``; its own
  file is run, so have it without what it depends on:

    pip install --no-deps torch-uncertainty einops
    python bench/sites.py > sites.jsonl

A module at a rate of 0, and one that the forward never comes by, count for neither.
"""

import importlib.util
import sys
import warnings
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import _measure as measure
import torch
from torch import nn

import dropkit

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "support"))
from support_entry import tensors
from support_models import MODELS, Entry

QUESTION = "sites"
#: What skips layers at a rate of 0.2 skips the same ones, of four, in so many forwards once in 1e9.
FORWARDS = 20
COLUMNS = (
    *("places", "dropkit", "nn.Dropout", "mc_dropout"),
    *("on after TRL", "TRL equal", "silence equal", "awake in mc_dropout"),
)


def disable_dropout_in_model(model: nn.Module) -> None:
    """What TRL's function of this name does."""
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0


def _mc_dropout() -> Callable[..., Any] | None:
    """torch-uncertainty's, from its file alone: the package itself imports torchvision."""
    package = importlib.util.find_spec("torch_uncertainty")
    if package is None or not package.submodule_search_locations:
        return None
    [file] = Path(package.submodule_search_locations[0]).rglob("mc_dropout.py")
    spec = importlib.util.spec_from_file_location("their_mc_dropout", file)
    if spec is None or spec.loader is None:
        return None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found: Callable[..., Any] = module.mc_dropout
    return found


def is_silent(entry: Entry, model: nn.Module) -> bool:
    """Whether forwards in training mode are equal to the bit."""
    model.train()
    with torch.no_grad():
        first, *others = [tensors(entry.run(model)) for _ in range(FORWARDS)]
    return all(torch.equal(a, b) for other in others for a, b in zip(first, other, strict=True))


def active(entry: Entry, model: nn.Module) -> int:
    """How many places draw in the mode that the model is in."""
    return sum(site.active for site in dropkit.find_sites(model, entry.batch))


def _awake(entry: Entry, mc_dropout: Callable[..., Any]) -> tuple[int, int]:
    """How many modules torch-uncertainty finds, and how many places it keeps on in eval."""
    model = entry.build()
    try:
        wrapper = mc_dropout(model, num_estimators=2)
    except ValueError:  # so it says that it has found none
        return 0, 0
    wrapper.eval()
    return sum(module.p > 0 for module in wrapper.filtered_modules), active(entry, model)


def row(entry: Entry, mc_dropout: Callable[..., Any] | None) -> dict[str, Any]:
    """What is found in one model."""
    model = entry.build()
    found = active(entry, model)
    n_modules = sum(isinstance(m, nn.Dropout) and m.p > 0 for m in model.modules())
    with dropkit.silence(model):
        silenced = is_silent(entry, model)
    disable_dropout_in_model(model)
    kept = (None, None) if mc_dropout is None else _awake(entry, mc_dropout)
    values = (
        *(entry.places, found, n_modules, kept[0]),
        *(active(entry, model), is_silent(entry, model), silenced, kept[1]),
    )
    return dict(zip(COLUMNS, values, strict=True))


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _shown(value: int | bool | None) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "-" if value is None else str(value)


def main() -> None:
    """Look at all models whose packages are installed."""
    options = measure.parser(__doc__).parse_args()
    if options.threads is not None:
        torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    mc_dropout = _mc_dropout()
    if mc_dropout is None:
        measure.say("torch-uncertainty is not installed: its columns stay empty")
    packages = {name: _version(name) for name in ("torch-uncertainty", "transformers", "peft")}
    measure.say("| model | " + " | ".join(COLUMNS) + " |")
    measure.say("| --- |" + " ---: |" * len(COLUMNS))
    entries, rows = list(MODELS.values()), []
    for entry in entries[:3] if options.quick else entries:
        if any(importlib.util.find_spec(package) is None for package in entry.needs):
            measure.say(f"{entry.name}: not measured, it needs {', '.join(entry.needs)}")
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's and transformers', of their own models
            found = row(entry, mc_dropout)
        rows.append(found)
        line = {"question": QUESTION, "model": entry.name, **found}
        measure.emit({**line, "packages": packages, **measure.facts()})
        measure.say(f"| {entry.name} | " + " | ".join(map(_shown, found.values())) + " |")
    total = {column: sum(one[column] or 0 for one in rows) for column in COLUMNS}
    measure.emit({"question": QUESTION, "model": "all", "models": len(rows), **total})
    measure.say(f"| all {len(rows)} | " + " | ".join(map(str, total.values())) + " |")


if __name__ == "__main__":
    main()
