"""How long do 32 sub-networks take, beside a plain loop in training mode and beside other tools?

Prints a JSON line a model to stdout, and a table to stderr, in milliseconds a prediction. *loop* is
what people write: eval, dropout modules in training mode, 32 passes, torch's own masks. *one by
one* is dropkit with ``memory_budget=0``. Where no other site is meant, the loop and the other tools
drop less than *dropkit*: attention's dropout asks for the mode of the attention module, which stays
in eval. The column *spread* shows the mean standard deviation of the probabilities over
sub-networks, dropkit's over the loop's. All cases of a row take turns. The tools that cannot be
imported are left out, and named. torch-uncertainty repeats the batch 32 times in one pass; of it
only the file of that method is run, as the package needs torchvision.

    pip install --no-deps baal scikit-learn joblib threadpoolctl narwhals structlog
    pip install --no-deps torch-uncertainty einops
    python bench/mc_predict.py --threads 1 > mc_predict.jsonl
"""

import functools
import importlib
import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import _measure as measure
import torch
from torch import Tensor, nn
from torch.nn.modules.dropout import _DropoutNd

import dropkit

QUESTION = "mc_predict"
SAMPLES = 32


def _mlp() -> tuple[nn.Module, Any]:
    layers: list[nn.Module] = [nn.Linear(64, 512)]
    for _ in range(3):
        layers += [nn.ReLU(), nn.Dropout(0.1), nn.Linear(512, 512)]
    return nn.Sequential(*layers, nn.ReLU(), nn.Dropout(0.1), nn.Linear(512, 10)), (
        torch.randn(64, 64)
    )


def _conv() -> tuple[nn.Module, Any]:
    def block(channels: int, out: int) -> list[nn.Module]:
        return [nn.Conv2d(channels, out, 3, padding=1), nn.BatchNorm2d(out), nn.ReLU()]

    return nn.Sequential(
        *block(3, 32),
        *block(32, 64),
        nn.MaxPool2d(2),
        *block(64, 64),
        nn.AdaptiveAvgPool2d(4),
        nn.Flatten(),
        nn.Linear(1024, 128),
        nn.ReLU(),
        nn.Dropout(0.5),
        nn.Linear(128, 10),
    ), torch.randn(16, 3, 32, 32)


def _bert() -> tuple[nn.Module, Any]:
    import transformers

    config = transformers.BertConfig(
        vocab_size=1000,
        hidden_size=128,
        num_hidden_layers=4,
        num_attention_heads=4,
        intermediate_size=512,
        num_labels=10,
    )
    return transformers.BertForSequenceClassification(config), {
        "input_ids": torch.randint(5, 1000, (16, 32))
    }


#: Model and batch, the sites that are on, and how many examples.
CASES: dict[str, tuple[Callable[[], tuple[nn.Module, Any]], str | None, int]] = {
    "mlp": (_mlp, None, 64),
    "mlp, 2 examples": (_mlp, None, 2),
    "mlp, last dropout": (_mlp, "11", 64),
    "conv net, head": (_conv, None, 16),
    "conv net, head, 2 examples": (_conv, None, 2),
    "bert": (_bert, None, 16),
    "bert, 2 examples": (_bert, None, 2),
    "bert, last layer": (_bert, "*encoder.layer.3*", 16),
    "bert, last layer, 2 examples": (_bert, "*encoder.layer.3*", 2),
    "bert, classifier": (_bert, "dropout", 16),
}


def _first(batch: Any, n: int) -> Any:
    """So many examples of a batch."""
    return {k: x[:n] for k, x in batch.items()} if isinstance(batch, dict) else batch[:n]


def _logits(model: nn.Module, batch: Any) -> Tensor:
    out = model(**batch) if isinstance(batch, dict) else model(batch)
    found: Tensor = out if isinstance(out, Tensor) else out.logits
    return found


def _loop(model: nn.Module, batch: Any, names: set[str]) -> Tensor:
    model.eval()
    for name, module in model.named_modules():
        if name in names:
            module.train()
    with torch.no_grad():
        answers = [_logits(model, batch).softmax(-1) for _ in range(SAMPLES)]
    return torch.stack(answers)


