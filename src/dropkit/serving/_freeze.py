"""From a trained model to the one that is served: no dropout left in it, and a proof of that."""

import contextlib
import copy
import warnings
from collections.abc import Iterator
from typing import Any, get_args

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from dropkit.auditing.artefacts.exported import read_exported
from dropkit.auditing.runs import explained
from dropkit.errors import FreezeError, OptionError
from dropkit.serving._answers import (
    Arguments,
    answers,
    checked_arguments,
    copied,
    difference,
    is_equal,
)
from dropkit.serving._frozen import Frozen, IdleCall, Proof
from dropkit.serving._program import first_line, program_of, without_cache
from dropkit.serving._refusals import (
    AlwaysOn,
    check_answers,
    check_draws,
    check_modes,
    check_program,
    check_repeated,
    checked,
)
from dropkit.serving._removal import Removed, remove_layers, zero_rates
from dropkit.sites.labels import Labels
from dropkit.sites.silence import silence
from dropkit.sites.sources import find_sources
from dropkit.sites.untouched import generators_kept
from dropkit.sites.watch import Event, hookable, watch


def freeze(model: nn.Module, batch: Any, *, always_on: AlwaysOn = "refuse") -> Frozen:
    """Make the model to serve: a copy in eval mode with no dropout left in it, and the proof.

    In the copy, layers that drop are ``nn.Identity``, every rate that a module or a config keeps is
    0, `dropkit.nn.WeightDrop` and its like are the module that they held, and parametrizations are
    the value they compute. The factor of vanilla dropout is folded into the weight beside it where
    that changes no bit, and else stays a multiplication. What calls functions is shown to draw
    nothing. So the copy stays without dropout even if somebody puts it in training mode.

    The model itself is not changed, nor are torch's, Python's and numpy's generators.

    Args:
        model: Any module, in any mode; of a compiled one, the module that was compiled.
        batch: What it is called with: a tensor, a tuple of arguments, or a mapping of names to
            arguments. Everything is shown on this batch.
        always_on: What to do with dropout that acts in eval mode too. ``"refuse"`` raises;
            ``"remove"`` sets the rates that modules keep to 0, and compares with the model as
            `dropkit.silence` leaves it. A rate that is written in the code is refused either way.

    Returns:
        The copy, as ``.model``, and what was checked, as ``.proof``.

    Raises:
        FreezeError: The model draws in eval mode, stays in training mode, says that it drops on
            purpose, gives another answer each time, or answers nan.
        AuditError: It cannot be run on `batch`, or has no values yet.
        OptionError: `batch` is empty or of another kind, or `model` is no module.

    >>> model = nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.3))
    >>> frozen = freeze(model, torch.ones(4, 2))
    >>> frozen.model
    Sequential(
      (0): Linear(in_features=2, out_features=2, bias=True)
      (1): Identity()
    )
    >>> frozen.proof.is_equal_to_eval, frozen.proof.dropout_operators
    (True, 0)
    """
    if always_on not in get_args(AlwaysOn):
        raise OptionError(f"`always_on` must be 'refuse' or 'remove'; got {always_on!r}.")
    model = checked(model)
    arguments = checked_arguments(batch)
    twin = _copy_of(model)
    twin.eval()
    check_modes(twin, always_on)
    with generators_kept(model), contextlib.ExitStack() as stack:
        if always_on == "remove":
            stack.enter_context(silence(twin))
        events, passing = _watched(twin, arguments)
        check_draws(twin, events, always_on)
        before = answers(twin, arguments)
        check_answers(before)
        check_repeated(before, answers(twin, arguments, seed=1))
    idle = _idle_calls(twin, events)
    with generators_kept(model):
        return _frozen(twin, arguments, before, passing, idle)


