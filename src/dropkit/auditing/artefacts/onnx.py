"""Models in ONNX files."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dropkit.auditing.artefacts.artefact import Artefact, LeftOver
from dropkit.errors import DataError, MissingExtraError

#: Since this version of ONNX's operators, Dropout asks an input whether to draw.
_HAS_INPUT = 12
#: Before this one, an attribute; between the two it never draws.
_HAS_ATTRIBUTE = 7
_DEFAULT_RATE = 0.5


def read_onnx(path: Path) -> Artefact:
    """The nodes that draw: ``Dropout`` in training mode, and ``Bernoulli``.

    Raises:
        MissingExtraError: onnx is not installed.
        DataError: The file is no ONNX model.
    """
    try:
        import onnx  # noqa: PLC0415 - belongs to an extra
    except ImportError as error:
        message = "reading an ONNX file needs onnx: pip install 'dropkit[onnx]'."
        raise MissingExtraError(message) from error
    try:
        model = onnx.load(str(path), load_external_data=False)
    except Exception as error:  # protobuf's errors share no class
        raise DataError(f"`model` must be an ONNX file; {str(path)!r} cannot be read.") from error
    versions = {one.domain: one.version for one in model.opset_import}
    graph = _Graph(onnx, versions.get("", 1))
    found = tuple(graph.left_over(model.graph, {}))
    for function in model.functions:
        found += tuple(graph.nodes(function.node, {}))
    return Artefact("ONNX", found, graph.n_operators)


class _Graph:
    def __init__(self, onnx: Any, version: int) -> None:
        self._onnx, self._version = onnx, version
        self.n_operators = 0

    def left_over(self, graph: Any, around: dict[str, Any]) -> Iterator[LeftOver]:
        """What draws in a graph, and in those within; `around` has the constants outside of it."""
        read = self._onnx.numpy_helper.to_array
        constants = around | {
            one.name: read(one) for one in graph.initializer if not one.external_data
        }
        yield from self.nodes(graph.node, constants)

    def nodes(self, nodes: Any, constants: dict[str, Any]) -> Iterator[LeftOver]:
        """Likewise in a list of nodes."""
        known = dict(constants)
        for node in nodes:
            self.n_operators += 1
            attributes = {
                one.name: self._onnx.helper.get_attribute_value(one)
                for one in node.attribute
                if not one.ref_attr_name
            }
            if node.op_type == "Constant" and node.domain in ("", "ai.onnx"):
                value = attributes.get("value")
                if value is not None and not value.external_data:
                    known[node.output[0]] = self._onnx.numpy_helper.to_array(value)
            for value in attributes.values():
                if isinstance(value, self._onnx.GraphProto):
                    yield from self.left_over(value, known)
            site = node.name or node.output[0]
            if node.domain in ("", "ai.onnx") and node.op_type == "Bernoulli":
                yield LeftOver(site, "Bernoulli", None)
            if node.domain in ("", "ai.onnx") and node.op_type == "Dropout":
                rate = self._rate(node, attributes, known)
                if rate is not None and rate > 0.0:
                    yield LeftOver(site, "Dropout", rate)

    def _rate(self, node: Any, attributes: dict[str, Any], known: dict[str, Any]) -> float | None:
        """Of a Dropout that draws; None of one that does not, or may not."""
        if self._version < _HAS_ATTRIBUTE:
            draws = attributes.get("is_test", 0) == 0
            return float(attributes.get("ratio", _DEFAULT_RATE)) if draws else None
        if self._version < _HAS_INPUT:
            return None
        inputs = [*node.input, "", "", ""]
        mode = known.get(inputs[2])
        if mode is None or not bool(mode.all()):
            return None
        rate = known.get(inputs[1])
        return _DEFAULT_RATE if not inputs[1] or rate is None else float(rate)