class _Logits(nn.Module):
    """A model that gives its logits, for tools that know tensors only."""

    def __init__(self, model: nn.Module, keys: tuple[str, ...]) -> None:
        super().__init__()
        self.model, self.keys = model, keys

    def forward(self, x: Tensor) -> Tensor:
        return _logits(self.model, {self.keys[0]: x} if self.keys else x)


def _baal(model: nn.Module, batch: Any) -> Callable[[], object]:
    dropout = importlib.import_module("baal.bayesian.dropout")
    keys = tuple(batch) if isinstance(batch, dict) else ()
    x = batch[keys[0]] if keys else batch
    stochastic = dropout.patch_module(_Logits(model, keys), inplace=False).eval()

    def predict() -> object:
        with torch.no_grad():
            return torch.stack([stochastic(x).softmax(-1) for _ in range(SAMPLES)])

    return predict


def _file_of(package: str, path: str) -> Any:
    """One file of a package as a module, without what the package imports."""
    found = importlib.util.find_spec(package)
    if found is None or found.submodule_search_locations is None:
        raise ImportError(f"No module named {package!r}")
    file = Path(found.submodule_search_locations[0], path)
    spec = importlib.util.spec_from_file_location(file.stem, file)
    if spec is None or spec.loader is None:
        raise ImportError(f"{file} is no module")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _torch_uncertainty(model: nn.Module, batch: Any) -> Callable[[], object]:
    wrappers = _file_of("torch_uncertainty", "methods/mc_dropout.py")
    keys = tuple(batch) if isinstance(batch, dict) else ()
    x = batch[keys[0]] if keys else batch
    ensemble = wrappers.mc_dropout(_Logits(model, keys), SAMPLES, task="classification").eval()

    def predict() -> object:
        with torch.no_grad():
            return ensemble(x).softmax(-1)

    return predict


TOOLS = {"baal": _baal, "torch-uncertainty": _torch_uncertainty}


def _spread(answers: Tensor) -> float:
    return answers.double().std(0).mean().item()


def main() -> None:
    """Measure all cases."""
    parser = measure.parser(__doc__)
    parser.add_argument("--only", help="the models whose names begin with this", default="")
    options = parser.parse_args()
    if options.threads is not None:
        torch.set_num_threads(options.threads)
    how = {"repeats": 3, "repeat_s": 0.01} if options.quick else {"repeats": 7}
    columns = ("dropkit", "one by one", "loop", *TOOLS)
    measure.say(f"{'milliseconds':<29}" + "".join(f"{c:>19}" for c in columns) + f"{'spread':>9}")
    missing: dict[str, str] = {}
    for name, (make, only, n_examples) in CASES.items():
        if not name.startswith(options.only):
            continue
        torch.manual_seed(0)
        model, batch = make()
        batch = _first(batch, n_examples)
        drops = [n for n, m in model.named_modules() if isinstance(m, _DropoutNd)]
        on = {n for n in drops if only is None or dropkit.sites.patterns.matches([only], n)}
        ours = functools.partial(dropkit.mc_predict, model, batch, SAMPLES, only=only)
        loop = functools.partial(_loop, model, batch, on)
        one_by_one = functools.partial(ours, memory_budget=0)
        cases: dict[str, Callable[[], object]] = {
            "dropkit": ours,
            "one by one": one_by_one,
            "loop": loop,
        }
        for tool, prepare in TOOLS.items() if only is None else ():
            try:
                cases[tool] = prepare(make()[0], batch)
            except ImportError as error:
                missing[tool] = str(error)
        ratio = _spread(ours().answers) / _spread(loop())
        seconds = measure.interleaved(cases, **how)
        times = {case: measure.spread(taken, SAMPLES) for case, taken in seconds.items()}
        facts = {"threads": torch.get_num_threads(), **measure.facts()}
        case = {"model": name, "only": only, "samples": SAMPLES, "spread_ratio": round(ratio, 3)}
        measure.emit({"question": QUESTION, "case": case, "times": times, **facts})
        cells = [
            f"{times[c]['min_us'] / 1000:>19.1f}" if c in times else f"{'-':>19}" for c in columns
        ]
        measure.say(f"{name:<29}" + "".join(cells) + f"{ratio:>9.2f}")
    for tool, why in missing.items():
        measure.say(f"{tool} cannot be imported: {why}")


if __name__ == "__main__":
    main()
