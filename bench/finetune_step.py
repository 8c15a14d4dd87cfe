"""What does the dropout of adapters cost a step of `dropkit finetune`, with PEFT and accelerated?

Prints a JSON line a choice of layers to stdout, and a table to stderr. A step is forward, backward
and AdamW on a batch of 8 texts of 64 tokens, with LoRA of rank 8 in the layers that PEFT knows for
the model. "without" has a rate of 0, the others 0.1. Peak memory is that of a process of its own a
case, above what it held before the first step (Linux only). A folder is made by
``python examples/smollm2.py FOLDER``; without one the model is small and random.

    python bench/finetune_step.py --threads 1 --model FOLDER > finetune_step.jsonl
"""

import contextlib
import json
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any

import _measure as measure
import torch

import dropkit

QUESTION = "finetune_step"
KINDS = ("without", "peft", "dropkit")
RATE, BATCH, LENGTH = 0.1, 8, 64
Step = Callable[[], None]


def _base(folder: str) -> Any:
    from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

    if folder:
        return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    config = LlamaConfig(
        vocab_size=2048,
        hidden_size=192,
        intermediate_size=512,
        num_hidden_layers=8,
        num_attention_heads=3,
    )
    return LlamaForCausalLM(config)


def _step(folder: str, last: int, kind: str) -> tuple[Step, measure.Around]:
    """A step, and what is to be open around it; adapters in the `last` blocks, all with 0."""
    import peft

    torch.manual_seed(0)
    base = _base(folder)
    n_blocks = base.config.num_hidden_layers
    base.config.use_cache = False
    adapter = peft.LoraConfig(
        r=8,
        lora_alpha=16,
        lora_dropout=0.0 if kind == "without" else RATE,
        layers_to_transform=list(range(n_blocks - last, n_blocks)) if last else None,
        task_type="CAUSAL_LM",
    )
    with warnings.catch_warnings():
        # PEFT asks transformers for an attribute by its old name.
        warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing.*")
        model = peft.get_peft_model(base, adapter).train()
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-4)
    ids = torch.randint(3, base.config.vocab_size, (BATCH, LENGTH))

    def step() -> None:
        optimizer.zero_grad()
        model(input_ids=ids, labels=ids).loss.backward()
        optimizer.step()

    around = (lambda: dropkit.accelerate(model)) if kind == "dropkit" else contextlib.nullcontext
    return step, around


def _peak_mib(folder: str, last: int, kind: str, threads: int) -> float:
    """Peak memory of three steps, above what the process held before them."""
    command = [
        sys.executable, __file__, "--model", folder, "--threads", str(threads),
        "--peak-of", str(last), kind,
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(json.loads(done.stdout))


def _print_peak(folder: str, last: int, kind: str) -> None:
    step, around = _step(folder, last, kind)

    def steps() -> None:
        for _ in range(3):
            step()

    with around():
        print(measure.peak_mib(steps))


def main() -> None:
    """Measure adapters in all blocks, and in the last 8."""
    parser = measure.parser(__doc__)
    parser.add_argument("--model", default="", help="a folder; default: small and random")
    parser.add_argument("--last", type=int, help="only this many blocks have adapters; 0: all")
    parser.add_argument("--peak-of", nargs=2, help="print the peak of one case, in MiB, and end")
    options = parser.parse_args()
    if options.threads is not None:
        torch.set_num_threads(options.threads)
    if options.peak_of:
        _print_peak(options.model, int(options.peak_of[0]), options.peak_of[1])
        return
    threads = torch.get_num_threads()
    measure.say(f"{'adapters in':<12}{'':<10}{'ms least':>10}{'median':>9}{'over':>8}{'MiB':>8}")
    for last in (0, 8) if options.last is None else (options.last,):
        made = {kind: _step(options.model, last, kind) for kind in KINDS}
        seconds = measure.interleaved(
            {kind: step for kind, (step, _) in made.items()},
            around={kind: around for kind, (_, around) in made.items()},
            repeats=3 if options.quick else 11,
            repeat_s=0.0,
            clock=time.perf_counter,
        )
        del made
        ratios = measure.over(seconds, "without")
        peaks = {kind: _peak_mib(options.model, last, kind, threads) for kind in KINDS}
        measure.emit(
            {
                "question": QUESTION,
                "last": last,
                "threads": threads,
                "least_ms": {k: round(min(taken) * 1e3, 1) for k, taken in seconds.items()},
                "median_ms": {
                    k: round(statistics.median(taken) * 1e3, 1) for k, taken in seconds.items()
                },
                "over_without": {kind: round(value, 3) for kind, value in ratios.items()},
                "peak_mib": {kind: round(value, 1) for kind, value in peaks.items()},
                **measure.facts(),
            }
        )
        for kind in KINDS:
            taken = seconds[kind]
            measure.say(
                f"{f'the last {last}' if last else 'all':<12}{kind:<10}{min(taken) * 1e3:>10.1f}"
                f"{statistics.median(taken) * 1e3:>9.1f}{ratios[kind]:>8.3f}{peaks[kind]:>8.1f}"
            )


if __name__ == "__main__":
    main()
