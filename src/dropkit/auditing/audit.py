"""Watch a few runs of a model, and say what is wrong with its dropout."""

import difflib
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.export import ExportedProgram
from torch.nn.parameter import is_lazy

from dropkit.auditing.artefacts.artefact import Artefact
from dropkit.auditing.artefacts.reading import read_artefact
from dropkit.auditing.finding import SEVERITIES, Finding
from dropkit.auditing.limits import not_seen
from dropkit.auditing.observations import Observations
from dropkit.auditing.rule import FAMILIES, Rule
from dropkit.auditing.rules import RULES
from dropkit.auditing.runs import Loss
from dropkit.errors import AuditError, OptionError


@dataclass(frozen=True)
class Audit:
    """What `audit` found.

    Attributes:
        findings: The gravest first, then by site.
        facts: Of the model: ``"model"`` (its class), ``"parameters"``, ``"trainable"``,
            ``"modules"``, ``"sites"``, ``"active_sites"`` (that draw in training mode),
            ``"devices"``, ``"dtypes"``, ``"loss"`` (None without a backward) and ``"torch"``.
        not_seen: Sentences on what could not be seen.
        rules: Codes of the rules that looked.
        seconds: How long it took.
    """

    findings: tuple[Finding, ...]
    facts: Mapping[str, Any]
    not_seen: tuple[str, ...]
    rules: tuple[str, ...]
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """The attributes by name, all of them plain data."""
        return {
            "findings": [finding.to_dict() for finding in self.findings],
            "facts": dict(self.facts),
            "not_seen": list(self.not_seen),
            "rules": list(self.rules),
            "seconds": self.seconds,
        }

    def worst(self) -> str | None:
        """The gravest severity among the findings; None where there are none."""
        return self.findings[0].severity if self.findings else None


def audit(
    model: nn.Module | ExportedProgram | str | Path,
    batch: Any = None,
    *,
    loss: Loss | None = None,
    optimizer: torch.optim.Optimizer | None = None,
    epochs: float | None = None,
    select: Iterable[str] = (),
    ignore: Iterable[str] = (),
) -> Audit:
    """Say what is wrong with the dropout of `model`.

    The model is run on `batch` in eval mode, and forward and backward in training mode; some rules
    add a forward. It is left as it was to the bit, random generators included, also when it
    raises. Runs begin at a seed of their own, so that an audit always says the same.

    A module that is meant to drop in eval says so with an attribute ``dropkit_always_on = True``,
    its own, its class's, or that of a module around it.

    An exported model is read, not run: rules on serving look for dropout that is left in it.

    Args:
        model: Any module; or a program of ``torch.export``, a TorchScript module, or the path of
            an ``.onnx`` or ``.pt2`` file.
        batch: What the model is called with: a tensor, a tuple of arguments, or a mapping of
            names to arguments. An exported model needs none.
        loss: From what the model returns to a tensor of one element, for the backward; else the
            output's ``.loss`` or, where there is none, the sum of squares of its first tensor.
        optimizer: Of the training, for a look at its weight decay; it is not touched.
        epochs: How often the training meets an example, if that is to be looked at.
        select: Codes or names of the rules that are to look, beginnings of codes such as
            ``"DRP3"``, or families such as ``"placement"``; empty for all.
        ignore: Likewise those that are not.

    Returns:
        The findings, and what could not be seen.

    Raises:
        AuditError: The model cannot be run: it raises, or has no values yet.
        OptionError: `batch` is of another kind, or there is no such rule.
        DataError: A file is no exported model.
        MissingExtraError: It is ONNX's, and onnx is not installed.

    >>> model = nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.3))
    >>> audit(model, torch.ones(5, 2), select=["mode"]).findings
    ()
    """
    rules = chosen(select, ignore)
    begin = time.perf_counter()
    artefact = read_artefact(model)
    if artefact is not None:
        return _of_artefact(artefact, rules, begin)
    if not isinstance(model, nn.Module):
        raise OptionError(
            f"`model` must be a module or an exported model; got a {type(model).__name__}."
        )
    if epochs is not None and not epochs > 0:
        raise OptionError(f"`epochs` must be a number above 0; got {epochs!r}.")
    check_values(model)
    seen = Observations(model, batch, loss, optimizer=optimizer, epochs=epochs)
    findings = [finding for rule in rules for finding in rule().check(seen)]
    order = {site.name: number for number, site in enumerate(seen.sites)}
    findings.sort(
        key=lambda one: (
            SEVERITIES.index(one.severity),
            order.get(one.site, len(order)),
            one.site,
            one.code,
        )
    )
    return Audit(
        findings=tuple(findings),
        facts=_facts(seen),
        not_seen=tuple(not_seen(seen)),
        rules=tuple(rule.code for rule in rules),
        seconds=time.perf_counter() - begin,
    )


