"""Every error and warning that dropkit raises, on one page.

Form: *`param` must RULE; got VALUE at site SITE. NEXT STEP.* Each leaf also inherits
the builtin that a caller would catch.
"""

__all__ = [
    "AddressError",
    "AuditError",
    "CoreError",
    "CoreWarning",
    "DataError",
    "DkError",
    "DtypeError",
    "EvidenceError",
    "FreezeError",
    "GuardError",
    "MissingExtraError",
    "OptionError",
    "ProbeError",
    "RateError",
    "RatesWarning",
    "ShapeError",
    "SiteError",
    "StoreError",
]


class DkError(Exception):
    """Root of all errors that dropkit raises on purpose."""


class RateError(DkError, ValueError):
    """A drop rate outside [0, 1]."""


class AddressError(DkError, ValueError):
    """A seed, a part of an address or a row that cannot name a mask."""


class DtypeError(DkError, TypeError):
    """A tensor of a kind that dropout has no kernel for."""


class OptionError(DkError, ValueError):
    """An argument outside the values it may take."""


class ShapeError(DkError, RuntimeError):
    """A tensor with too few or too many dimensions, where torch raises RuntimeError too."""


class SiteError(DkError, LookupError):
    """A pattern or a name that no dropout site matches."""


class DataError(DkError, ValueError):
    """A data file, or numbers, that cannot be read as the data they should be."""


class EvidenceError(DkError, ValueError):
    """Data that cannot support what is to be promised on them."""


class AuditError(DkError, RuntimeError):
    """A model that cannot be run, so that nothing can be said of it."""


class FreezeError(DkError, RuntimeError):
    """A model that has dropout left in it, or cannot be shown to have none."""


class GuardError(DkError, RuntimeError):
    """A forward in service that was about to draw a mask."""


class ProbeError(DkError, RuntimeError):
    """A service that gave no answer that could be measured."""


class StoreError(DkError, RuntimeError):
    """A study's file that another study, another process or another version holds."""


class CoreError(DkError, RuntimeError):
    """The C core was asked for something that it cannot do on this machine."""


class MissingExtraError(DkError, ImportError):
    """A feature whose optional packages are not installed."""


class CoreWarning(RuntimeWarning):
    """The C core is absent; the slow twin draws the same bits instead."""


class RatesWarning(UserWarning):
    """Rates that a model has now, but would not have after it is saved and loaded."""
