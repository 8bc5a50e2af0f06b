"""Windows, image features and truth for the lifter's head, from rendered shards.

`python fuse_features.py --shard DIR --weights person.pt --lifter ../lifter --out DATA.safetensors`
writes kp f32 [N,27,17,4] (the lifter's input window), g f32 [N,128] (features of the newest crop),
truth f32 [N,17,3] (joints relative to joint 0 in the window's rotated frame, metres) and
group i64 [N]; the person network's own keypoints are the newest frame.

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
import torch
from numpy.typing import NDArray
from safetensors.numpy import save_file

from evaluate_people import decode_heatmaps
from net import PersonNet
from shards import open_shard

Floats = NDArray[np.float64]
GROUP = 200
"""Neighbouring rows of a shard share looks; they go to the same side of a split."""
PAST_NOISE_PX = (0.8, 3.0)
"""Standard deviation of the independent part of past errors, crop pixels."""


def observe(net: PersonNet, images: NDArray[np.uint8]) -> tuple[Floats, Floats, NDArray[np.float32]]:
    """Crops [B,192,144,3] -> crop pixels [B,17,2], chance of being seen [B,17], features [B,128]."""
    with torch.no_grad():
        x = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
        heat, visible, features, _ = net(x.contiguous(memory_format=torch.channels_last))
    xy = np.stack([decode_heatmaps(h) for h in heat.numpy()])
    return xy.astype(np.float64), torch.sigmoid(visible).numpy().astype(np.float64), features.numpy()


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
    p.add_argument("--weights", type=Path, required=True)
    p.add_argument("--lifter", type=Path, default=Path(__file__).parent.parent / "lifter")
    p.add_argument("--out", type=Path, required=True)
    p.add_argument("--first", type=int, default=0)
    p.add_argument("--count", type=int, default=20000)
    p.add_argument("--group-offset", type=int, default=0, help="keeps groups of several shards apart")
    a = p.parse_args()
    sys.path.append(str(a.lifter))
    from window import CONF_GATE, normalise

    torch.set_num_threads(1)
    rng = np.random.default_rng(5)
    net = PersonNet()
    net.load_state_dict(torch.load(a.weights, map_location="cpu")["net"])
    net.eval().to(memory_format=torch.channels_last)
    shard, total = open_shard(a.shard)
    last = min(total, a.first + a.count)
    kps, gs, truths, groups, errors = [], [], [], [], []
    for start in range(a.first, last, 64):
        rows = slice(start, min(start + 64, last))
        xy, seen, features = observe(net, np.asarray(shard["image"][rows]))
        rays, joints, camera = (np.asarray(shard[n][rows], np.float64) for n in ("rays", "joints", "camera"))
        newest = (xy - camera[:, None, 1:3]) / camera[:, None, :1]
        for i in range(len(xy)):
            samples = past(rays[i], newest[i], seen[i], camera[i, 0], rng)
            samples[samples[..., 2] < CONF_GATE] = 0
            if (samples[-1, :, 2] > 0).sum() < 6 or not np.isfinite(joints[i]).all():
                continue
            kp, rotation = np.empty((27, 17, 4)), np.empty((3, 3))
            normalise(samples, kp, rotation)
            kps.append(kp.astype(np.float32))
            gs.append(features[i])
            truths.append((joints[i] @ rotation.T).astype(np.float32))
            groups.append(a.group_offset + (start + i) // GROUP)
            v = samples[-1, :, 2] > 0
            errors.append(np.linalg.norm((newest[i] - rays[i, -1])[v], axis=-1) * camera[i, 0])
        if start % 6400 == 0:
            print(start, len(kps), flush=True)
    save_file(
        {"kp": np.stack(kps), "g": np.stack(gs), "truth": np.stack(truths), "group": np.array(groups, np.int64)},
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
