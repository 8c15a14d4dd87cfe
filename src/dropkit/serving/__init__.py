"""From a trained model to one in service: freeze, guard, probe, monitor, release gate."""

from dropkit.serving._exported import Exported
from dropkit.serving._freeze import freeze
from dropkit.serving._frozen import Frozen, IdleCall, Proof
from dropkit.serving._guard import Guard, guard
from dropkit.serving._guarded import GuardedSite, GuardRecord
from dropkit.serving._probe import probe
from dropkit.serving._probed import Latency, Probe, Symptom
from dropkit.serving._removal import Removed
from dropkit.serving.monitoring import Alarm, Baseline, Drift, Endpoint, Monitor, MonitorMiddleware
from dropkit.serving.releasing import Outcome, Release, gate

__all__ = [
    "Alarm",
    "Baseline",
    "Drift",
    "Endpoint",
    "Exported",
    "Frozen",
    "Guard",
    "GuardRecord",
    "GuardedSite",
    "IdleCall",
    "Latency",
    "Monitor",
    "MonitorMiddleware",
    "Outcome",
    "Probe",
    "Proof",
    "Release",
    "Removed",
    "Symptom",
    "freeze",
    "gate",
    "guard",
    "probe",
]
