"""Models with a planted fault, and models like them without, for the rules of the auditor."""

import importlib.util
import linecache
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

import dropkit

FOLDER = Path(__file__).parent.parent / "audit" / "cases"


@dataclass(frozen=True)
class Case:
    """A model and a batch for it.

    Attributes:
        name: As a test shows it.
        make: Builds the model, or the exported model, as it is handed to the audit.
        batch: What it is called with; None for an exported model.
        loss: As `dropkit.audit` takes it.
        options: Further arguments of `dropkit.audit`, made for the model.
        also: Codes of other rules that rightly see something in a bad case.
        fault: The thread in which a real project met the fault that a bad case rebuilds.
    """

    name: str
    make: Callable[[], Any]
    batch: Any
    loss: Callable[[Any], Tensor] | None = None
    options: Callable[[nn.Module], dict[str, Any]] = lambda _: {}
    also: tuple[str, ...] = ()
    fault: str = ""

    def build(self) -> Any:
        """A fresh model, the same at each call."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return self.make()

    def audit(self) -> dropkit.Audit:
        """What all rules find in it."""
        model = self.build()
        return dropkit.audit(model, self.batch, loss=self.loss, **self.options(model))


def load_cases() -> dict[str, ModuleType]:
    """The files of cases by the code of their rule, which begins their names; each has BAD and GOOD."""
    found = {}
    for path in sorted(FOLDER.glob("drp*.py")):
        name = f"cases_{path.stem}"
        if name not in sys.modules:
            spec = importlib.util.spec_from_file_location(name, path)
            module = importlib.util.module_from_spec(spec)
            sys.modules[name] = module
            spec.loader.exec_module(module)
        found[path.stem[:6].upper()] = sys.modules[name]
    return found


def told(finding: dropkit.Finding) -> str:
    """A finding as the stored texts have it: the line of code in place of its number."""
    lines = [f"{finding.severity} {finding.code} {finding.name} at {finding.site or 'the model'}"]
    if finding.where is not None:
        file, _, number = finding.where.rpartition(":")
        code = linecache.getline(str(Path(file).resolve()), int(number)).strip()
        lines.append(f"  code: {code}")
    lines.append(f"  {finding.message}")
    lines.append(f"  proved by a run: {'yes' if finding.proved else 'no'}")
    return "\n".join(lines)
