"""The C core through ctypes: found, checked and called here, and nowhere else."""

import ctypes
import enum
import os
import sys
from ctypes import (
    c_char_p,
    c_double,
    c_float,
    c_int,
    c_int64,
    c_size_t,
    c_uint32,
    c_uint64,
    c_void_p,
)
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import dropkit.core
from dropkit.core.place import Place, TileMask
from dropkit.errors import CoreError

ABI = 4
ISA_VARIABLE = "DROPKIT_ISA"
#: The name under which DROPKIT_ISA asks for the slow twin.
REFERENCE = "reference"

#: What the core calls the types it knows.
CODES = {torch.float32: 0, torch.float64: 1, torch.bfloat16: 2, torch.float16: 3}

_PLACE_AND_DRAW = [
    *(c_size_t, c_size_t),  # rows, inner
    *(c_void_p, c_uint64, c_uint64, c_uint64),  # row_ids, first_row, row_stride, column_offset
    *(c_uint64, c_uint64, c_uint32, c_double, c_int),  # key, stream, threshold, scale, threads
]

_TILE = [
    *(c_void_p, c_size_t, c_size_t, c_size_t),  # heads, n_heads, n_rows, n_columns
    *(c_uint64, c_uint64, c_uint64, c_int),  # first_query, n_queries, n_keys, is_causal
    *(c_uint64, c_uint64, c_uint32, c_int),  # key, stream, threshold, threads
]


class Matrices(ctypes.Structure):
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


class Attention(ctypes.Structure):
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


#: name: (result, arguments); with the structures above, the only copy of the C header in Python.
_SIGNATURES: dict[str, tuple[Any, list[Any]]] = {
    "dk_abi": (c_int, []),
    "dk_philox": (None, [c_void_p, c_void_p, c_void_p]),
    "dk_isa_name": (c_char_p, [c_size_t]),
    "dk_isa_usable": (c_int, [c_size_t]),
    "dk_isa_active": (c_char_p, []),
    "dk_isa_force": (c_int, [c_char_p]),
    "dk_dropout": (c_int, [c_int, c_void_p, c_void_p, *_PLACE_AND_DRAW]),
    "dk_dropout_add": (c_int, [c_int, c_void_p, c_void_p, c_void_p, *_PLACE_AND_DRAW]),
    "dk_attention_forward": (c_int, [c_void_p, c_void_p, c_size_t, *_TILE]),
    "dk_attention_backward": (c_int, [*(c_void_p, c_void_p, c_void_p, c_size_t, c_void_p), *_TILE]),
    "dk_attend_forward": (c_int, [ctypes.POINTER(Attention)]),
    "dk_attend_backward": (c_int, [ctypes.POINTER(Attention)]),
    "dk_team_set": (None, [c_void_p]),
    "dk_dropout_flat": (c_int, [c_void_p, c_void_p, c_size_t, c_uint64, c_uint64, c_uint64]),
}


def _place_and_draw(
    x: Tensor, key: int, stream: int, threshold: int, scale: float, place: Place
) -> tuple[float | None, ...]:
    rows = place.rows
    return (
        rows,
        x.numel() // rows if rows else 0,
        None if place.row_ids is None else place.row_ids.data_ptr(),
        place.first_row,
        place.row_stride,
        place.column_offset,
        key,
        stream,
        threshold,
        scale,
        torch.get_num_threads(),
    )


def _tile(scores: Tensor, mask: TileMask) -> tuple[int, ...]:
    heads, first_query, n_queries, n_keys, is_causal, key, stream, threshold = mask
    sizes = (*scores.shape, first_query, n_queries, n_keys)
    threads = torch.get_num_threads()
    return heads.data_ptr(), *sizes, int(is_causal), key, stream, threshold, threads


def _of_torch(name: str) -> int | None:
    """Address of a function of torch's library, or of one that it needs."""
    library = {"darwin": "libtorch_cpu.dylib"}.get(sys.platform, "libtorch_cpu.so")
    path = Path(torch.__file__).parent / "lib" / library
    try:
        return ctypes.cast(ctypes.CDLL(str(path))[name], c_void_p).value
    except (OSError, AttributeError):
        return None


def _check(status: int) -> None:
    if status != 0:
        raise CoreError(
            f"the C core refused a call with status {status}: this is a fault in dropkit."
        )


