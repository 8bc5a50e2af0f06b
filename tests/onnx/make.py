"""Write the small ONNX files that the tests run, with answers one can work out by hand.

    python tests/onnx/make.py        (needs numpy and onnx)

What each gives is said at its function.
"""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

HERE = Path(__file__).parent
KEYPOINTS = 17


def tensor(name: str, values: object, dtype: type = np.float32) -> onnx.TensorProto:
    return numpy_helper.from_array(np.asarray(values, dtype=dtype), name)


def info(name: str, shape: list[int], kind: int = TensorProto.FLOAT) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, shape)


def write(
    name: str,
    nodes: list[onnx.NodeProto],
    inputs: list[onnx.ValueInfoProto],
    outputs: list[onnx.ValueInfoProto],
    constants: list[onnx.TensorProto],
    *,
    check: bool = True,
) -> None:
    graph = helper.make_graph(nodes, name, inputs, outputs, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    if check:
        onnx.checker.check_model(model, full_check=True)
    (HERE / f"{name}.onnx").write_bytes(model.SerializeToString())


def person() -> None:
    """The shape of the shipped person network.

    A person is a red, a green and a blue square. heatmaps: keypoints 0 to 4 peak
    on the red one, 5 to 12 on the green, 13 to 16 on the blue; visible is above 5
    where there is a square of about 5 x 5 cells and -10 where there is none;
    features[i] = i * mean of the crop's green; mask is 0.
    """
    kernel = np.zeros((KEYPOINTS, 3, 1, 1), np.float32)
    kernel[:5, 0] = kernel[5:13, 1] = kernel[13:, 2] = 40.0
    nodes = [
        helper.make_node("AveragePool", ["image"], ["cells"], kernel_shape=[4, 4], strides=[4, 4]),
        # A blur wider than the square gives it one peak, in its middle.
        helper.make_node(
            "AveragePool",
            ["cells"],
            ["blurred"],
            kernel_shape=[7, 7],
            pads=[3, 3, 3, 3],
            count_include_pad=1,
        ),
        helper.make_node("Conv", ["blurred", "kernel"], ["heatmaps"]),
        helper.make_node("ReduceMax", ["heatmaps"], ["top"], axes=[2, 3], keepdims=0),
        helper.make_node("Sub", ["top", "half"], ["visible"]),
        helper.make_node("GlobalAveragePool", ["image"], ["mean4"]),
        helper.make_node("Flatten", ["mean4"], ["mean"]),
        helper.make_node("MatMul", ["mean", "ramp"], ["features"]),
        helper.make_node("Mul", ["heatmaps", "zero"], ["nothing"]),
        helper.make_node("Slice", ["nothing", "start", "three", "one"], ["mask"]),
    ]
    ramp = np.zeros((3, 128))
    ramp[1] = np.arange(128)
    constants = [
        tensor("kernel", kernel),
        tensor("half", 10.0),
        tensor("ramp", ramp),
        tensor("zero", 0.0),
        tensor("start", [0], np.int64),
        tensor("three", [3], np.int64),
        tensor("one", [1], np.int64),
    ]
    outputs = [
        info("heatmaps", [1, KEYPOINTS, 48, 36]),
        info("visible", [1, KEYPOINTS]),
        info("features", [1, 128]),
        info("mask", [1, 3, 48, 36]),
    ]
    write("person", nodes, [info("image", [1, 3, 192, 144])], outputs, constants)


def finder() -> None:
    """The shape of the shipped finder: a box of 0.5, 4, 3.5, 4 cells around each green cell."""
    nodes = [
        helper.make_node("AveragePool", ["image"], ["cells"], kernel_shape=[8, 8], strides=[8, 8]),
        helper.make_node("Conv", ["cells", "gain", "bias"], ["score"]),
        helper.make_node("Conv", ["cells", "none", "edges"], ["box"]),
    ]
    constants = [
        # Green less red, so that grey padding is nobody.
        tensor("gain", [[[[-80.0]], [[80.0]], [[0.0]]]]),
        tensor("bias", [-14.0]),
        tensor("none", np.zeros((4, 3, 1, 1))),
        tensor("edges", [0.5, 4.0, 3.5, 4.0]),
    ]
    outputs = [info("score", [1, 1, 24, 24]), info("box", [1, 4, 24, 24])]
    write("finder", nodes, [info("image", [1, 3, 192, 192])], outputs, constants)


def simcc() -> None:
    """Input [1,3,64,48]; bin 2 j of the columns is column j's mean green, odd bins are 0; rows alike."""
    nodes = [
        helper.make_node("Slice", ["image", "one", "two", "one"], ["channel"]),
        helper.make_node("ReduceMean", ["channel"], ["across"], axes=[2], keepdims=0),
        helper.make_node("ReduceMean", ["channel"], ["down"], axes=[3], keepdims=0),
        helper.make_node("MatMul", ["across", "spread_x"], ["bins_x"]),
        helper.make_node("MatMul", ["down", "spread_y"], ["bins_y"]),
        helper.make_node("Add", ["bins_x", "rows"], ["simcc_x"]),
        helper.make_node("Add", ["bins_y", "rows"], ["simcc_y"]),
    ]

    def spread(n: int) -> np.ndarray:
        return np.kron(np.eye(n), [[1.0, 0.0]])

    constants = [
        tensor("one", [1], np.int64),
        tensor("two", [2], np.int64),
        tensor("spread_x", spread(48)),
        tensor("spread_y", spread(64)),
        tensor("rows", np.zeros((1, KEYPOINTS, 1))),
    ]
    outputs = [info("simcc_x", [1, KEYPOINTS, 96]), info("simcc_y", [1, KEYPOINTS, 128])]
    write("simcc", nodes, [info("image", [1, 3, 64, 48])], outputs, constants)


def movenet() -> None:
    """uint8 [1,32,32,3]; y = k / 32, x = (k + 0.5) / 32 for keypoint k, score = sqrt(mean - 0.25)
    of the pixel values 0 to 1: NaN for a dark image."""
    nodes = [
        helper.make_node("Cast", ["image"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["float"], ["mean"], axes=[1, 2, 3], keepdims=1),
        helper.make_node("Div", ["mean", "full"], ["share"]),
        helper.make_node("Sub", ["share", "quarter"], ["above"]),
        helper.make_node("Sqrt", ["above"], ["score"]),
        helper.make_node("Mul", ["score", "only_score"], ["scores"]),
        helper.make_node("Add", ["scores", "places"], ["keypoints"]),
    ]
    places = np.zeros((1, 1, KEYPOINTS, 3))
    places[..., 0] = np.arange(KEYPOINTS) / 32
    places[..., 1] = (np.arange(KEYPOINTS) + 0.5) / 32
    constants = [
        tensor("full", 255.0),
        tensor("quarter", 0.25),
        tensor("only_score", np.tile([0.0, 0.0, 1.0], (1, 1, KEYPOINTS, 1))),
        tensor("places", places),
    ]
    image = info("image", [1, 32, 32, 3], TensorProto.UINT8)
    write("movenet", nodes, [image], [info("keypoints", [1, 1, KEYPOINTS, 3])], constants)


def yolo(name: str = "yolo", dtype: type = np.float32) -> None:
    """Input [1,3,64,64]; three fixed candidates, the first two the same person, scored with the mean green.

    `half` is the same in 16 bits, its input and output too.
    """
    people = np.zeros((1, 56, 3))
    for i, x in enumerate([20.0, 21.0, 50.0]):
        people[0, :4, i] = [x, 32.0, 16.0, 40.0]
        for k in range(KEYPOINTS):
            people[0, 5 + 3 * k : 8 + 3 * k, i] = [x + k % 2, 16.0 + 2 * k, 0.5]
    scores = np.zeros((1, 56, 3))
    scores[0, 4] = [0.8, 1.0, 0.9]
    nodes = [
        helper.make_node("Slice", ["image", "one", "two", "one"], ["channel"]),
        helper.make_node("ReduceMean", ["channel"], ["mean"], axes=[2, 3], keepdims=0),
        helper.make_node("Mul", ["mean", "scores"], ["scored"]),
        helper.make_node("Add", ["scored", "places"], ["people"]),
    ]
    constants = [
        tensor("one", [1], np.int64),
        tensor("two", [2], np.int64),
        tensor("scores", scores, dtype),
        tensor("places", people, dtype),
    ]
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    image, out = info("image", [1, 3, 64, 64], kind), info("people", [1, 56, 3], kind)
    write(name, nodes, [image], [out], constants)


def external() -> None:
    """`yolo` with its weights in a file beside it."""
    model = onnx.load(HERE / "yolo.onnx")
    data = "external.onnx.data"
    (HERE / data).unlink(missing_ok=True)
    onnx.save_model(
        model,
        HERE / "external.onnx",
        save_as_external_data=True,
        location=data,
        size_threshold=64,
    )


def lifter() -> None:
    """Input [1,27,17,4]; feat[i] = i * mean of x + mean of confidence."""
    nodes = [
        helper.make_node("ReduceMean", ["kp"], ["mean"], axes=[1, 2], keepdims=0),
        helper.make_node("MatMul", ["mean", "ramp"], ["feat"]),
    ]
    ramp = np.zeros((4, 256))
    ramp[0], ramp[2] = np.arange(256), 1.0
    write("lifter", nodes, [info("kp", [1, 27, 17, 4])], [info("feat", [1, 256])], [tensor("ramp", ramp)])


def unknown() -> None:
    """An operator that no engine has."""
    nodes = [helper.make_node("FoldSpacetime", ["image"], ["keypoints"])]
    image = info("image", [1, 32, 32, 3], TensorProto.UINT8)
    write("unknown", nodes, [image], [info("keypoints", [1, 1, KEYPOINTS, 3])], [], check=False)


def quantised(name: str, zero: int) -> None:
    """A Relu between Q/DQ with 8-bit integers around `zero`: 0 is symmetric, the only kind that TensorRT takes."""
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["dq"]),
        helper.make_node("Relu", ["dq"], ["y"]),
    ]
    constants = [tensor("scale", 0.05), tensor("zero", zero, np.int8)]
    write(name, nodes, [info("x", [1, 3, 8, 8])], [info("y", [1, 3, 8, 8])], constants)


if __name__ == "__main__":
    for make in (person, finder, simcc, movenet, yolo, lifter, unknown):
        make()
    yolo("half", np.float16)
    external()
    quantised("symmetric", 0)
    quantised("asymmetric", 12)
