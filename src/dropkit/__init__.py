"""Dropout for PyTorch that people can trust."""

from dropkit import errors, functional, nn
from dropkit.core.address import Address
from dropkit.core.naming import masks_at
from dropkit.core.rate import effective_rate
from dropkit.nn.schedules import Schedule
from dropkit.sites.accelerate import accelerate
from dropkit.sites.awaken import awaken
from dropkit.sites.find import Site, find_sites
from dropkit.sites.rates import set_rates
from dropkit.sites.silence import silence
from dropkit.studies.plan import Arm
from dropkit.studies.study import Study
from dropkit.studies.trial import Trial
from dropkit.tracing.recorder import Recorder
from dropkit.tracing.result import SiteTrace, Trace
from dropkit.tracing.trace import trace

__all__ = [
    "Address",
    "Arm",
    "Recorder",
    "Schedule",
    "Site",
    "SiteTrace",
    "Study",
    "Trace",
    "Trial",
    "accelerate",
    "awaken",
    "effective_rate",
    "errors",
    "find_sites",
    "functional",
    "masks_at",
    "nn",
    "set_rates",
    "silence",
    "trace",
]
__version__ = "0.1.0"
