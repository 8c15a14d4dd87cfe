"""Sub-networks as an ensemble: predictions with error bars, calibration, hand-over."""

from dropkit.uncertainty._calibration import (
    Reliability,
    auroc,
    brier_score,
    fit_temperature,
    negative_log_likelihood,
    reliability,
)
from dropkit.uncertainty._disagreement import Disagreement, Estimated
from dropkit.uncertainty._generation import disagreement, generation_disagreement
from dropkit.uncertainty._handoff import Handoff
from dropkit.uncertainty._predict import mc_predict
from dropkit.uncertainty._prediction import MCPrediction, Uncertain
from dropkit.uncertainty._selective import RiskCoverage, risk_coverage

__all__ = [
    "Disagreement",
    "Estimated",
    "Handoff",
    "MCPrediction",
    "Reliability",
    "RiskCoverage",
    "Uncertain",
    "auroc",
    "brier_score",
    "disagreement",
    "fit_temperature",
    "generation_disagreement",
    "mc_predict",
    "negative_log_likelihood",
    "reliability",
    "risk_coverage",
]
