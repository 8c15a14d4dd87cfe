"""The structures of the C core's header, field by field; the only copy of them in Python."""

import enum
from ctypes import Structure, c_float, c_int, c_int64, c_size_t, c_uint32, c_uint64, c_void_p


class Matrices(Structure):
    """``struct dk_matrices``: a ``(B, H, L, E)`` float32 tensor with contiguous rows."""

    _fields_ = (
        ("at", c_void_p),
        ("example", c_int64),
        ("head", c_int64),
        ("row", c_int64),
    )


class MaskKind(enum.IntEnum):
    """``enum dk_mask_kind``."""

    NONE = 0
    SHOWN = 1
    ADDED = 2


class Attention(Structure):
    """``struct dk_attention``."""

    _fields_ = (
        *((name, Matrices) for name in ("query", "key", "value", "out")),
        *((name, Matrices) for name in ("grad", "of_query", "of_key", "of_value")),
        ("mask", c_void_p),
        ("mask_steps", c_int64 * 4),
        *((name, c_void_p) for name in ("logsumexp", "heads", "room", "sgemm")),
        *((name, c_size_t) for name in ("batches", "n_heads", "n_key_heads", "n_queries")),
        *((name, c_size_t) for name in ("n_keys", "width", "value_width")),
        *((name, c_size_t) for name in ("queries_a_block", "keys_a_block")),
        *((name, c_uint64) for name in ("mask_key", "mask_stream")),
        ("threshold", c_uint32),
        *((name, c_int) for name in ("mask_kind", "is_causal", "threads")),
        ("scale", c_float),
    )
