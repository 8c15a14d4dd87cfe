"""Dropout for PyTorch that people can trust."""

from dropkit import errors, functional, nn, serving, testing, uncertainty
from dropkit.auditing.audit import Audit, audit
from dropkit.auditing.finding import Finding
from dropkit.auditing.recalibration import recalibrate_batch_norm
from dropkit.core.address import Address
from dropkit.core.naming import masks_at
from dropkit.core.rate import effective_rate
from dropkit.finetuning import Memorization, memorization
from dropkit.nn.schedules import Schedule
from dropkit.serving import freeze, guard, probe
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
from dropkit.uncertainty import MCPrediction, mc_predict

__all__ = [
    "Address",
    "Arm",
    "Audit",
    "Finding",
    "MCPrediction",
    "Memorization",
    "Recorder",
    "Schedule",
    "Site",
    "SiteTrace",
    "Study",
    "Trace",
    "Trial",
    "accelerate",
    "audit",
    "awaken",
    "effective_rate",
    "errors",
    "find_sites",
    "freeze",
    "functional",
    "guard",
    "masks_at",
    "mc_predict",
    "memorization",
    "nn",
    "probe",
    "recalibrate_batch_norm",
    "serving",
    "set_rates",
    "silence",
    "testing",
    "trace",
    "uncertainty",
]
__version__ = "0.1.0"
