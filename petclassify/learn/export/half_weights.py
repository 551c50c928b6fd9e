"""A model file with its weights in 16 bits: half the size, at the same speed.

Each large tensor is stored as float16, with a Cast to float32 behind it. ONNX Runtime does
the Casts once, when it loads the file, and then computes in float32 as before, so any runtime
and any processor can run it. Converters that are to be had change the arithmetic too.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

_MIN_VALUES = 256  # smaller tensors are not worth a node
_QUANTISERS = {"QuantizeLinear", "DequantizeLinear"}
_LARGEST = float(np.finfo(np.float16).max)


def halve_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """Store large weights as float16.

    What float16 cannot hold stays as it is, and so do the scales of an int8 model: runtimes read
    them before they fold anything.
    """
    halved = onnx.ModelProto()
    halved.CopyFrom(model)
    scales = {
        name for node in model.graph.node if node.op_type in _QUANTISERS for name in node.input
    }
    casts = []
    for tensor in halved.graph.initializer:
        if tensor.data_type != TensorProto.FLOAT or tensor.name in scales:
            continue
        values = numpy_helper.to_array(tensor)
        if values.size < _MIN_VALUES or not np.all(np.abs(values) <= _LARGEST):
            continue
        name = tensor.name
        tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float16), f"{name}_float16"))
        casts.append(helper.make_node("Cast", [tensor.name], [name], to=TensorProto.FLOAT))
    nodes = [*casts, *halved.graph.node]
    del halved.graph.node[:]
    halved.graph.node.extend(nodes)
    return halved
