"""Pure functions on tensors."""

from dropkit.functional._attention import scaled_dot_product_attention
from dropkit.functional._dropout import dropout
from dropkit.functional._fused import (
    bias_dropout_add,
    dropout_add,
    dropout_add_layer_norm,
    dropout_add_rms_norm,
    gelu_dropout,
    relu_dropout,
)
from dropkit.functional._r_drop import r_drop_loss

__all__ = [
    "bias_dropout_add",
    "dropout",
    "dropout_add",
    "dropout_add_layer_norm",
    "dropout_add_rms_norm",
    "gelu_dropout",
    "r_drop_loss",
    "relu_dropout",
    "scaled_dot_product_attention",
]
