"""What does a guard cost a model in service, and what does freezing save?

Prints a JSON line a case to stdout, and a table in microseconds a forward to stderr. Each model
answers a batch of one in eval mode without gradients: as it is, under `dropkit.guard`, frozen, and
frozen under a guard; and in training mode, which is the fault that a guard is for, without one and
with one that counts.

    python bench/serving.py --threads 1 > serving.jsonl
"""

import statistics
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import _measure as measure
import torch
from torch import nn

from dropkit.serving import freeze, guard

COLUMNS = ("eval", "guarded", "frozen", "both", "training", "counted")


def mlp() -> tuple[nn.Module, Any]:
    """As small as services get: two layers of 256."""
    model = nn.Sequential(
        *(nn.Linear(64, 256), nn.ReLU(), nn.Dropout(0.1)),
        *(nn.Linear(256, 256), nn.ReLU(), nn.Dropout(0.1)),
        nn.Linear(256, 8),
    )
    return model, torch.randn(1, 64)


def encoder() -> tuple[nn.Module, Any]:
    """Torch's own, four layers of 256, 32 tokens."""
    layer = nn.TransformerEncoderLayer(256, 4, 512, dropout=0.1, batch_first=True)
    return nn.TransformerEncoder(layer, 4, enable_nested_tensor=False), torch.randn(1, 32, 256)


def minilm() -> tuple[nn.Module, Any]:
    """BERT with the sizes of MiniLM-L6, 32 tokens: what an intent router has inside."""
    from transformers import BertConfig, BertModel

    sizes = {"hidden_size": 384, "num_hidden_layers": 6, "num_attention_heads": 12}
    model = BertModel(BertConfig(**sizes, intermediate_size=1536, vocab_size=1000))
    return model, {"input_ids": torch.arange(32)[None]}


MODELS: dict[str, Callable[[], tuple[nn.Module, Any]]] = {
    "mlp": mlp,
    "nn.TransformerEncoder": encoder,
    "BERT, size of MiniLM-L6": minilm,
}


def main() -> None:
    """Measure, and print."""
    options = measure.parser(__doc__).parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    measure.say("microseconds a forward".ljust(26) + "".join(name.rjust(10) for name in COLUMNS))
    for name, make in MODELS.items():
        model, batch = make()
        training = make()[0].train()
        frozen = freeze(model, batch).model
        model.eval()

        def call(which: nn.Module, batch: Any = batch) -> Callable[[], object]:
            if isinstance(batch, dict):
                return lambda: which(**batch)
            return lambda: which(batch)

        cases = dict(
            zip(COLUMNS, map(call, (model, model, frozen, frozen, training, training)), strict=True)
        )
        around: dict[str, Callable[[], AbstractContextManager[object]]] = {
            "guarded": lambda model=model: guard(model),
            "both": lambda frozen=frozen: guard(frozen),
            "counted": lambda training=training: guard(training, "count"),
        }
        with torch.no_grad():
            seconds = measure.interleaved(
                cases,
                repeats=3 if options.quick else measure.REPEATS,
                around=around,
                clock=measure.time.process_time,
            )
        for case, found in seconds.items():
            line = {"question": "serving", "model": name, "case": case}
            measure.emit(line | measure.spread(found, 1) | measure.facts())
        medians = [statistics.median(seconds[case]) * 1e6 for case in COLUMNS]
        measure.say(name.ljust(26) + "".join(f"{one:10.1f}" for one in medians))


if __name__ == "__main__":
    main()
