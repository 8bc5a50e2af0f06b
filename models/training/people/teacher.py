"""Feature maps of a network trained on photographs, for crops of a shard: what `train_person.py --teacher` learns to agree with.

Rendered people alone teach a network what renders look like. A second task on the same crops, to agree with the
feature map of a network that has seen photographs, keeps what it sees general (Chen et al., "Automated
Synthetic-to-Real Generalization", ICML 2020). The teacher is MoveNet SinglePose Lightning (Apache-2.0); its last
feature map has stride 4, as the person network's. Only maps are read: labels stay those of the renders.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
from onnx.utils import Extractor

from shards import CROP_H, CROP_W, open_shard

MAP = "Relu__103:0"
CHANNELS, ROWS, COLUMNS = 24, 48, 36
PAD = (CROP_H - CROP_W) // 2
"""Columns on each side that make the crop the teacher's square; a whole number of its cells."""


def teacher(weights: Path) -> ort.InferenceSession:
    """The teacher from its image to its last feature map, one thread."""
    whole = onnx.shape_inference.infer_shapes(onnx.load(str(weights)))
    part = Extractor(whole).extract_model([whole.graph.input[0].name], [MAP])
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return ort.InferenceSession(part.SerializeToString(), options, ["CPUExecutionProvider"])


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--weights", type=Path, required=True, help="MoveNet Lightning, ONNX, u8 [1,192,192,3]")
    p.add_argument("--shard", type=Path, required=True)
    a = p.parse_args()
    net = teacher(a.weights)
    name = net.get_inputs()[0].name
    arrays, count = open_shard(a.shard)
    out = np.lib.format.open_memmap(
        a.shard / "teacher.npy", "w+", np.float16, (count, 2, CHANNELS, ROWS, COLUMNS)
    )  # as drawn, mirrored
    square = np.zeros((1, CROP_H, CROP_H, 3), np.uint8)
    for i in range(count):
        for side in range(2):
            crop = np.asarray(arrays["image"][i])
            square[0, :, PAD : PAD + CROP_W] = crop[:, ::-1] if side else crop
            (y,) = net.run(None, {name: square})
            out[i, side] = y[0, :, :, PAD // 4 : PAD // 4 + COLUMNS]
        if i % 2000 == 0:
            print(i, count, flush=True)
    out.flush()


if __name__ == "__main__":
    main()
