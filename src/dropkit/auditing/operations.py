"""What kind of thing an operator of torch does to a tensor that dropout has been at.

A *path* is a set of kinds, as the bits of a number: what lies between a site and a place that its
output reaches.
"""

from collections.abc import Iterable

#: Names of operators by kind, without namespace, overload and the underscore of in-place forms.
_NAMES = {
    # moves elements, or copies them
    "shape": """view _unsafe_view reshape permute transpose t unsqueeze squeeze expand slice select
        split split_with_sizes unbind clone contiguous _to_copy copy detach alias as_strided
        unfold narrow diagonal lift_fresh lift constant_pad_nd flip roll repeat
        _reshape_alias reshape_copy movedim chunk to pad reflection_pad1d reflection_pad2d
        _pack_padded_sequence _pad_packed_sequence""",
    # takes some of them, by index
    "pick": "index gather index_select masked_select take embedding embedding_bag take_along_dim",
    "join": "cat stack index_put scatter scatter_add index_add slice_scatter select_scatter",
    "relu": "relu relu6 leaky_relu hardtanh threshold clamp_min elu celu selu rrelu_with_noise",
    "elementwise": """gelu silu mish sigmoid tanh hardswish hardsigmoid softplus log_sigmoid exp
        log neg abs sqrt rsqrt reciprocal pow clamp where masked_fill sin cos erf square
        log_sigmoid_forward _prelu_kernel prelu fill nan_to_num glu""",
    "reduce": """sum mean amax amin max min var var_mean std std_mean prod cumsum logsumexp norm
        linalg_vector_norm logcumsumexp cumprod median""",
    "linear": """mm addmm bmm baddbmm addbmm matmul linear addmv mv dot convolution conv1d conv2d
        conv3d _convolution convolution_overrideable mkldnn_linear linalg_matmul einsum
        _mkldnn_transpose _trilinear bilinear _int_mm _scaled_mm""",
    "norm": """native_layer_norm native_group_norm layer_norm group_norm rms_norm
        _fused_rms_norm _weight_norm_interface renorm""",
    "batch_norm": """native_batch_norm cudnn_batch_norm miopen_batch_norm _native_batch_norm_legit
        _native_batch_norm_legit_no_training _batch_norm_with_update batch_norm
        _native_batch_norm_legit_functional _batch_norm_impl_index batch_norm_elemt
        batch_norm_stats""",
    "max_pool": """max_pool1d max_pool2d max_pool3d max_pool2d_with_indices mkldnn_max_pool2d
        max_pool3d_with_indices adaptive_max_pool2d adaptive_max_pool3d fractional_max_pool2d""",
    "pool": """avg_pool1d avg_pool2d avg_pool3d _adaptive_avg_pool2d _adaptive_avg_pool3d
        adaptive_avg_pool1d upsample_nearest2d upsample_bilinear2d mkldnn_adaptive_avg_pool2d""",
    "softmax": "_softmax _log_softmax softmax log_softmax _safe_softmax",
    "argmax": "argmax argmin topk sort argsort kthvalue multinomial",
    "attention": """_scaled_dot_product_flash_attention_for_cpu _scaled_dot_product_flash_attention
        _scaled_dot_product_efficient_attention _scaled_dot_product_cudnn_attention
        _scaled_dot_product_attention_math scaled_dot_product_attention _flash_attention_forward
        _efficient_attention_forward _scaled_dot_product_fused_attention_overrideable""",
    "recurrent": "lstm gru rnn_tanh rnn_relu _cudnn_rnn mkldnn_rnn_layer _thnn_fused_lstm_cell",
    "loss": """nll_loss_forward nll_loss2d_forward mse_loss binary_cross_entropy l1_loss
        binary_cross_entropy_with_logits smooth_l1_loss huber_loss _ctc_loss kl_div""",
    # told apart by their arguments
    "scale": "",  # by a plain number
    "add": "add sub rsub addcmul lerp",
    "multiply": "mul div addcdiv",
    "dropout": "",  # another site
    "other": "",
}
KINDS = tuple(_NAMES)
_KIND_OF = {name: kind for kind, names in _NAMES.items() for name in names.split()}
_BIT = {kind: 1 << number for number, kind in enumerate(KINDS)}

#: Between a site and what it feeds *directly*: each element stays an element of its own.
DIRECT = frozenset({"shape", "pick", "elementwise", "relu", "scale"})


def base_name(operator: str) -> str:
    """``relu`` of ``aten::relu_.default``."""
    name = operator.rpartition("::")[2].partition(".")[0]
    return name[:-1] if name.endswith("_") and not name.endswith("__") else name


def kind_of(name: str) -> str:
    """The kind of an operator of this base name."""
    return _KIND_OF.get(name, "other")


def bits_of(kinds: Iterable[str]) -> int:
    """A path of these kinds."""
    return sum(_BIT[kind] for kind in set(kinds))


def kinds_of(path: int) -> frozenset[str]:
    """The kinds in a path."""
    return frozenset(kind for kind in KINDS if path & _BIT[kind])
