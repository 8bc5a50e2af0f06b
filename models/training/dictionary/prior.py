"""The statistical side of an entry: two seconds of motion as a point of a Gaussian, in a basis all entries share.

`python prior.py --motion DIR --rank 96 --out prior.safetensors` writes what `src/motion/prior.rs` reads:

| tensor | shape | meaning |
| --- | --- | --- |
| `prior.mean` | f32 [3060] | mean window: 60 times, 17 joints, 3 axes, in this order |
| `prior.basis` | f32 [R, 3060] | orthonormal rows |
| `prior.noise` | f32 [17] | variance of a joint that the basis leaves out, per axis |

A window is 60 frames at 30 Hz, relative to joint 0 of each frame, in the body frame of the window (`body_frame` of
encoder.py: one rotation for the whole window) and in torso lengths. Windows are weighed by source and action; half of
them are mirrored.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import save_file

from encoder import STEPS, body_frame
from streams import H36M_MIRROR, MIRRORED, SOURCE_SHARE, Trial, load_trials

Array = NDArray[np.float32]
SYNTHETIC_SHARE = 0.15
"""Weight of synthetic motions beside the captured ones, which have 1 together."""
HOP = 6
"""Frames from one window of a trial to the next."""


def windows_of(joints: Array, hop: int = HOP) -> Array:
    """Cut [T,17,3] into windows [W,60,17,3]; a shorter trial is held at its ends."""
    if len(joints) < STEPS:
        before = (STEPS - len(joints)) // 2
        joints = np.concatenate(
            [np.repeat(joints[:1], before, 0), joints, np.repeat(joints[-1:], STEPS - len(joints) - before, 0)]
        )
    return np.stack([joints[a : a + STEPS] for a in range(0, len(joints) - STEPS + 1, hop)])


def normalised(windows: Array) -> tuple[Array, Array, Array]:
    """Windows [W,60,17,3], any frame -> (body frame, torso lengths; rotation [W,3,3]; torso [W])."""
    relative = torch.from_numpy(windows - windows[:, :, :1])
    rotation, torso = body_frame(relative)
    out = torch.einsum("btjc,bac->btja", relative, rotation) / torso[:, None, None, None]
    return out.numpy(), rotation.numpy(), torso.numpy()


def labelled_windows(trials: list[Trial]) -> tuple[Array, NDArray[np.int64], list[tuple[str, list[str]]]]:
    """Normalised windows of all trials and their mirror images, the label row of each, and (source, actions) of a row."""
    parts: list[Array] = []
    rows: list[NDArray[np.int64]] = []
    labels: list[tuple[str, list[str]]] = []
    for trial in trials:
        for mirrored in (False, True):
            joints, actions = trial.joints, trial.actions
            if mirrored:
                joints = joints[:, H36M_MIRROR] * np.array([-1, 1, 1], np.float32)
                actions = [a for a in (MIRRORED.get(a, a) for a in actions) if a]
            cut = windows_of(joints, 2 * HOP)
            parts.append(normalised(cut)[0].reshape(len(cut), -1))
            rows.append(np.full(len(cut), len(labels)))
            labels.append((trial.name.split("_")[0], actions))
    return np.concatenate(parts), np.concatenate(rows), labels


def window_weights(rows: NDArray[np.int64], labels: list[tuple[str, list[str]]]) -> Array:
    """Weight of each window: sources as in the lifter's training, rare actions more, sum 1."""
    count: dict[str, int] = defaultdict(int)
    for row in rows:
        for action in labels[row][1]:
            count[action] += 1
    of_row = np.array([np.mean([count[a] ** -0.5 for a in actions] or [0.02]) for _, actions in labels])
    weight = of_row[rows]
    source = np.array([labels[row][0] for row in rows])
    shares = {name.removeprefix("train_"): share for name, share in SOURCE_SHARE.items()} | {
        "synthetic": SYNTHETIC_SHARE
    }
    for name in set(source):
        mine = source == name
        weight[mine] *= shares[name] / weight[mine].sum()
    return np.asarray(weight / weight.sum(), np.float32)


def fit(windows: Array, weight: Array, rank: int) -> dict[str, Array]:
    """Weighted principal directions: mean, basis and noise."""
    mean = weight @ windows
    apart = (windows - mean) * np.sqrt(weight)[:, None]
    covariance = apart.T @ apart
    _, vectors = np.linalg.eigh(covariance)
    basis = np.ascontiguousarray(vectors[:, ::-1][:, :rank].T.astype(np.float32))
    left = np.diag(covariance) - ((basis @ covariance) * basis).sum(0)
    noise = left.reshape(STEPS, 17, 3).mean((0, 2)).clip(1e-6)
    return {"prior.mean": mean.astype(np.float32), "prior.basis": basis, "prior.noise": noise.astype(np.float32)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--motion", type=Path, required=True)
    parser.add_argument("--rank", type=int, default=96)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--more", type=Path, help="index.json of further motions")
    args = parser.parse_args()
    torch.set_num_threads(1)
    trials = load_trials(args.motion, "train")
    if args.more:
        trials += load_trials(args.motion, str(args.more))
    windows, rows, labels = labelled_windows(trials)
    prior = fit(windows, window_weights(rows, labels), args.rank)
    save_file(prior, args.out, {"poised": json.dumps({"rank": args.rank})})
    for name in ("held_out", "mhad_val", "cmu_val", "hdm05"):
        x, _, _ = labelled_windows(load_trials(args.motion, name))
        for rank in (48, 64, args.rank):
            basis = prior["prior.basis"][:rank]
            off = x - prior["prior.mean"]
            off -= (off @ basis.T) @ basis
            error = np.linalg.norm(off.reshape(-1, STEPS, 17, 3), axis=-1).mean()
            print(
                name, len(x), "windows; rank", rank, "leaves out", round(float(error), 4), "torso lengths", flush=True
            )


if __name__ == "__main__":
    main()
