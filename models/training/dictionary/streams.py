"""Whole trials seen by simulated cameras, and what the shipped lifter makes of them, frame by frame.

`python streams.py --motion DIR --lifter WEIGHTS --out FILE --people train --views 3` writes one safetensors file:

| tensor | shape | meaning |
| --- | --- | --- |
| `rays` | f16 [N,17,3] | COCO keypoints at 30 Hz: u, v (rays at z = 1), confidence; 0 where not seen |
| `lifted` | f16 [N,17,3] | the lifter's joints relative to the pelvis, camera frame, metres |
| `sigma` | f16 [N,17] | its standard deviations, per axis, metres |
| `truth` | f16 [N,17,3] | true joints relative to the pelvis, camera frame, metres |
| `seen` | u8 [N,17] | whether the keypoint of a joint is seen (joints without one: whether its neighbours are) |
| `starts` | i64 [S+1] | first frame of each stream |
| `actions` | u8 [S,P] | which phrases hold for the stream's trial |

and, in the metadata, the trials' names. All that is random comes from the seed.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numba import njit
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lifter"))

from detector import Errors, err, read_errors, vary  # noqa: E402
from evaluate import load_lifter  # noqa: E402
from model import Lifter  # noqa: E402
from motion import HELD_OUT, SOURCE_SHARE, VALIDATION  # noqa: E402
from simulate import camera_rotation, seed_random  # noqa: E402
from skeleton import COCO_OF_H36M, H36M_MIRROR, PARENTS, coco_of_pose, face_hidden, head_axes  # noqa: E402
from window import CONF_GATE, FRAMES, normalise  # noqa: E402

RATE_HZ = 30.0
MIRRORED = {
    "walk and turn left": "walk and turn right",
    "walk and turn right": "walk and turn left",
    "run and turn left": "run and turn right",
    "run and turn right": "run and turn left",
    "wave with the right hand": "",
}
"""Phrases that a mirrored motion no longer deserves, and what it deserves instead."""

LOWER = (11, 12, 13, 14, 15, 16)
HIDDEN_SETS = (
    (13, 14, 15, 16), (13, 14, 15, 16), LOWER, LOWER, (15, 16), (7, 9), (8, 10), (9, 10), (13, 15), (14, 16),
    (5, 7, 9), (6, 8, 10), (0, 1, 2, 3, 4),
)  # fmt: skip
"""Keypoints that furniture hides together."""

F32 = np.float32
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Trial:
    """One trial: world joints [T,17,3] in metres, +y up, 30 Hz."""

    name: str
    actions: list[str]
    joints: Floats


def load_trials(folder: Path, people: str) -> list[Trial]:
    """Trials of `train`, `held_out` (people of the training sources kept aside), a name of VALIDATION, or an index."""
    if people.endswith(".json"):
        return load_index(Path(people))
    names = list(SOURCE_SHARE) if people in ("train", "held_out") else [VALIDATION[people]]
    trials = []
    for name in names:
        tensors = load_file(folder / f"motion_{name}.safetensors")
        joints = tensors["joints17"].astype(F32) + tensors["pelvis"].astype(F32)[:, None]
        with (folder / f"index_{name.split('_')[0]}.csv").open(newline="") as file:
            rows = [r for r in csv.DictReader(file) if r["file"] == f"motion_{name}.safetensors"]
        for row in rows:
            if people in ("train", "held_out") and (row["subject"] in HELD_OUT) != (people == "held_out"):
                continue
            first = int(row["start"])
            part = joints[first : first + int(row["frames"])]
            if len(part) >= 20:
                trials.append(Trial(row["id"], [a for a in row["actions"].split("|") if a], part))
    return trials


def load_index(path: Path) -> list[Trial]:
    """All trials of an index in JSON with its tensor files beside it (docs/reference/motion-format.md)."""
    trials, files = [], {}
    for row in json.loads(path.read_text()):
        if row["file"] not in files:
            tensors = load_file(path.parent / row["file"])
            files[row["file"]] = tensors["joints17"].astype(F32) + tensors["pelvis"].astype(F32)[:, None]
        first = int(row["start"])
        trials.append(Trial(row["id"], list(row["actions"]), files[row["file"]][first : first + int(row["frames"])]))
    return trials


def another_body(joints: Floats, rng: np.random.Generator) -> Floats:
    """The same motion by a body of another size and other proportions."""
    size = rng.uniform(0.85, 1.15)
    bones = np.exp(rng.normal(0, 0.05, 17)).astype(F32)
    bones[[4, 5, 6]] = bones[[1, 2, 3]]
    bones[[11, 12, 13]] = bones[[14, 15, 16]]
    out = np.empty_like(joints)
    out[:, 0] = joints[:, 0] * F32(size)
    for j in range(1, 17):
        out[:, j] = out[:, PARENTS[j]] + (joints[:, j] - joints[:, PARENTS[j]]) * F32(size) * bones[j]
    return out


def at_speed(joints: Floats, speed: float) -> Floats:
    """Played faster or slower, at the same 30 frames a second."""
    at = np.arange(0, len(joints) - 1, speed)
    low = at.astype(int)
    share = (at - low).astype(F32)[:, None, None]
    return np.asarray(joints[low] * (1 - share) + joints[low + 1] * share, F32)


def before_camera(joints: Floats, rng: np.random.Generator, plain: bool) -> tuple[Floats, float]:
    """Joints in a camera's frame, metres, and half the tangent of its larger field of view."""
    pitch = rng.normal(-8, 12) if rng.random() < 0.75 else rng.uniform(-50, 15)
    half = np.tan(np.radians(rng.uniform(40, 100)) / 2)
    if plain:
        pitch, half = rng.uniform(-12, -4), np.tan(np.radians(30.0))
    turn = camera_rotation(rng.uniform(-np.pi, np.pi), np.radians(pitch), np.radians(rng.normal(0, 3))).astype(F32)
    centre = 0.5 * (joints[:, 0].min(0) + joints[:, 0].max(0))
    turned = (joints - centre) @ turn.T
    height = np.ptp(turned[:, :, 1], axis=1).max()
    depth = max(height / (2 * half * rng.uniform(0.25, 0.85)), 0.7 - turned[..., 2].min())
    shift = np.array([rng.uniform(-0.25, 0.25) * half * depth, rng.uniform(-0.1, 0.1) * half * depth, depth])
    return np.asarray(turned + shift.astype(F32), F32), float(half)


