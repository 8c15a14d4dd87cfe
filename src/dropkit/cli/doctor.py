"""``dropkit doctor``: what this installation runs on."""

import os
import platform
from importlib.metadata import PackageNotFoundError, version

import numpy as np
import torch
from rich.console import Console
from rich.markup import escape
from rich.table import Table

import dropkit
from dropkit.core import reference
from dropkit.core.binding import ISA_VARIABLE, LOADED

_EXTRAS = {
    "cli": ("typer", "rich"),
    "study": ("jinja2", "scipy", "torchmetrics"),
    "demo": ("chatterbot-corpus", "pyyaml"),
    "ray": ("ray",),
    "parquet": ("pyarrow",),
}

# Counter, key and output of Philox4x32-7, from Random123's list of known answers.
_KNOWN = (
    ((0, 0, 0, 0), (0, 0), (0x5F6FB709, 0x0D893F64, 0x4F121F81, 0x4F730A48)),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0x4DFCCABA, 0x190A87F0, 0xC47362BA, 0xB6B5242A),
    ),
)


def doctor() -> None:
    """Print versions, instruction set, threads and where the C core was loaded from."""
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in _facts():
        table.add_row(name, escape(value))
    Console().print(table)


def _facts() -> list[tuple[str, str]]:
    facts = [
        ("dropkit", dropkit.__version__),
        ("python", f"{platform.python_version()} on {platform.system()} {platform.machine()}"),
        (
            "torch",
            f"{torch.__version__}, {torch.get_num_threads()} threads of {os.cpu_count()} cores",
        ),
        ("numpy", np.__version__),
    ]
    core = LOADED.core
    if core is None:
        facts += [
            ("C core", f"not in use: {LOADED.why_not}"),
            ("masks", "drawn by the slow twin: the same bits, many times slower"),
        ]
        if os.environ.get(ISA_VARIABLE) is None:
            facts.append(("next", "install a C compiler (cc, gcc or clang), then dropkit again"))
    else:
        isas = core.isas()
        absent = [name for name, can_run in isas.items() if not can_run]
        usable = ", ".join(name for name, can_run in isas.items() if can_run)
        facts += [
            ("C core", str(core.path)),
            ("instructions", f"{core.isa} in use; usable here: {usable}"),
        ]
        if absent:
            facts.append(("", f"not on this machine: {', '.join(absent)}"))
        if ISA_VARIABLE in os.environ:
            facts.append(("", f"forced by {ISA_VARIABLE}={os.environ[ISA_VARIABLE]}"))
    facts.append(
        ("known answers", "agree" if _known_answers_agree() else "DIFFER: do not use this build")
    )
    facts += [(f"extra {extra}", _installed(packages)) for extra, packages in _EXTRAS.items()]
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "none seen by torch"
    facts.append(("gpu", gpu))
    return facts


def _known_answers_agree() -> bool:
    draws = [reference.philox] if LOADED.core is None else [reference.philox, LOADED.core.philox]
    return all(draw(counter, key) == words for draw in draws for counter, key, words in _KNOWN)


def _installed(packages: tuple[str, ...]) -> str:
    said = []
    for package in packages:
        try:
            said.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            said.append(f"{package} missing")
    return ", ".join(said)
