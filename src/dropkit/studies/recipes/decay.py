"""Whether an optimizer decays by what the arm says."""

from collections.abc import Iterable

from torch.optim import Optimizer

from dropkit.errors import OptionError
from dropkit.studies.trial import Trial


def check_weight_decay(trial: Trial, optimizers: Iterable[Optimizer]) -> None:
    """Refuse optimizers none of which has the weight decay of the trial's arm.

    An arm without any is not checked: a loop may have a decay of its own that is the same in
    all arms.

    Raises:
        OptionError: The arm has weight decay, and no group of parameters has it.
    """
    wanted = trial.arm.weight_decay
    groups = [group for optimizer in optimizers for group in optimizer.param_groups]
    found = sorted({float(group.get("weight_decay", 0.0)) for group in groups})
    if wanted and wanted not in found:
        raise OptionError(
            f"the optimizer must decay by the {wanted:g} of arm {trial.arm.name!r}; got "
            f"{', '.join(f'{decay:g}' for decay in found)}. Give it trial.arm.weight_decay where "
            "it is made."
        )
