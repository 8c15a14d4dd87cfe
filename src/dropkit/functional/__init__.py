"""Pure functions on tensors."""

from dropkit.functional._alpha import alpha_dropout, feature_alpha_dropout
from dropkit.functional._attention import scaled_dot_product_attention
from dropkit.functional._channels import dropout1d, dropout2d, dropout3d
from dropkit.functional._dropout import dropout
from dropkit.functional._fused import (
    bias_dropout_add,
    dropout_add,
    dropout_add_layer_norm,
    dropout_add_rms_norm,
    gelu_dropout,
    relu_dropout,
)
from dropkit.functional._gaussian import gaussian_dropout

__all__ = [
    "alpha_dropout",
    "bias_dropout_add",
    "dropout",
    "dropout1d",
    "dropout2d",
    "dropout3d",
    "dropout_add",
    "dropout_add_layer_norm",
    "dropout_add_rms_norm",
    "feature_alpha_dropout",
    "gaussian_dropout",
    "gelu_dropout",
    "relu_dropout",
    "scaled_dot_product_attention",
]
