"""Landmarks of MediaPipe's BlazePose on crops: for evaluate_photos.py, which runs this with a Python that has `ai-edge-litert`.

    python -m venv VENV && VENV/bin/pip install ai-edge-litert numpy
    VENV/bin/python blazepose.py pose_landmark_full.tflite CROPS.npy LANDMARKS.npy

`CROPS` is u8 [N,256,256,3] RGB, `LANDMARKS` f32 [N,33,4]: x, y (pixels from the corner), z, logit of being seen. The network is in the
wheel of mediapipe 0.10.14: mediapipe/modules/pose_landmark/.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

LANDMARKS, NUMBERS = 39, 5
"""33 of the body and 6 that place the next crop; x, y, z and logits of being seen and of being in the crop."""


def main() -> None:
    if len(sys.argv) != 4:
        raise SystemExit("wanted: NETWORK.tflite CROPS.npy LANDMARKS.npy")
    from ai_edge_litert.interpreter import Interpreter

    network, given, made = (Path(a) for a in sys.argv[1:])
    net = Interpreter(str(network), num_threads=1)
    net.allocate_tensors()
    to = net.get_input_details()[0]["index"]
    out = next(o["index"] for o in net.get_output_details() if list(o["shape"]) == [1, LANDMARKS * NUMBERS])
    rows = []
    for crop in np.load(given):
        net.set_tensor(to, crop[None].astype(np.float32) / 255)
        net.invoke()
        rows.append(net.get_tensor(out).reshape(LANDMARKS, NUMBERS)[:33, :4].copy())
    np.save(made, np.stack(rows))


if __name__ == "__main__":
    main()
