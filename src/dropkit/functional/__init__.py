"""Pure functions on tensors."""

from dropkit.functional._alpha import alpha_dropout, feature_alpha_dropout
from dropkit.functional._attention import scaled_dot_product_attention
from dropkit.functional._channels import dropout1d, dropout2d, dropout3d
from dropkit.functional._concrete import concrete_dropout
from dropkit.functional._drop_block import drop_block2d, drop_block3d
from dropkit.functional._drop_path import drop_path, drop_path_rates, stochastic_depth
from dropkit.functional._dropout import dropout
from dropkit.functional._embedding_dropout import embedding_dropout
from dropkit.functional._fused import (
    bias_dropout_add,
    dropout_add,
    dropout_add_layer_norm,
    dropout_add_rms_norm,
    gelu_dropout,
    relu_dropout,
)
from dropkit.functional._gaussian import gaussian_dropout
from dropkit.functional._linear import dropout_linear
from dropkit.functional._patch_dropout import patch_dropout
from dropkit.functional._r_drop import r_drop_loss
from dropkit.functional._word_dropout import word_dropout

__all__ = [
    "alpha_dropout",
    "bias_dropout_add",
    "concrete_dropout",
    "drop_block2d",
    "drop_block3d",
    "drop_path",
    "drop_path_rates",
    "dropout",
    "dropout1d",
    "dropout2d",
    "dropout3d",
    "dropout_add",
    "dropout_add_layer_norm",
    "dropout_add_rms_norm",
    "dropout_linear",
    "embedding_dropout",
    "feature_alpha_dropout",
    "gaussian_dropout",
    "gelu_dropout",
    "patch_dropout",
    "r_drop_loss",
    "relu_dropout",
    "scaled_dot_product_attention",
    "stochastic_depth",
    "word_dropout",
]
