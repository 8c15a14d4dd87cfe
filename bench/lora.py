"""What does LoRA's dropout cost: bytes kept, peak memory and time of a step?

A small Llama with adapters on all linear maps of its blocks: without dropout, with PEFT's at 0.1,
and with the same after ``dropkit.accelerate``. A step is forward and backward; steps of the three
take turns. Prints a JSON line a case to stdout, and a table to stderr.

Kept are the tensors that autograd holds between forward and backward, each storage once, without
parameters. Peak memory is the most that the process holds during a step above what it held before,
each case in a process of its own (Linux only).

    python bench/lora.py --threads 1 > lora.jsonl
"""

import json
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable

import _measure as measure
import torch
from torch import nn

import dropkit

QUESTION = "lora"
CASES = {"without": 0.0, "peft": 0.1, "dropkit": 0.1}
TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
BATCH, TOKENS = 8, 128


def _model(case: str) -> nn.Module:
    import peft
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=512,
        hidden_size=256,
        intermediate_size=704,
        num_hidden_layers=4,
        num_attention_heads=4,
    )
    lora = peft.LoraConfig(r=8, lora_dropout=CASES[case], target_modules=TARGETS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # between peft 0.21 and transformers 5.24
        model: nn.Module = peft.get_peft_model(LlamaForCausalLM(config), lora).train()
    if case == "dropkit":
        dropkit.accelerate(model)
    return model


def _step(case: str) -> tuple[nn.Module, Callable[[], torch.Tensor], Callable[[], None]]:
    """The model, its forward, and a step."""
    model, whole = _model(case), torch.randint(0, 512, (BATCH, TOKENS))

    def forward(ids: torch.Tensor = whole) -> torch.Tensor:
        loss: torch.Tensor = model(input_ids=ids, labels=ids).loss
        return loss

    forward(whole[:1, :8]).backward()  # what a first step alone does is done

    def step() -> None:
        model.zero_grad()
        forward().backward()

    return model, forward, step


def _kept_bytes(model: nn.Module, forward: Callable[[], torch.Tensor]) -> int:
    parameters = {p.untyped_storage().data_ptr() for p in model.parameters()}
    held: list[torch.Tensor] = []

    def keep(x: torch.Tensor) -> torch.Tensor:
        held.append(x)
        return x

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x):
        loss = forward()
    kept = {x.untyped_storage().data_ptr(): x.untyped_storage().nbytes() for x in held}
    del loss
    return sum(n for at, n in kept.items() if at not in parameters)


def _peak_of(case: str, threads: int) -> float:
    """In a process of its own."""
    command = [sys.executable, __file__, "--peak", case, "--threads", str(threads)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(json.loads(done.stdout)["peak_mib"])


def main() -> None:
    """Measure all cases, or in a process of its own the peak of one."""
    parser = measure.parser(__doc__)
    parser.add_argument("--peak", choices=CASES, help="print the peak memory of this case only")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    if options.peak:
        _, _, step = _step(options.peak)
        print(json.dumps({"peak_mib": measure.peak_mib(step)}))
        return
    made = {case: _step(case) for case in CASES}
    seconds: dict[str, list[float]] = {case: [] for case in CASES}
    for turn in range(4 if options.quick else 31):
        for case, (_, _, step) in made.items():
            begin = time.perf_counter()
            step()
            if turn:
                seconds[case].append(time.perf_counter() - begin)
    measure.say(f"{'':10}{'kept MiB':>10}{'peak MiB':>10}{'step ms':>10}{'median':>10}")
    for case, (model, forward, _) in made.items():
        line = {
            "question": QUESTION,
            "case": case,
            "rate": CASES[case],
            "kept_mib": round(_kept_bytes(model, forward) / 2**20, 2),
            "peak_mib": round(_peak_of(case, torch.get_num_threads()), 1),
            "min_ms": round(min(seconds[case]) * 1e3, 1),
            "median_ms": round(statistics.median(seconds[case]) * 1e3, 1),
            "repeats": len(seconds[case]),
            "threads": torch.get_num_threads(),
        }
        measure.emit({**line, **measure.facts()})
        numbers = [line[key] for key in ("kept_mib", "peak_mib", "min_ms", "median_ms")]
        measure.say(f"{case:10}" + "".join(f"{number:>10}" for number in numbers))


if __name__ == "__main__":
    main()
