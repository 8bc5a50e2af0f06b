"""Store outputs of networks, computed by ONNX Runtime, for tests/engines/.

    python tests/onnx/golden.py FOLDER...      (model folders; needs numpy, onnxruntime, safetensors)

Input number i is ((7919 i) mod 1021) / 1020; for uint8 inputs that times 255,
rounded. Of each output every n-th number is kept, so that a file stays small.
"""

import argparse
import hashlib
import tomllib
from pathlib import Path

import numpy as np
import onnxruntime
from safetensors.numpy import save_file

OUT = Path(__file__).parent.parent / "golden" / "networks"
EVERY = 7


def store(folder: Path, network: Path | None) -> None:
    model = tomllib.loads((folder / "model.toml").read_text())
    file = network or folder / model["network"]["file"]
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    spec = model["input"]
    count = int(np.prod(spec["shape"]))
    values = (np.arange(count) * 7919 % 1021).astype(np.float32) / np.float32(1020.0)
    if spec["type"] == "u8":
        values = np.round(values * np.float32(255.0)).astype(np.uint8)
    names = [output["name"] for output in model["outputs"]]
    outputs = session.run(names, {spec["name"]: values.reshape(spec["shape"])})
    kept = {n: np.ascontiguousarray(o.reshape(-1)[::EVERY]) for n, o in zip(names, outputs, strict=True)}
    sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
    OUT.mkdir(parents=True, exist_ok=True)
    path = OUT / f"{folder.name}.safetensors"
    save_file(kept, path, metadata={"sha256": sha256, "every": str(EVERY)})
    print(path, {name: output.shape for name, output in zip(names, outputs, strict=True)})


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--network", type=Path, help="the network file, where it is not in the folder")
    arguments = parser.parse_args()
    for each in arguments.folders:
        store(each, arguments.network)
