"""How much longer does a training step take with dropout than without, for torch and dropkit?

Prints a JSON line a model to stdout, and a table to stderr. A step is forward, backward and SGD.
The same model, weights and batch in every case; "without" is the same model with all rates 0.
A model is accelerated before its steps are timed, as a user does it once before training.
Peak memory is that of a process of its own a case, above what it held before the first step
(Linux only).

    python bench/training_step.py > training_step.jsonl
    python bench/training_step.py --only mlp
    OMP_NUM_THREADS=1 python bench/training_step.py --processor-time
"""

import contextlib
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import _measure as measure
import torch
from torch import Tensor, nn

import dropkit

QUESTION = "training_step"
KINDS = ("without", "torch", "dropkit")
Step = Callable[[], None]


def _bert(rate: float, implementation: str) -> tuple[nn.Module, Callable[[nn.Module], Tensor]]:
    from transformers import BertConfig, BertForSequenceClassification

    config = BertConfig(
        hidden_size=256,
        num_hidden_layers=4,
        num_attention_heads=4,
        intermediate_size=1024,
        hidden_dropout_prob=rate,
        attention_probs_dropout_prob=rate,
        attn_implementation=implementation,
    )
    ids, labels = torch.randint(0, 30000, (16, 128)), torch.randint(0, 2, (16,))
    return BertForSequenceClassification(config), lambda m: m(ids, labels=labels).loss


def _gpt2(rate: float) -> tuple[nn.Module, Callable[[nn.Module], Tensor]]:
    from transformers import GPT2Config, GPT2LMHeadModel

    config = GPT2Config(
        n_layer=2, n_embd=768, n_head=12, resid_pdrop=rate, embd_pdrop=rate, attn_pdrop=rate
    )
    ids = torch.randint(0, 50000, (4, 256))
    return GPT2LMHeadModel(config), lambda m: m(ids, labels=ids).loss


def _encoder(rate: float) -> tuple[nn.Module, Callable[[nn.Module], Tensor]]:
    layer = nn.TransformerEncoderLayer(256, 4, 1024, rate, batch_first=True)
    x = torch.randn(16, 128, 256)
    return nn.TransformerEncoder(layer, 4), lambda m: m(x).square().mean()


def _mlp(rate: float) -> tuple[nn.Module, Callable[[nn.Module], Tensor]]:
    layers = [nn.Linear(784, 1024), nn.ReLU(), nn.Dropout(rate)]
    layers += [nn.Linear(1024, 1024), nn.ReLU(), nn.Dropout(rate), nn.Linear(1024, 10)]
    x, y = torch.randn(128, 784), torch.randint(0, 10, (128,))
    return nn.Sequential(*layers), lambda m: nn.functional.cross_entropy(m(x), y)


MODELS: dict[str, tuple[Callable[..., Any], float]] = {
    "bert, eager": (lambda rate: _bert(rate, "eager"), 0.1),
    "bert, sdpa": (lambda rate: _bert(rate, "sdpa"), 0.1),
    "gpt2": (_gpt2, 0.1),
    "nn.TransformerEncoder": (_encoder, 0.1),
    "mlp": (_mlp, 0.5),
}


def _step(name: str, kind: str) -> tuple[Step, measure.Around]:
    """A step, and what is to be open around it."""
    make, rate = MODELS[name]
    torch.manual_seed(0)
    model, loss = make(0.0 if kind == "without" else rate)
    optimizer = torch.optim.SGD(model.train().parameters(), lr=1e-3)

    def step() -> None:
        optimizer.zero_grad()
        loss(model).backward()
        optimizer.step()

    if kind == "dropkit":
        return step, lambda: dropkit.accelerate(model)
    return step, contextlib.nullcontext


def _peak_mib(name: str, kind: str) -> float:
    """Peak memory of three steps, above what the process held before them."""
    command = [sys.executable, __file__, "--peak-of", name, kind]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(json.loads(done.stdout))


def _print_peak(name: str, kind: str) -> None:
    step, around = _step(name, kind)

    def steps() -> None:
        for _ in range(3):
            step()

    with around():
        print(measure.peak_mib(steps))


def main() -> None:
    """Measure all models."""
    parser = measure.parser(__doc__)
    parser.add_argument("--only", choices=list(MODELS), help="one model")
    parser.add_argument(
        "--processor-time", action="store_true", help="not what a step lasts, but what it computes"
    )
    parser.add_argument("--peak-of", nargs=2, help="print the peak of one case, in MiB, and end")
    options = parser.parse_args()
    if options.peak_of:
        _print_peak(*options.peak_of)
        return
    if options.threads is not None:
        torch.set_num_threads(options.threads)
    repeats = 5 if options.quick else 11
    clock = time.process_time if options.processor_time else time.perf_counter
    measure.say(
        f"{'':<24}{'ms without':>11}{'torch':>8}{'dropkit':>9}   MiB without, torch, dropkit"
    )
    for name in [options.only] if options.only else MODELS:
        made = {kind: _step(name, kind) for kind in KINDS}
        seconds = measure.interleaved(
            {kind: step for kind, (step, _) in made.items()},
            around={kind: around for kind, (_, around) in made.items()},
            repeats=repeats,
            repeat_s=0.0,
            clock=clock,
        )
        ms = {kind: statistics.median(taken) * 1e3 for kind, taken in seconds.items()}
        ratios = measure.over(seconds, "without")
        peaks = {kind: _peak_mib(name, kind) for kind in KINDS}
        measure.emit(
            {
                "question": QUESTION,
                "model": name,
                "threads": torch.get_num_threads(),
                "clock": clock.__name__,
                "median_ms": {kind: round(value, 2) for kind, value in ms.items()},
                "over_without": {kind: round(ratios[kind], 3) for kind in ("torch", "dropkit")},
                "peak_mib": {kind: round(value, 1) for kind, value in peaks.items()},
                **measure.facts(),
            }
        )
        measure.say(
            f"{name:<24}{ms['without']:>11.1f}{ratios['torch']:>8.3f}{ratios['dropkit']:>9.3f}   "
            + ", ".join(f"{peaks[kind]:.0f}" for kind in KINDS)
        )


if __name__ == "__main__":
    main()
