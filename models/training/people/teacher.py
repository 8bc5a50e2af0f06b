"""Feature maps of a network trained on photographs, for crops of a shard: what `train_person.py --teacher` learns to agree with.

Rendered people alone teach a network what renders look like. A second task on the same crops, to agree with the
feature map of a network that has seen photographs, keeps what it sees general (Chen et al., "Automated
Synthetic-to-Real Generalization", ICML 2020). The teacher is MoveNet SinglePose Lightning (Apache-2.0); its last
feature map has stride 4, as the person network's. Only maps are read: labels stay those of the renders.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np
import onnx
import onnxruntime as ort
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from onnx.utils import Extractor
from torch import Tensor

from shards import CROP_H, CROP_W, open_shard

MAP = "Relu__103:0"
CHANNELS, ROWS, COLUMNS = 24, 48, 36
PAD = (CROP_H - CROP_W) // 2
"""Columns on each side that make the crop the teacher's square; a whole number of its cells."""
SIDE = 192
"""Rows and columns of the teacher's image."""
FRAME_CHANNELS = (64, 32, 66)
"""Channels of the maps of a whole frame, at strides 32, 16 and 8."""


def teacher(weights: Path, maps: list[str] | None = None) -> ort.InferenceSession:
    """The teacher from its image to its last feature map, or the maps named; one thread."""
    whole = onnx.shape_inference.infer_shapes(onnx.load(str(weights)))
    part = Extractor(whole).extract_model([whole.graph.input[0].name], maps or [MAP])
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return ort.InferenceSession(part.SerializeToString(), options, ["CPUExecutionProvider"])


class FrameTeacher:
    """What the teacher sees in whole frames at three strides, for `train_finder.py --teacher`.

    Of several people it answers for one, but its maps before that are of everybody: features of the whole frame at strides 32
    and 16; at stride 8 features of strides 8 and 4, and the logits of 17 keypoints and of people's centres.
    """

    def __init__(self, weights: Path) -> None:
        self.net = teacher(
            weights,
            [self.named(weights, n, c) for n, c in (("conv2d/", 64), ("kpt_heatmap", 17), ("center_0", 1))]
            + ["Relu__97:0", "Relu__100:0", MAP],
        )
        self.name = self.net.get_inputs()[0].name

    @staticmethod
    def named(weights: Path, part: str, channels: int) -> str:
        """The output of the last convolution with `part` in its name and `channels` channels."""
        nodes = onnx.load(str(weights)).graph
        sizes = {i.name: i.dims[0] for i in nodes.initializer if i.dims}
        found = [
            n.output[0]
            for n in nodes.node
            if n.op_type == "Conv" and part in n.output[0] and sizes.get(n.input[1]) == channels
        ]
        if not found:
            raise ValueError(f"{weights}: no convolution to {channels} channels with {part!r} in its name")
        return found[-1]

    def __call__(self, frames: NDArray[np.uint8]) -> list[Tensor]:
        """Maps f16 [n,64,s/32,s/32], [n,32,s/16,s/16] and [n,66,s/8,s/8] of frames u8 [n,s,s,3]."""
        cells = frames.shape[1] // 8
        out: list[list[Tensor]] = [[], [], []]
        for frame in frames:
            small = np.asarray(cv2.resize(frame, (SIDE, SIDE), interpolation=cv2.INTER_AREA), np.uint8)
            deep, points, centre, s16, s8, s4 = (
                torch.from_numpy(y) for y in self.net.run(None, {self.name: small[None]})
            )
            fine = torch.cat([F.max_pool2d(torch.cat([points, centre], 1), 2), F.avg_pool2d(s4, 2), s8], 1)
            for kept, y, side in zip(out, (deep, s16, fine), (cells // 4, cells // 2, cells), strict=True):
                kept.append(F.interpolate(y, (side, side), mode="bilinear", align_corners=False).half())
        return [torch.cat(y) for y in out]


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
