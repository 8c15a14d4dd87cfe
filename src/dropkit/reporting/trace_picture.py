"""The chain of a trace as a picture for a paper."""

from pathlib import Path

from dropkit.core.files import write_bytes, write_text
from dropkit.errors import MissingExtraError, OptionError
from dropkit.reporting._template import fill
from dropkit.reporting._trace_chain import view_chain
from dropkit.tracing.result import Trace

_PNG_ZOOM = 3.0  # 3,096 pixels across: 300 a inch on a page ten inches wide


def write_trace_picture(trace: Trace, path: Path) -> None:
    """Write the chain of `trace` on its target, as SVG or PNG.

    Args:
        trace: Of a model that drops.
        path: Where to; its ending says what: ``.svg`` or ``.png``.

    Raises:
        OptionError: There is no site to draw, or the ending is another.
        MissingExtraError: jinja2 is not installed, or resvg-py for PNG.
        OSError: The folder is missing or cannot be written.
    """
    kind = path.suffix.lower()
    if kind not in (".svg", ".png"):
        raise OptionError(f"`path` must end in .svg or .png; got {path.name!r}.")
    chain = view_chain(trace, f"Leverage on the {trace.target}", lambda row: row.leverage)
    if chain is None:
        raise OptionError("`trace` must have a site to draw; got none.")
    text = fill("trace_picture.svg.j2", chain).strip() + "\n"
    if kind == ".svg":
        write_text(path, text)
        return
    try:
        import resvg_py  # noqa: PLC0415 - extra
    except ImportError as error:
        message = "PNG pictures need resvg-py: pip install 'dropkit[png]'."
        raise MissingExtraError(message) from error
    write_bytes(
        path, bytes(resvg_py.svg_to_bytes(svg_string=text, background="#fff", zoom=_PNG_ZOOM))
    )