def _frozen(
    twin: nn.Module,
    arguments: Arguments,
    before: dict[str, Tensor],
    passing: set[nn.Module],
    idle: tuple[IdleCall, ...],
) -> Frozen:
    n_parameters = sum(p.numel() for p in twin.parameters())
    twin, removed = remove_layers(twin, passing)
    zeroed = _zeroed(twin, arguments, before)
    events, _ = _watched(twin, arguments)
    check_draws(twin, events, "remove")
    after = answers(twin, arguments)
    if not is_equal(before, after):
        raise FreezeError(
            "`model` must answer as before without its layers of dropout; it differs by up to "
            f"{difference(before, after):.3g}. One of its layers does more than drop: "
            f"{', '.join(repr(one.site) for one in removed)}."
        )
    program, n_cut, reason = _exported(twin, arguments)
    facts: dict[str, Any] = {}
    not_proved = []
    if program is None:
        not_proved.append(f"torch.export cannot take this model: {reason}")
    else:
        if without_cache(twin, arguments)[1]:
            not_proved.append(
                "The graph was made with use_cache=False: it does not show the keys and values "
                "that the model hands on."
            )
        artefact = read_exported(program)
        check_program(program, artefact.left_over)
        facts = {
            "operators": artefact.n_operators,
            "dropout_operators": 0,
            "operators_cut": n_cut,
        }
    proof = Proof(
        model=type(twin).__name__,
        parameters=n_parameters,
        removed=(*removed, *zeroed),
        idle_calls=idle,
        outputs={name: f"{str(x.dtype)[6:]} {tuple(x.shape)}" for name, x in before.items()},
        is_equal_to_eval=True,
        draws=0,
        not_proved=tuple(not_proved),
        torch=torch.__version__,
        **facts,
    )
    return Frozen(twin, proof, arguments)


def _copy_of(model: nn.Module) -> nn.Module:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            twin: nn.Module = copy.deepcopy(model)
    except Exception as error:
        raise FreezeError(
            f"`model` must be one that can be copied; copy.deepcopy raised {first_line(error)}."
        ) from error
    return twin


def _watched(model: nn.Module, arguments: Arguments) -> tuple[list[Event], set[nn.Module]]:
    """What a run calls, and the layers there to drop that gave back their input each time."""
    droppers = {source.module for source in find_sources(model) if source.is_whole}
    gave_back: dict[nn.Module, bool] = {}

    def look(module: nn.Module, args: Any, kwargs: Any, out: Any) -> None:
        is_same = len(args) == 1 and not kwargs and out is args[0]
        gave_back[module] = gave_back.get(module, True) and is_same

    handles = [
        module.register_forward_hook(look, with_kwargs=True)
        for module in hookable(model)
        if module in droppers
    ]
    args, kwargs = copied(arguments)
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with explained("model", "run on `batch`; its forward in eval mode"):
                events = watch(model, args or kwargs).events
    finally:
        for handle in handles:
            handle.remove()
    return events, {module for module, is_same in gave_back.items() if is_same}


def _zeroed(twin: nn.Module, arguments: Arguments, before: dict[str, Tensor]) -> list[Removed]:
    """Set the rates that are left to 0, unless the model answers otherwise then."""
    with contextlib.ExitStack() as steps, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # on configs: the weights are what is served
        zeroed = zero_rates(twin, steps)
        if is_equal(before, answers(twin, arguments)):
            steps.pop_all()
            return zeroed
    return []


def _exported(model: nn.Module, arguments: Arguments) -> tuple[ExportedProgram | None, int, str]:
    args, kwargs = copied(without_cache(model, arguments)[0])
    try:
        program, n_cut = program_of(model, args, kwargs)
    except Exception as error:  # noqa: BLE001 - the exporter raises whatever the model's code leads to
        return None, 0, f"{first_line(error)}."
    return program, n_cut, ""


def _idle_calls(model: nn.Module, events: list[Event]) -> tuple[IdleCall, ...]:
    """The calls of functions that could drop, each line once."""
    return tuple(dict.fromkeys(_calls(model, events)))


def _calls(model: nn.Module, events: list[Event]) -> Iterator[IdleCall]:
    labels = Labels(model)
    for event in events:
        module = event.caller.module
        if labels.own_source(module) is not None:
            continue  # a layer: it is among those that are removed
        name = labels.name_of(event.caller, event.function, labels.source_with(module, event.rate))
        where = None if event.caller.line is None else str(event.caller.line)
        yield IdleCall(name, event.function, event.rate, where)
