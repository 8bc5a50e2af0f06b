"""A TensorFlow.js graph model as ONNX: the operators that MoveNet is made of, and no others.

TensorFlow keeps images as batch, row, column, channel; ONNX convolves batch, channel, row, column. A value is kept in
the order in which it was computed and turned where an operator needs the other one, so that the convolutions run
without a Transpose between them.
"""

import base64
import json
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

# Read by tract and by ONNX Runtime alike; Resize of 18 has an attribute that tract ignores.
OPSET = 17
# The layout of OPSET's time, which older runtimes read.
IR_VERSION = 8

INPUT, OUTPUT = "image", "keypoints"

SAME_NAME = {"Sigmoid": "Sigmoid", "Sqrt": "Sqrt", "AddV2": "Add", "Mul": "Mul", "Sub": "Sub", "RealDiv": "Div"}
CONVOLUTIONS = ("_FusedConv2D", "DepthwiseConv2dNative", "FusedDepthwiseConv2dNative")


class Unsupported(Exception):
    """What the graph asks for and this module does not do, in one line."""


def read_weights(manifest: list[dict], data: bytes) -> dict[str, np.ndarray]:
    """The constants of a graph: 32-bit, from the 16 bits that they are stored in."""
    weights, offset = {}, 0
    for entry in (entry for group in manifest for entry in group["weights"]):
        stored = entry.get("quantization", entry)["dtype"]
        if stored not in ("float16", "float32", "int32"):
            raise Unsupported(f"weights {entry['name']}: type {stored}, must be float16, float32 or int32")
        count = int(np.prod(entry["shape"]))
        kind = np.dtype(stored).newbyteorder("<")
        if offset + count * kind.itemsize > len(data):
            raise Unsupported(f"weights {entry['name']}: the file ends before them")
        values = np.frombuffer(data, kind, count, offset).reshape(entry["shape"])
        # Numbers are places in a tensor, which ONNX counts in 64 bits.
        weights[entry["name"]] = values.astype(np.int64 if stored == "int32" else np.float32)
        offset += count * kind.itemsize
    return weights


def convert(model: str | bytes, data: bytes) -> onnx.ModelProto:
    """The network of a model.json and its weights, with bytes as input: the values are those of the original."""
    document = json.loads(model)
    graph = _Graph(read_weights(document["weightsManifest"], data))
    for node in document["modelTopology"]["node"]:
        graph.add(node)
    (output,) = document["signature"]["outputs"].values()
    return graph.model(output["name"].removesuffix(":0"))


