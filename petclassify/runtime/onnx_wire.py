"""Looking into an ONNX file before any runtime does.

A model file from elsewhere may point at other files on this machine ("external data"),
and ONNX Runtime would open them while it loads. Or it may loop for ever: no network that
petclassify exports branches or loops, so graphs inside nodes (Loop, Scan, If) and functions
are refused. The base install has no onnx package, so the few fields that matter are read
here from the protobuf wire format itself.

Source: onnx.proto (IR 10) for the field numbers; protobuf.dev/programming-guides/encoding.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from petclassify.errors import ModelError

# Field numbers of onnx.proto, by message.
_MODEL_GRAPH, _MODEL_METADATA, _MODEL_TRAINING, _MODEL_FUNCTIONS = 7, 14, 20, 25
_ENTRY_KEY, _ENTRY_VALUE = 1, 2
_GRAPH_NODE, _GRAPH_INITIALIZER, _GRAPH_SPARSE = 1, 5, 15
_GRAPH_OUTPUT, _VALUE_NAME = 12, 1
_NODE_ATTRIBUTE, _FUNCTION_NODE, _FUNCTION_ATTRIBUTE = 5, 7, 11
_ATTRIBUTE_TENSOR, _ATTRIBUTE_GRAPH, _ATTRIBUTE_TENSORS, _ATTRIBUTE_GRAPHS = 5, 6, 10, 11
_ATTRIBUTE_SPARSE, _ATTRIBUTE_SPARSES = 22, 23
_SPARSE_VALUES, _SPARSE_INDICES = 1, 2
_TRAINING_GRAPHS = (1, 2)
_TENSOR_EXTERNAL_DATA, _TENSOR_DATA_LOCATION = 13, 14

_CONTROL = (
    "it branches or loops (a graph inside a node, or a function), which no model file of "
    "petclassify does"
)

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_MAX_DEPTH = 64

Value = int | memoryview


def read_metadata(model: bytes) -> dict[str, str]:
    """Return the metadata properties of an ONNX model.

    Raises:
        ModelError: the bytes are not an ONNX model, or it keeps data in other files, or it
            branches or loops.

    """
    try:
        metadata: dict[str, str] = {}
        has_graph = False
        for field, value in _fields(memoryview(model)):
            if field == _MODEL_METADATA:
                entry = dict(_fields(_message(value)))
                key, text = (bytes(_message(entry[k])) for k in (_ENTRY_KEY, _ENTRY_VALUE))
                metadata[key.decode()] = text.decode()
            elif field == _MODEL_GRAPH:
                has_graph = True
                _refuse_foreign_parts(_message(value), _GRAPH)
            elif field == _MODEL_FUNCTIONS:
                _refuse_foreign_parts(_message(value), _FUNCTION)
                raise ModelError(_CONTROL)
            elif field == _MODEL_TRAINING:
                _refuse_foreign_parts(_message(value), _TRAINING)
    except (ValueError, IndexError, KeyError) as error:
        raise ModelError("not an ONNX model, or a damaged one") from error
    if not has_graph:
        raise ModelError("not an ONNX model, or a damaged one")
    return metadata


def with_outputs(model: bytes, names: Sequence[str]) -> bytes:
    """Make tensors that an ONNX model has inside outputs of it too.

    Protobuf merges what is written twice: a second graph that holds nothing but outputs adds
    them to the first.
    """
    outputs = b"".join(
        _bytes_field(_GRAPH_OUTPUT, _bytes_field(_VALUE_NAME, name.encode(errors="replace")))
        for name in names
    )
    return model + _bytes_field(_MODEL_GRAPH, outputs)


# What can hold tensors, and where: message -> field -> message. Tensors end the walk.
_TENSOR = "tensor"
_SPARSE = "sparse tensor"
_ATTRIBUTE = "attribute"
_NODE = "node"
_GRAPH = "graph"
_FUNCTION = "function"
_TRAINING = "training"
_CHILDREN: dict[str, dict[int, str]] = {
    _GRAPH: {_GRAPH_NODE: _NODE, _GRAPH_INITIALIZER: _TENSOR, _GRAPH_SPARSE: _SPARSE},
    _NODE: {_NODE_ATTRIBUTE: _ATTRIBUTE},
    _FUNCTION: {_FUNCTION_NODE: _NODE, _FUNCTION_ATTRIBUTE: _ATTRIBUTE},
    _TRAINING: dict.fromkeys(_TRAINING_GRAPHS, _GRAPH),
    _SPARSE: {_SPARSE_VALUES: _TENSOR, _SPARSE_INDICES: _TENSOR},
    _ATTRIBUTE: {
        _ATTRIBUTE_TENSOR: _TENSOR,
        _ATTRIBUTE_TENSORS: _TENSOR,
        _ATTRIBUTE_GRAPH: _GRAPH,
        _ATTRIBUTE_GRAPHS: _GRAPH,
        _ATTRIBUTE_SPARSE: _SPARSE,
        _ATTRIBUTE_SPARSES: _SPARSE,
    },
}


def _refuse_foreign_parts(message: memoryview, kind: str, depth: int = 0) -> None:
    if depth > _MAX_DEPTH:
        raise ModelError("its graphs are nested too deeply")
    for field, value in _fields(message):
        if kind == _TENSOR:
            if field == _TENSOR_EXTERNAL_DATA or (field == _TENSOR_DATA_LOCATION and value != 0):
                raise ModelError(
                    "it keeps its weights in another file (external data), which is refused; "
                    "a model file of petclassify holds everything itself"
                )
        elif field in _CHILDREN[kind]:
            child = _CHILDREN[kind][field]
            _refuse_foreign_parts(_message(value), child, depth + 1)
            if kind == _ATTRIBUTE and child == _GRAPH:
                raise ModelError(_CONTROL)


def _message(value: Value) -> memoryview:
    if isinstance(value, int):
        raise ValueError("expected a message, found a number")  # noqa: TRY004
    return value


def _fields(message: memoryview) -> Iterator[tuple[int, Value]]:
    """Yield (field number, value) of one message; nested messages come as bytes."""
    position = 0
    while position < len(message):
        tag, position = _varint(message, position)
        if tag >= 2**32:  # protobuf keeps 32 bits, and would find another field
            raise ValueError(f"tag {tag}")
        field, wire_type = tag >> 3, tag & 7
        if wire_type == _VARINT:
            number, position = _varint(message, position)
            yield field, number
            continue
        if wire_type == _BYTES:
            size, position = _varint(message, position)
        elif wire_type in (_FIXED64, _FIXED32):
            size = 8 if wire_type == _FIXED64 else 4
        else:
            raise ValueError(f"wire type {wire_type}")
        if position + size > len(message):
            raise ValueError("cut off")
        yield field, message[position : position + size]
        position += size


def _varint(message: memoryview, position: int) -> tuple[int, int]:
    number = shift = 0
    while True:
        byte = message[position]
        position += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, position
        shift += 7
        if shift > 63:
            raise ValueError("a number of more than 64 bits")


def _bytes_field(field: int, content: bytes) -> bytes:
    return _as_varint(field << 3 | _BYTES) + _as_varint(len(content)) + content


def _as_varint(number: int) -> bytes:
    groups = bytearray()
    while number > 0x7F:
        groups.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*groups, number])
