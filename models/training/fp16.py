"""Put a network that computes in 16 bits beside the one in 32, for TensorRT.

    python fp16.py FOLDER...      (model folders; needs onnx, onnxruntime, numpy)

Writes `network_fp16.onnx` into each folder and names it in `model.toml`. Inputs and outputs stay as they are; weights
and everything between them become 16-bit floats, so that a strongly typed engine computes in them. The largest
difference to the 32-bit network, relative to the largest value of each output, is printed: of ONNX Runtime on the
CPU, with the input of tests/onnx/golden.py.
"""

import argparse
import hashlib
import re
import tomllib
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnxruntime.transformers.float16 import convert_float_to_float16

FILE = "network_fp16.onnx"


def run(network: Path, spec: dict, names: list[str]) -> list[np.ndarray]:
    """The named outputs on the stored tests' input."""
    session = onnxruntime.InferenceSession(network, providers=["CPUExecutionProvider"])
    count = int(np.prod(spec["shape"]))
    values = (np.arange(count) * 7919 % 1021).astype(np.float32) / np.float32(1020.0)
    if spec["type"] == "u8":
        values = np.round(values * np.float32(255.0)).astype(np.uint8)
    return session.run(names, {spec["name"]: values.reshape(spec["shape"])})


def convert(folder: Path) -> None:
    """One folder."""
    description = folder / "model.toml"
    text = description.read_text()
    model = tomllib.loads(text)
    full = folder / model["network"]["file"]
    half = folder / FILE
    onnx.save(convert_float_to_float16(onnx.load(full), keep_io_types=True), half)

    names = [output["name"] for output in model["outputs"]]
    pairs = zip(names, run(full, model["input"], names), run(half, model["input"], names), strict=True)
    for name, want, got in pairs:
        worst = float(np.abs(want - got).max() / max(np.abs(want).max(), 1e-3))
        print(f"{folder.name}: {name}: largest difference {worst:.1e}")

    entry = f'[network_fp16]\nfile = "{FILE}"\nsha256 = "{hashlib.sha256(half.read_bytes()).hexdigest()}"\n'
    if "network_fp16" in model:
        text = re.sub(r'\[network_fp16\]\nfile = "[^"]*"\nsha256 = "[^"]*"\n', entry, text)
    else:
        text = text.replace("[input]\n", f"{entry}\n[input]\n", 1)
    description.write_text(text)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", nargs="+", type=Path)
    for each in parser.parse_args().folders:
        convert(each)
