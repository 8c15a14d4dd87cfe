"""What does an audit find in healthy models, and what does it cost beside a step of training?

    python bench/audit.py [--table] [NAME ...]

Prints a line of JSON, or with ``--table`` a row of a Markdown table, for each model of the zoo, and
for three of usual sizes: how many rules looked, the findings by severity, the seconds of an audit,
of a forward and backward pass, and their ratio. The audit's runs are counted by the seconds that it
says itself.
"""

import json
import sys
import time
import warnings
from pathlib import Path

import torch

import dropkit

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "support"))

from support_entry import Entry, ids
from support_models import MODELS
from support_models_transformers import built, classified, continued


def bert(hidden: int = 256) -> torch.nn.Module:
    """Four layers."""
    return built(
        "BertForSequenceClassification",
        "sdpa",
        vocab_size=1000,
        hidden_size=hidden,
        num_hidden_layers=4,
        num_attention_heads=4,
        intermediate_size=4 * hidden,
        num_labels=8,
    )


def gpt2() -> torch.nn.Module:
    """Four layers."""
    return built(
        "GPT2LMHeadModel", "sdpa", vocab_size=64, n_embd=256, n_layer=4, n_head=4, use_cache=False
    )


TOKENS = ids(8, 128)
SIZED = (
    Entry("bert, 4 layers of 256", bert, {"input_ids": TOKENS}, classified, places=14),
    Entry("bert, 4 layers of 64", lambda: bert(64), {"input_ids": TOKENS}, classified, places=14),
    Entry("gpt-2, 4 layers of 256", gpt2, {"input_ids": ids(2, 12)}, continued, places=13),
)


def seconds_of_a_pass(entry: Entry, model: torch.nn.Module, repeats: int = 5) -> float:
    """Median of a forward and a backward in training mode."""
    times = []
    for _ in range(repeats + 1):
        model.zero_grad()
        begin = time.perf_counter()
        entry.loss(entry.run(model)).backward()
        times.append(time.perf_counter() - begin)
    model.zero_grad()
    return sorted(times[1:])[repeats // 2]


HEAD = (
    "| model | sites | rules | errors | warnings | notes | audit, ms | passes |",
    "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
)


def table_row(row: dict[str, object]) -> str:
    """A row under `HEAD`; codes stand beside the counts."""
    codes = f" ({', '.join(row['codes'])})" if row["codes"] else ""
    cells = [
        f"{row['model']}{codes}",
        *(row[key] for key in ("sites", "rules", "error", "warning", "info")),
        f"{1000 * row['audit_s']:.0f}",
        row["passes"],
    ]
    return f"| {' | '.join(map(str, cells))} |"


def main() -> None:
    """Print the table."""
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    dropkit.audit(torch.nn.Dropout(0.5), torch.ones(1))  # what is imported once
    is_table = "--table" in sys.argv[1:]
    wanted = [word for word in sys.argv[1:] if word != "--table"]
    if is_table:
        print("\n".join(HEAD))
    for entry in (*SIZED, *MODELS.values()):
        if wanted and not any(word in entry.name for word in wanted):
            continue
        model = entry.build()
        one_pass = seconds_of_a_pass(entry, model)
        audit = dropkit.audit(model, entry.batch, loss=entry.loss)
        severities = [finding.severity for finding in audit.findings]
        row = {
            "model": entry.name,
            "parameters": audit.facts["parameters"],
            "sites": audit.facts["active_sites"],
            "rules": len(audit.rules),
            **{kind: severities.count(kind) for kind in ("error", "warning", "info")},
            "codes": sorted({finding.code for finding in audit.findings}),
            "audit_s": round(audit.seconds, 4),
            "pass_s": round(one_pass, 4),
            "passes": round(audit.seconds / one_pass, 1),
        }
        print(table_row(row) if is_table else json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