@njit(cache=True)
def _keypoints(joints: NDArray[np.float64], out: NDArray[np.float64], away: NDArray[np.float64]) -> None:
    axes = np.empty((3, 3))
    for t in range(len(joints)):
        coco_of_pose(joints[t], out[t])
        head_axes(joints[t], axes)
        face_hidden(joints[t, 10], axes, away[t])


def slow_noise(count: int, width: int, rng: np.random.Generator) -> Floats:
    """Noise [count,width,2] of standard deviation 1, a random part of it correlated over about 8 frames."""
    share = np.sqrt(rng.uniform(0, 0.8))
    white = rng.normal(size=(count, width, 2)).astype(F32)
    slow = rng.normal(size=(count // 4 + 3, width, 2)).astype(F32)
    at = np.arange(count) / 4
    low = at.astype(int)
    f = (at - low).astype(F32)[:, None, None]
    smooth = (slow[low] * (1 - f) + slow[low + 1] * f) / np.sqrt(np.maximum(f**2 + (1 - f) ** 2, 0.5))
    return np.asarray(share * smooth + np.sqrt(1 - share**2) * white, F32)


def hide(seen: NDArray[np.bool_], rng: np.random.Generator, legs_s: float) -> None:
    """Lets furniture hide keypoints of `seen` [T,17] for spans of time, in place."""
    count = len(seen)
    if legs_s > 0:  # for measuring: legs hidden for so long, again and again
        span = round(legs_s * RATE_HZ)
        for start in range(round(1.5 * RATE_HZ), count, span + round(1.5 * RATE_HZ)):
            seen[start : start + span, 13:17] = False
        return
    if rng.random() < 0.65:
        for _ in range(rng.integers(1, 3)):
            which = list(HIDDEN_SETS[rng.integers(len(HIDDEN_SETS))])
            if rng.random() < 0.12:
                seen[:, which] = False
                continue
            at = int(rng.uniform(-0.5, 2.0) * RATE_HZ)
            while at < count:
                span = int(rng.uniform(0.4, 4.5) * RATE_HZ)
                seen[max(at, 0) : max(at + span, 0), which] = False
                at += span + int(rng.uniform(0.7, 4.0) * RATE_HZ)
    seen[rng.random(seen.shape) < rng.uniform(0, 0.03)] = False


def slower(keypoints: Floats, step: float, joined: bool) -> Floats:
    """Keypoints [T,17,3] of a camera that is `step` times as slow: between its frames straight lines, or nothing."""
    count = len(keypoints)
    at = np.arange(count) / step
    low = np.minimum(np.round(np.floor(at) * step).astype(int), count - 1)
    high = np.minimum(np.round((np.floor(at) + 1) * step).astype(int), count - 1)
    if not joined:
        out = np.zeros_like(keypoints)
        out[low] = keypoints[low]
        return out
    f = ((np.arange(count) - low) / np.maximum(high - low, 1))[:, None, None]
    both = ((keypoints[low, :, 2:] > 0) & (keypoints[high, :, 2:] > 0)) | (f == 0)
    return np.asarray((keypoints[low] * (1 - f) + keypoints[high] * f) * both)


def frame_of(half: float, rng: np.random.Generator) -> Any:
    """Half the sides of the image as rays: upright, lying or square."""
    tall = rng.random() < 0.5
    return half * np.array([9 / 16 if tall else 1.0, 1.0 if tall else 9 / 16]) if rng.random() < 0.5 else half


def detect_as_measured(
    joints: Floats, half: float, rng: np.random.Generator, legs_s: float, errors: Errors, as_is: bool
) -> Floats:
    """Keypoints [T,17,3] of a detector that errs as measured, or about so, at 30 Hz: u, v, confidence."""
    count = len(joints)
    points, away = np.empty((count, 17, 3)), np.empty((count, 5))
    _keypoints(joints.astype(np.float64), points, away)
    rays = points[..., :2] / np.maximum(points[..., 2:], 0.1)
    size = float((rays.max(1) - rays.min(1)).max(1).mean())
    inside = (np.abs(rays) < frame_of(half, rng)).all(-1)
    seen = np.ones((count, 17), bool)
    seen[:, :5] &= away < 0.5
    hide(seen, rng, legs_s)
    confidence = np.empty((count, 17))
    seed_random(int(rng.integers(1 << 31)))
    hidden = (~seen).astype(np.float64)
    err(errors if as_is else vary(errors), 1 / RATE_HZ, size, hidden, inside.astype(np.float64), rays, confidence)
    confidence[confidence < CONF_GATE] = 0.0
    kept = np.concatenate([rays, confidence[..., None]], -1) * (confidence > 0)[..., None]
    return np.asarray(kept, F32)


def detect(
    joints: Floats, half: float, rng: np.random.Generator, legs_s: float, plain: bool, joined: bool = True
) -> Floats:
    """Keypoints [T,17,3] as a detector that knows its errors would give them at 30 Hz: u, v, confidence.

    Between what a slower camera saw there are straight lines where they are `joined`, else nothing.
    """
    count = len(joints)
    points, away = np.empty((count, 17, 3)), np.empty((count, 5))
    _keypoints(joints.astype(np.float64), points, away)
    rays = (points[..., :2] / np.maximum(points[..., 2:], 0.1)).astype(F32)
    size = (rays.max(1) - rays.min(1)).max(1)[:, None, None]
    level = 0.005 if plain else np.exp(rng.uniform(np.log(0.002), np.log(0.025)))
    uneven = np.exp(rng.normal(0, 0.35, (1, 17, 1))).astype(F32)
    tail = np.where(rng.random((count, 17, 1)) < 0.02, 6, 1)
    error = slow_noise(count, 17, rng) * F32(level) * uneven * tail
    error += rng.normal(0, 0.004 if plain else 0.008, (1, 17, 2)).astype(F32)
    noisy = rays + error * size
    seen = np.ones((count, 17), bool)
    seen[:, :5] &= away < 0.5
    hide(seen, rng, legs_s)
    seen &= (np.abs(noisy) < frame_of(half, rng)).all(-1)
    confidence = np.clip(1 - 12 * np.abs(error).max(-1) + rng.normal(0, 0.08, (count, 17)), 0.22, 1)
    kept = np.concatenate([noisy, confidence[..., None]], -1) * seen[..., None]
    if not plain and rng.random() < 0.4:
        kept = slower(kept, RATE_HZ / rng.uniform(12, 30), joined)
    return np.asarray(kept, F32)


@njit(cache=True)
def _windows(rays: NDArray[np.float64], kp: Floats, turns: Floats) -> None:
    samples, one, turn = np.zeros((FRAMES, 17, 3)), np.empty((FRAMES, 17, 4)), np.empty((3, 3))
    for t in range(len(rays)):
        for k in range(FRAMES):
            at = t - (FRAMES - 1 - k)
            if at >= 0:
                samples[k] = rays[at]
            else:
                samples[k] = 0.0
        normalise(samples, one, turn)
        kp[t] = one
        turns[t] = turn


def lift(model: Lifter | None, rays: Floats) -> tuple[Floats, Floats]:
    """Joints [T,17,3] relative to the pelvis in the camera frame, metres, and sigmas [T,17]; 0 without a network."""
    if model is None:
        return np.zeros((len(rays), 17, 3), F32), np.zeros((len(rays), 17), F32)
    kp, turns = np.empty((len(rays), FRAMES, 17, 4), F32), np.empty((len(rays), 3, 3), F32)
    _windows(rays.astype(np.float64), kp, turns)
    frames = np.concatenate([kp[..., :3].reshape(len(rays), FRAMES, 51), kp[:, :, 0, 3:]], -1)
    joints, sigmas = [], []
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        for at in range(0, len(rays), 1024):
            pose, log_sigma = model(torch.from_numpy(frames[at : at + 1024]))
            joints.append(pose.float().numpy())
            sigmas.append(log_sigma.float().exp().numpy())
    # Rows of `turns` are the rotated axes, so the way back is their transpose.
    return np.einsum("tja,tab->tjb", np.concatenate(joints), turns), np.concatenate(sigmas)


def seen_joints(rays: Floats) -> NDArray[np.bool_]:
    """Which 3D joints are seen [T,17]: the rule of src/lift/measured.rs."""
    k = rays[..., 2] > 0
    out = np.empty(k.shape, bool)
    hips, shoulders, face = k[:, 11] & k[:, 12], k[:, 5] & k[:, 6], k[:, :5].any(1)
    for j in range(17):
        if COCO_OF_H36M[j] >= 0:
            out[:, j] = k[:, COCO_OF_H36M[j]]
    out[:, 0], out[:, 7], out[:, 8] = hips, hips & shoulders, shoulders
    out[:, 9] = out[:, 10] = shoulders & face
    return out


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--motion", type=Path, required=True)
    p.add_argument("--phrases", type=Path, default=Path(__file__).parents[2] / "dictionary" / "phrases.json")
    p.add_argument(
        "--lifter", type=Path, help="without it joints and sigmas are 0, for examples/pose_streams.rs to fill in"
    )
    p.add_argument("--out", type=Path, required=True)
    p.add_argument("--people", default="train", help=f"train, held_out, {', '.join(VALIDATION)}, or an index.json")
    p.add_argument("--views", type=int, default=3)
    p.add_argument("--legs", type=float, default=0.0, help="for measuring: hide the legs for so many seconds each time")
    p.add_argument("--measured", type=float, default=0.0, help="share of streams whose detector errs as measured")
    p.add_argument("--rate", type=float, default=RATE_HZ, help="for measuring: the camera's frames a second")
    p.add_argument("--every", type=int, default=1, help="take every n-th trial, from the seed-th on")
    p.add_argument("--seed", type=int, default=1)
    a = p.parse_args()
    torch.set_num_threads(1)
    rng = np.random.default_rng(a.seed)
    phrases = [row["phrase"] for row in json.loads(a.phrases.read_text())]
    model = load_lifter(a.lifter) if a.lifter else None
    errors = read_errors()
    out: dict[str, list[NDArray[np.generic]]] = {k: [] for k in ("rays", "lifted", "sigma", "truth", "seen")}
    starts, actions, names = [0], [], []
    measuring = a.people in ("held_out", *VALIDATION)
    for trial in load_trials(a.motion, a.people)[a.seed % a.every :: a.every]:
        for _ in range(a.views):
            joints, labels = trial.joints, trial.actions
            if not measuring:
                joints = at_speed(joints, float(np.exp(rng.uniform(-0.2, 0.2))))
                if rng.random() < 0.5:
                    joints = joints[:, H36M_MIRROR] * np.array([-1, 1, 1], F32)
                    labels = [MIRRORED.get(label, label) for label in labels]
            joints = another_body(joints, rng)
            camera, half = before_camera(joints, rng, a.legs > 0)
            if rng.random() < a.measured:
                rays = detect_as_measured(camera, half, rng, a.legs, errors, measuring)
            else:
                rays = detect(camera, half, rng, a.legs, a.legs > 0, joined=model is not None)
            if a.rate < RATE_HZ:
                rays = slower(rays, RATE_HZ / a.rate, joined=model is not None)
            lifted, sigma = lift(model, rays)
            out["rays"].append(rays.astype(np.float16))
            out["lifted"].append(lifted.astype(np.float16))
            out["sigma"].append(sigma.astype(np.float16))
            out["truth"].append((camera - camera[:, :1]).astype(np.float16))
            out["seen"].append(seen_joints(rays).astype(np.uint8))
            starts.append(starts[-1] + len(rays))
            actions.append([int(phrase in labels) for phrase in phrases])
            names.append(trial.name)
        if len(names) % 300 < a.views:
            print(len(names), starts[-1], flush=True)
    a.out.parent.mkdir(parents=True, exist_ok=True)
    tensors = {k: np.concatenate(v) for k, v in out.items()}
    tensors |= {"starts": np.array(starts, np.int64), "actions": np.array(actions, np.uint8)}
    save_file(tensors, a.out, {"trials": json.dumps(names), "people": a.people})
    print(a.people, len(names), "streams", starts[-1], "frames", flush=True)


if __name__ == "__main__":
    main()