class Core:
    """The loaded C library."""

    def __init__(self, path: Path) -> None:
        self.path = path
        library = ctypes.CDLL(str(path))  # releases the GIL during every call
        for name, (result, arguments) in _SIGNATURES.items():
            function = getattr(library, name)
            function.restype, function.argtypes = result, arguments
        self._library = library
        self._dropout = library.dk_dropout
        self._dropout_add = library.dk_dropout_add
        #: ``dk_dropout_flat`` itself, for the one call that cannot afford a wrapper: see `kernels`.
        self.dropout_flat = library.dk_dropout_flat
        found = library.dk_abi()
        if found != ABI:
            raise CoreError(f"it has ABI {found}, this package needs {ABI}")
        #: Address of the function that starts torch's own OpenMP threads; None: there is none.
        self.torchs_team = _of_torch("GOMP_parallel")
        self.use_team(self.torchs_team)
        #: Address of BLAS' product of float32 matrices, as torch itself calls it; None: likewise.
        self.torchs_sgemm = _of_torch("sgemm_")

    def isas(self) -> dict[str, bool]:
        """The instruction sets this build knows, widest first, and whether each can run here."""
        known: dict[str, bool] = {}
        while (name := self._library.dk_isa_name(len(known))) is not None:
            known[name.decode()] = bool(self._library.dk_isa_usable(len(known)))
        return known

    @property
    def isa(self) -> str:
        """The instruction set in use."""
        return str(self._library.dk_isa_active().decode())

    def force(self, isa: str) -> None:
        """Use exactly this instruction set from now on.

        Raises:
            CoreError: This build does not know it, or this machine cannot run it.
        """
        if self._library.dk_isa_force(isa.encode()) != 0:
            usable = [name for name, can_run in self.isas().items() if can_run]
            choices = ", ".join([*usable, REFERENCE])
            raise CoreError(
                f"`{ISA_VARIABLE}` must be an instruction set of this machine ({choices}); "
                f"got {isa!r}. Unset it to let dropkit choose."
            )

    def philox(self, counter: tuple[int, ...], key: tuple[int, ...]) -> tuple[int, ...]:
        """One Philox block: the core's own answer to the known answers."""
        out = (c_uint32 * 4)()
        self._library.dk_philox((c_uint32 * 4)(*counter), (c_uint32 * 2)(*key), out)
        return tuple(out)

    def dropout(
        self,
        x: Tensor,
        y: Tensor,
        key: int,
        stream: int,
        threshold: int,
        scale: float,
        place: Place,
    ) -> None:
        """Write ``where(keep, x * scale, 0)`` to `y`; both contiguous, on the CPU, of one dtype."""
        status = self._dropout(
            CODES[x.dtype],
            x.data_ptr(),
            y.data_ptr(),
            *_place_and_draw(x, key, stream, threshold, scale, place),
        )
        _check(status)

    def dropout_add(
        self,
        x: Tensor,
        residual: Tensor,
        y: Tensor,
        key: int,
        stream: int,
        threshold: int,
        scale: float,
        place: Place,
    ) -> None:
        """Write ``where(keep, x * scale, 0) + residual`` to `y`, which may be `x` or `residual`.

        All contiguous, on the CPU, of one dtype and size.
        """
        status = self._dropout_add(
            CODES[x.dtype],
            x.data_ptr(),
            residual.data_ptr(),
            y.data_ptr(),
            *_place_and_draw(x, key, stream, threshold, scale, place),
        )
        _check(status)

    def use_team(self, team: int | None) -> None:
        """Let attention work on the threads of `team` from now on; None: on those of the core."""
        self._library.dk_team_set(team)

    def attention_forward(self, scores: Tensor, logsumexp: Tensor, mask: TileMask) -> None:
        """See `dropkit.core.attention_steps.forward_step`; float32 on the CPU."""
        sums = logsumexp.data_ptr(), logsumexp.stride(0)
        _check(self._library.dk_attention_forward(scores.data_ptr(), *sums, *_tile(scores, mask)))

    def attention_backward(
        self, scores: Tensor, grads: Tensor, logsumexp: Tensor, mean: Tensor, mask: TileMask
    ) -> None:
        """See `dropkit.core.attention_steps.backward_step`; float32 on the CPU."""
        tiles, sums = (
            (scores.data_ptr(), grads.data_ptr()),
            (logsumexp.data_ptr(), logsumexp.stride(0)),
        )
        of_tile = mean.data_ptr(), *_tile(scores, mask)
        _check(self._library.dk_attention_backward(*tiles, *sums, *of_tile))

    def attend_forward(self, attention: Attention) -> None:
        """See `dropkit.core.attention_whole`."""
        _check(self._library.dk_attend_forward(attention))

    def attend_backward(self, attention: Attention) -> None:
        """See `dropkit.core.attention_whole`."""
        _check(self._library.dk_attend_backward(attention))


@dataclass(frozen=True)
class Loaded:
    """What loading the core came to.

    Attributes:
        core: The core, or None where the slow twin serves.
        why_not: One sentence on why there is no core; empty where there is one.
    """

    core: Core | None
    why_not: str = ""


def _library_name() -> str:
    suffix = {"darwin": "dylib", "win32": "dll"}.get(sys.platform, "so")
    return f"libdropkit_core.{suffix}"


def _load() -> Loaded:
    wanted = os.environ.get(ISA_VARIABLE, "")
    if wanted == REFERENCE:
        return Loaded(None, f"{ISA_VARIABLE}={REFERENCE} asks for the slow twin.")
    # An editable install has two folders: the sources, and what was built.
    folders = [Path(folder) for folder in dropkit.core.__path__]
    found = [path for folder in folders if (path := folder / _library_name()).is_file()]
    if not found:
        why_not = "it was not built: no C compiler was found when dropkit was installed."
        loaded = Loaded(None, why_not)
    else:
        try:
            loaded = Loaded(Core(found[0]))
        except (OSError, AttributeError, CoreError) as error:
            loaded = Loaded(None, f"{found[0]} cannot be used: {error}.")
    if wanted:
        if loaded.core is None:
            raise CoreError(f"{ISA_VARIABLE}={wanted!r} needs the C core, but {loaded.why_not}")
        loaded.core.force(wanted)
    return loaded


LOADED = _load()