class _Graph:
    def __init__(self, weights: dict[str, np.ndarray]) -> None:
        self.weights = weights
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: dict[str, onnx.TensorProto] = {}
        # ONNX names by TensorFlow's, in TensorFlow's order of axes and with the channels first.
        self.plain: dict[str, str] = {}
        self.first: dict[str, str] = {}
        # Of values with channels first: batch, channels, rows, columns.
        self.shapes: dict[str, list[int]] = {}
        self.input_shape: list[int] = []

    def add(self, node: dict) -> None:
        """Adds what one node of TensorFlow's computes."""
        name, op, inputs = node["name"], node["op"], node.get("input", [])
        attributes = node.get("attr", {})
        if op == "Const":
            return
        if op == "Placeholder":
            self.input_shape = [int(side["size"]) for side in attributes["shape"]["shape"]["dim"]]
            self.plain[name] = INPUT
        elif op in CONVOLUTIONS:
            self.convolution(name, op, inputs, attributes)
        elif op in SAME_NAME:
            self.elementwise(name, SAME_NAME[op], inputs)
        elif op == "ResizeBilinear":
            self.resize(name, inputs, attributes)
        else:
            self.plain[name] = name
            self.other(name, op, inputs, attributes)

    def convolution(self, name: str, op: str, inputs: list[str], attributes: dict) -> None:
        kernel = self.weights[inputs[1]]
        rows, columns, channels, outputs = kernel.shape
        depthwise = op != "_FusedConv2D"
        if depthwise:
            group, kernel = channels, kernel.transpose(2, 3, 0, 1).reshape(channels * outputs, 1, rows, columns)
        else:
            group, kernel = 1, kernel.transpose(3, 2, 0, 1)
        strides = _numbers(attributes["strides"])
        if _text(attributes["data_format"]) != "NHWC" or set(_numbers(attributes["dilations"])) != {1}:
            raise Unsupported(f"{op} {name}: must be NHWC without dilation")
        padding = _text(attributes["padding"])
        if padding not in ("SAME", "VALID"):
            raise Unsupported(f"{op} {name}: padding {padding}, must be SAME or VALID")
        fused = [_decoded(each) for each in attributes.get("fused_ops", {}).get("list", {}).get("s", [])]
        if fused not in ([], ["BiasAdd"], ["BiasAdd", "Relu"], ["BiasAdd", "Relu6"]):
            raise Unsupported(f"{op} {name}: fused {fused}, must be a bias with or without Relu or Relu6")

        operands = [self.channels_first(inputs[0]), self.constant(inputs[1] + "/oihw", kernel)]
        if fused:
            operands.append(self.constant(inputs[2], self.weights[inputs[2]]))
        last = name if len(fused) < 2 else name + "/bias"
        self.emit(
            "Conv",
            operands,
            last,
            group=group,
            kernel_shape=[rows, columns],
            strides=strides[1:3],
            auto_pad="SAME_UPPER" if padding == "SAME" else "VALID",
        )
        if fused[1:] == ["Relu"]:
            self.emit("Relu", [last], name)
        elif fused[1:] == ["Relu6"]:
            bounds = [self.constant(str(bound), np.float32(bound)) for bound in (0.0, 6.0)]
            self.emit("Clip", [last, *bounds], name)
        # How far a kernel that is not padded stays away from the edge.
        margin = [0, 0] if padding == "SAME" else [rows - 1, columns - 1]
        sides = [
            -(-(side - lost) // stride)
            for side, lost, stride in zip(self.shapes[inputs[0]][2:], margin, strides[1:3], strict=True)
        ]
        self.first[name] = name
        self.shapes[name] = [1, len(kernel), *sides]

    def elementwise(self, name: str, op: str, inputs: list[str]) -> None:
        if all(each in self.first for each in inputs):
            self.emit(op, [self.first[each] for each in inputs], name)
            self.first[name] = name
            self.shapes[name] = self.shapes[inputs[0]]
        else:
            self.emit(op, [self.value(each) for each in inputs], name)
            self.plain[name] = name

    def resize(self, name: str, inputs: list[str], attributes: dict) -> None:
        if not attributes["half_pixel_centers"]["b"] or attributes["align_corners"]["b"]:
            raise Unsupported(f"ResizeBilinear {name}: must have its centres at half pixels")
        source = self.channels_first(inputs[0])
        shape = [*self.shapes[inputs[0]][:2], *(int(side) for side in self.weights[inputs[1]])]
        sizes = self.constant(name + "/sizes", np.array(shape, np.int64))
        self.emit("Resize", [source, "", "", sizes], name, mode="linear", coordinate_transformation_mode="half_pixel")
        self.first[name] = name
        self.shapes[name] = shape

    def other(self, name: str, op: str, inputs: list[str], attributes: dict) -> None:
        """Operators that see values in TensorFlow's order of axes."""
        if op == "Cast":
            to = attributes["DstT"]["type"]
            if to != "DT_FLOAT":
                raise Unsupported(f"Cast {name}: to {to}, must be DT_FLOAT")
            self.emit("Cast", [self.value(inputs[0])], name, to=TensorProto.FLOAT)
        elif op == "Identity":
            self.emit("Identity", [self.value(inputs[0])], name)
        elif op == "ExpandDims":
            axes = self.constant(name + "/axis", self.weights[inputs[1]].reshape(1))
            self.emit("Unsqueeze", [self.value(inputs[0]), axes], name)
        elif op == "Squeeze":
            self.squeeze(self.value(inputs[0]), _numbers(attributes["squeeze_dims"]), name)
        elif op == "Reshape":
            shape = self.weights[inputs[1]]
            if 0 in shape:
                raise Unsupported(f"Reshape {name}: to {shape.tolist()}, must have no side of 0")
            self.emit("Reshape", [self.value(inputs[0]), self.constant(inputs[1], shape)], name)
        elif op == "ArgMax":
            axis = int(self.weights[inputs[1]])
            self.emit("ArgMax", [self.value(inputs[0])], name, axis=axis, keepdims=0)
        elif op == "FloorDiv":
            # Of places in a map, which are never negative: there Div rounds down as well.
            self.emit("Div", [self.value(each) for each in inputs], name)
        elif op == "SquaredDifference":
            self.emit("Sub", [self.value(each) for each in inputs], name + "/difference")
            self.emit("Mul", [name + "/difference"] * 2, name)
        elif op == "GatherNd":
            self.emit("GatherND", [self.value(each) for each in inputs], name)
        elif op == "ConcatV2":
            axis = int(self.weights[inputs[-1]])
            self.emit("Concat", [self.value(each) for each in inputs[:-1]], name, axis=axis)
        elif op == "Pack":
            self.pack(name, inputs, int(attributes["axis"]["i"]))
        elif op == "Unpack":
            self.unpack(name, inputs[0], int(attributes["axis"]["i"]), int(attributes["num"]["i"]))
        else:
            raise Unsupported(f"operator {op} of {name} has no counterpart here")

    def pack(self, name: str, inputs: list[str], axis: int) -> None:
        axes = self.constant(f"axis{axis}", np.array([axis], np.int64))
        parts = [f"{name}/{place}" for place in range(len(inputs))]
        for each, part in zip(inputs, parts, strict=True):
            self.emit("Unsqueeze", [self.value(each), axes], part)
        self.emit("Concat", parts, name, axis=axis)

    def unpack(self, name: str, source: str, axis: int, count: int) -> None:
        if count == 1:
            self.squeeze(self.value(source), [axis], name)
            return
        parts = [f"{name}/{place}" for place in range(count)]
        self.nodes.append(helper.make_node("Split", [self.value(source)], parts, name + "/split", axis=axis))
        for place, part in enumerate(parts):
            # TensorFlow calls the first output of a node by the node's name alone.
            output = f"{name}:{place}" if place else name
            self.squeeze(part, [axis], output)
            self.plain[output] = output

    def squeeze(self, source: str, axes: list[int], name: str) -> None:
        self.emit("Squeeze", [source, self.constant(name + "/axes", np.array(axes, np.int64))], name)

    def value(self, name: str) -> str:
        """The ONNX name of a value or constant in TensorFlow's order of axes."""
        if name in self.weights:
            return self.constant(name, self.weights[name])
        if name not in self.plain:
            if name not in self.first:
                raise Unsupported(f"input {name} is computed by no node before it")
            self.plain[name] = name + "/nhwc"
            self.emit("Transpose", [self.first[name]], self.plain[name], perm=[0, 2, 3, 1])
        return self.plain[name]

    def channels_first(self, name: str) -> str:
        """The ONNX name of an image or map with its channels first."""
        if name not in self.first:
            source = self.value(name)
            self.first[name] = name + "/nchw"
            self.emit("Transpose", [source], self.first[name], perm=[0, 3, 1, 2])
            # Only the picture comes in TensorFlow's order.
            batch, rows, columns, channels = self.input_shape
            self.shapes[name] = [batch, channels, rows, columns]
        return self.first[name]

    def constant(self, name: str, value: np.ndarray | np.generic) -> str:
        if name not in self.initializers:
            self.initializers[name] = numpy_helper.from_array(np.ascontiguousarray(value).reshape(value.shape), name)
        return name

    def emit(self, op: str, inputs: list[str], output: str, **attributes: Any) -> None:
        self.nodes.append(helper.make_node(op, inputs, [output], output, **attributes))

    def model(self, output: str) -> onnx.ModelProto:
        """The whole network with this value as its output, checked."""
        self.emit("Identity", [self.value(output)], OUTPUT)
        graph = helper.make_graph(
            self.nodes,
            "movenet",
            [helper.make_tensor_value_info(INPUT, TensorProto.UINT8, self.input_shape)],
            [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, [1, 1, 17, 3])],
            list(self.initializers.values()),
        )
        model = helper.make_model(
            graph,
            producer_name="poised examples/movenet",
            opset_imports=[helper.make_opsetid("", OPSET)],
            ir_version=IR_VERSION,
        )
        onnx.checker.check_model(model, full_check=True)
        return model


def _decoded(text: str) -> str:
    return base64.b64decode(text).decode()


def _text(attribute: dict) -> str:
    return _decoded(attribute["s"])


def _numbers(attribute: dict) -> list[int]:
    return [int(each) for each in attribute["list"]["i"]]