def _of_artefact(artefact: Artefact, rules: Sequence[type[Rule]], begin: float) -> Audit:
    findings = [finding for rule in rules for finding in rule().check_artefact(artefact)]
    return Audit(
        findings=tuple(sorted(findings, key=lambda one: SEVERITIES.index(one.severity))),
        facts={
            "model": artefact.kind,
            "operators": artefact.n_operators,
            "sites": len(artefact.left_over),
            "torch": torch.__version__,
        },
        not_seen=artefact.not_seen,
        rules=tuple(rule.code for rule in rules if rule.family() == "serving"),
        seconds=time.perf_counter() - begin,
    )


def chosen(select: Iterable[str] = (), ignore: Iterable[str] = ()) -> list[type[Rule]]:
    """The rules that are selected and not ignored; see `audit`."""
    wanted = _expanded(select, "select") or set(RULES)
    unwanted = _expanded(ignore, "ignore")
    return [rule for rule in RULES if rule in wanted and rule not in unwanted]


def _expanded(words: Iterable[str], parameter: str) -> set[type[Rule]]:
    words = [words] if isinstance(words, str) else words
    found: set[type[Rule]] = set()
    for word in words:
        of_word = {rule for rule in RULES if _is_meant(rule, word)}
        if not of_word and word not in FAMILIES.values():
            known = [text for rule in RULES for text in (rule.code, rule.name)]
            near = difflib.get_close_matches(word, [*known, *FAMILIES.values()], n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise OptionError(
                f"`{parameter}` must name rules by code, name or family; got {word!r}.{hint}"
            )
        found |= of_word
    return found


def _is_meant(rule: type[Rule], word: str) -> bool:
    is_code = word.startswith("DRP") and rule.code.startswith(word)
    return is_code or word in (rule.name, rule.family())


def check_values(model: nn.Module) -> None:
    """Raise AuditError unless every parameter and buffer has a shape and values."""
    for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
        if is_lazy(tensor):
            raise AuditError(
                f"`model` must have its shapes to be run; {name!r} is lazy. "
                "Call the model on a batch first."
            )
        if tensor.is_meta:
            raise AuditError(
                f"`model` must hold values to be run; {name!r} is on the meta device. "
                "Load its weights first, or build a small model from the same config."
            )


def _facts(seen: Observations) -> dict[str, Any]:
    parameters: Sequence[nn.Parameter] = list(seen.model.parameters())
    return {
        "model": type(seen.model).__name__,
        "parameters": sum(p.numel() for p in parameters),
        "trainable": sum(p.numel() for p in parameters if p.requires_grad),
        "modules": len(seen.names),
        "sites": len(seen.sites),
        "active_sites": sum(site.draws_in_training for site in seen.sites),
        "devices": sorted({str(p.device) for p in parameters}),
        "dtypes": sorted({str(p.dtype).removeprefix("torch.") for p in parameters}),
        "loss": seen.training.loss,
        "torch": torch.__version__,
    }
