"""How many forward passes does a trace of 64 samples last, and what does a recorder add to a step?

Prints JSON lines to stdout and a table to stderr. The models are GPT-2's of 6 layers and 19 sites;
a forward pass is one as in training, on torch's dropout, with gradients recorded. A recorder that
keeps one step of 100 adds a hundredth of what a recorded step takes longer, and its switching on
and off. Forwards, steps and traces take turns.

    python bench/trace.py > trace.jsonl
"""

import statistics
import time
from collections.abc import Callable

import _measure as measure
import torch
from torch import Tensor, nn

import dropkit

QUESTION = "trace"
SAMPLES = 64
#: Width, examples, tokens.
SIZES = ((64, 4, 64), (128, 8, 64), (256, 4, 128))


def _gpt2(width: int, n: int, length: int) -> tuple[nn.Module, dict[str, Tensor]]:
    import transformers

    transformers.logging.set_verbosity_error()
    torch.manual_seed(0)
    config = transformers.GPT2Config(
        n_layer=6,
        n_embd=width,
        n_head=4,
        vocab_size=1000,
        n_positions=length,
        use_cache=False,
        bos_token_id=1,
        eos_token_id=2,
    )
    ids = torch.randint(0, 1000, (n, length))
    return transformers.GPT2LMHeadModel(config).train(), {"input_ids": ids, "labels": ids}


def _seconds(call: Callable[[], object]) -> float:
    begin = time.perf_counter()
    call()
    return time.perf_counter() - begin


def _trace(size: tuple[int, int, int], repeats: int) -> None:
    model, batch = _gpt2(*size)
    forwards, traces = [], []
    for _ in range(repeats):
        forwards += [_seconds(lambda: model(**batch)) for _ in range(10)]
        traces.append(_seconds(lambda: dropkit.trace(model, batch, samples=SAMPLES)))
    forward, traced = statistics.median(forwards), statistics.median(traces)
    found = dropkit.trace(model, batch, samples=2)
    measure.emit(
        {
            "question": QUESTION,
            "case": "trace",
            "size": size,
            "sites": len(found.sites),
            "samples": SAMPLES,
            "threads": torch.get_num_threads(),
            "forward_ms": round(forward * 1e3, 2),
            "trace_s": round(traced, 2),
            "forwards": round(traced / forward, 1),
            **measure.facts(),
        }
    )
    measure.say(
        f"{size!s:<18} forward {forward * 1e3:7.1f} ms   trace {traced:6.2f} s   "
        f"= {traced / forward:5.1f} forwards of {3 * SAMPLES}"
    )


def _recorder(size: tuple[int, int, int], repeats: int) -> None:
    model, batch = _gpt2(*size)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)

    def step() -> None:
        optimizer.zero_grad()
        model(**batch).loss.backward()
        optimizer.step()

    recorder = dropkit.Recorder(model, every=3)
    turns: list[list[float]] = [[], [], []]  # recorded and off again, as ever, and on again
    for at in range(24 * repeats):
        turns[at % 3].append(_seconds(lambda: (step(), recorder.step())))
    recorder.close()
    recorded, base, switched_on = (statistics.median(turn) for turn in turns)
    more = recorded + switched_on - 2 * base
    measure.emit(
        {
            "question": QUESTION,
            "case": "recorder",
            "size": size,
            "threads": torch.get_num_threads(),
            "step_ms": round(base * 1e3, 2),
            "recorded_step_adds_ms": round(more * 1e3, 2),
            "share_at_every_100": round(more / base / 100, 5),
            **measure.facts(),
        }
    )
    measure.say(
        f"{size!s:<18} step {base * 1e3:8.1f} ms   a recorded one adds {more * 1e3:6.1f} ms   "
        f"= {more / base / 100:.2%} at every=100"
    )


def main() -> None:
    """Measure all sizes."""
    options = measure.parser(__doc__).parse_args()
    if options.threads is not None:
        torch.set_num_threads(options.threads)
    repeats = 1 if options.quick else 3
    for size in SIZES[:1] if options.quick else SIZES:
        _trace(size, repeats)
        _recorder(size, repeats)


if __name__ == "__main__":
    main()
