"""Windows, image features and truth for the lifter's head, from rendered shards.

`python fuse_features.py --shard DIR --person ../../person/person.onnx --out DATA.safetensors`
writes kp f32 [N,27,17,4] (the lifter's input window), image f32 [N,128] (features of the newest crop),
joints f32 [N,17,3] (relative to joint 0 in the window's rotated frame, metres) and group i64 [N];
the person network's own keypoints are the newest frame.

The shards hold no pictures of the past. A network's error on one person changes slowly, so the
newest error is carried back as a first-order autoregression around white noise of the size the
network's errors have.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from safetensors.numpy import save_file

from evaluate_people import decode_heatmaps, session
from shards import open_shard

Floats = NDArray[np.float64]
GROUP = 200
"""Neighbouring rows of a shard share looks; they go to the same side of a split."""
PAST_NOISE_PX = (0.8, 3.0)
"""Standard deviation of the independent part of past errors, crop pixels."""
NEWEST_SEEN_MIN = 6
"""Keypoints of the newest frame that must be above the visibility gate: with fewer the program lifts nobody."""


def observe(net: ort.InferenceSession, image: NDArray[np.uint8]) -> tuple[Floats, Floats, NDArray[np.float32]]:
    """A crop [192,144,3] -> crop pixels [17,2], chance of being seen [17], features [128]."""
    x = image.transpose(2, 0, 1)[None].astype(np.float32) / 255
    heat, visible, features = net.run(["heatmaps", "visible", "features"], {"image": x})
    seen = 1 / (1 + np.exp(-visible[0].astype(np.float64)))
    return decode_heatmaps(heat[0]).astype(np.float64), seen, features[0]


def past(rays: Floats, newest: Floats, seen: Floats, focal: float, rng: np.random.Generator) -> Floats:
    """Samples [27,17,3] (u, v, conf): true `rays` [27,17,2] with errors that end in `newest` [17,2]."""
    frames = len(rays)
    keep = rng.uniform(0.7, 0.99)
    sigma = rng.uniform(*PAST_NOISE_PX) / focal
    error = np.zeros_like(rays)
    error[-1] = newest - rays[-1]
    conf = np.zeros(rays.shape[:2])
    conf[-1] = seen
    drift = error[-1].copy()
    for k in range(frames - 2, -1, -1):
        drift = keep * drift + np.sqrt(1 - keep**2) * sigma * rng.normal(size=drift.shape)
        error[k] = drift + 0.3 * sigma * rng.normal(size=drift.shape)
        conf[k] = np.clip(0.97 * conf[k + 1] + 0.03 * rng.random(17) + rng.normal(0, 0.03, 17), 0, 1)
    if rng.random() < 0.3:  # the person has just come into view
        conf[: rng.integers(1, frames)] = 0
    return np.concatenate([rays + error, conf[..., None]], -1)


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--shard", type=Path, required=True)
    p.add_argument("--person", type=Path, required=True, help="the person network that ships, ONNX")
    p.add_argument("--lifter", type=Path, default=Path(__file__).parent.parent / "lifter")
    p.add_argument("--out", type=Path, required=True)
    p.add_argument("--first", type=int, default=0)
    p.add_argument("--count", type=int, default=20000)
    p.add_argument("--group-offset", type=int, default=0, help="keeps groups of several shards apart")
    a = p.parse_args()
    sys.path.append(str(a.lifter))
    from window import CONF_GATE, normalise

    rng = np.random.default_rng(5)
    net = session(a.person)
    shard, total = open_shard(a.shard)
    last = min(total, a.first + a.count)
    kps, gs, truths, groups, errors = [], [], [], [], []
    for row in range(a.first, last):
        xy, seen, features = observe(net, np.asarray(shard["image"][row]))
        rays, joints, camera = (np.asarray(shard[n][row], np.float64) for n in ("rays", "joints", "camera"))
        newest = (xy - camera[1:3]) / camera[0]
        samples = past(rays, newest, seen, camera[0], rng)
        samples[samples[..., 2] < CONF_GATE] = 0
        if (samples[-1, :, 2] > 0).sum() < NEWEST_SEEN_MIN or not np.isfinite(joints).all():
            continue
        kp, rotation = np.empty((27, 17, 4)), np.empty((3, 3))
        normalise(samples, kp, rotation)
        kps.append(kp.astype(np.float32))
        gs.append(features)
        truths.append((joints @ rotation.T).astype(np.float32))
        groups.append(a.group_offset + row // GROUP)
        v = samples[-1, :, 2] > 0
        errors.append(np.linalg.norm((newest - rays[-1])[v], axis=-1) * camera[0])
        if row % 6400 == 0:
            print(row, len(kps), flush=True)
    save_file(
        {"kp": np.stack(kps), "image": np.stack(gs), "joints": np.stack(truths), "group": np.array(groups, np.int64)},
        str(a.out),
    )
    e = np.concatenate(errors)
    print(
        json.dumps(
            {"windows": len(kps), "keypoint_error_px_median": float(np.median(e)), "p90": float(np.quantile(e, 0.9))}
        )
    )


if __name__ == "__main__":
    main()
