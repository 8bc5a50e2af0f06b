"""Completion: where the joints are that the camera does not see, and how far off those are that it does.

A network looks at the lifter's output at 30 steps a second and says, for every joint, how far the lifter is off
and how sure it is. What it can know and the lifter cannot: the lifter sees 0.9 s, this sees three, where a joint
was when it was last seen, however long ago, what rays are missed by, and what mirror, refinement and filter did.

`stream_features` makes the input of one step, as the device makes it; COMPLETION.md repeats it in words.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numba import njit
from numpy.typing import NDArray
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lifter"))

from skeleton import COCO_MIRROR, H36M_MIRROR  # noqa: E402

JOINTS = 17
STEP_S = 1.0 / 30.0
"""Time of one step."""
INPUTS = 358
OWN = 160
"""Inputs that stand for where joints are and how long they have not been seen; what is left says how the pose came to be."""
CODE = 128
"""Numbers that are kept of each step."""
LAGS = (0, 2, 5, 9, 14, 20, 28, 38, 52, 70, 90)
"""Steps back that an answer looks at: three seconds, the newest closest."""
HIDDEN = 256
"""Width of the inner layers."""
DROPOUT = 0.3
"""In training only: there are many windows, but few people."""
AWAY_STEPS = 120
"""A joint unseen for longer counts as unseen for this long."""
LEAK = 0.98
"""Share of the way travelled in the image that is kept from step to step."""
MOVE_MAX_M = 0.3
"""Bound of the movement of one step."""
AXIS_MIN_M = 1e-3
"""Shortest spine or hip line that still gives a direction."""
SPREAD_MIN = 1e-4
"""Smallest summed square spread, in square metres, that gives a scale."""
SIGMA_MIN, SIGMA_MAX = 0.01, 0.6
"""Bounds of the standard deviation (per axis) in metres."""
SIGMA_SHIFT = 3.0
"""Added to ln sigma of the lifter, so that it lies near zero."""
MISS_MAX_M = 0.2
"""Bound of what a ray is missed by, for each axis."""
MISS_GAIN, APART_GAIN, CHANGE_GAIN = 5.0, 3.0, 5.0
"""Metres times these are of order one: misses of rays, mirror against first look, what refinement and filter changed."""

COCO_OF_H36M = np.array([-1, 12, 14, 16, 11, 13, 15, -1, -1, -1, -1, 5, 7, 9, 6, 8, 10], dtype=np.int64)
TORSO = np.array([5, 6, 11, 12], dtype=np.int64)
"""COCO shoulders and hips: their movement in the image is the body's."""

LIMBS = np.flatnonzero(COCO_OF_H36M >= 0)
"""Joints that a keypoint shows."""

Array = NDArray[np.float32]


class Poses(NamedTuple):
    """A stream as the daemon's lifter gives it (`examples/pose_streams.rs`). Camera frame, metres, relative to joint 0."""

    lifted: Array
    """[T,17,3], refined and smoothed."""
    raw: Array
    """The same before smoothing."""
    own: Array
    """The same before refinement."""
    apart: Array
    """From where the head has each joint to where the mirror shows it."""
    root: Array
    """[T,3], the pelvis."""
    sigma: Array
    """[T,17], per axis."""
    seen: NDArray[np.uint8]
    """[T,17]."""
    rays: Array
    """[T,17,3]: u, v at z = 1 and confidence, 0 where a keypoint is missing."""
    picture: Array
    """[T], 1 where the head saw the picture, 0 where it did not."""

    def rows(self, first: int, end: int) -> Poses:
        """A part of the stream."""
        at = slice(first, end)
        return Poses(
            self.lifted[at], self.raw[at], self.own[at], self.apart[at], self.root[at], self.sigma[at], self.seen[at],
            self.rays[at], self.picture[at],
        )  # fmt: skip


@njit(cache=True)
def body_axes(pose: Array, axes: Array) -> None:
    """Write the body's left, up and forward axes into the rows of `axes` [3,3]; keep it where there are none.

    Up is joint 8 less joint 0; left is joint 4 less joint 1, made orthogonal to up; forward = left x up.
    """
    up = pose[8] - pose[0]
    long = np.sqrt((up * up).sum())
    if long < AXIS_MIN_M:
        return
    up = up / long
    left = pose[4] - pose[1]
    left = left - (left * up).sum() * up
    wide = np.sqrt((left * left).sum())
    if wide < AXIS_MIN_M:
        return
    left = left / wide
    axes[0] = left
    axes[1] = up
    axes[2, 0] = left[1] * up[2] - left[2] * up[1]
    axes[2, 1] = left[2] * up[0] - left[0] * up[2]
    axes[2, 2] = left[0] * up[1] - left[1] * up[0]


def stream_features(poses: Poses, out: Array, turns: Array) -> None:
    """Fill out [T,INPUTS] and turns [T,3,3] (rows: the body's axes) of a stream from its first frame on."""

    def turned(joints: Array) -> Array:
        return np.asarray(np.einsum("tac,tjc->tja", turns, joints).reshape(len(out), -1))

    _own_features(poses.lifted, poses.sigma, poses.seen, poses.rays, out, turns)
    at = poses.lifted[:, LIMBS] + poses.root[:, None]
    keypoints = poses.rays[:, COCO_OF_H36M[LIMBS]]
    miss = np.zeros_like(at)
    miss[..., :2] = np.clip(keypoints[..., :2] * at[..., 2:] - at[..., :2], -MISS_MAX_M, MISS_MAX_M)
    miss *= keypoints[..., 2:] > 0
    out[:, OWN:196] = MISS_GAIN * turned(miss)
    out[:, 196:213] = poses.rays[..., 2]
    out[:, 213:261] = APART_GAIN * turned(poses.apart[:, 1:])
    out[:, 261:309] = CHANGE_GAIN * turned((poses.raw - poses.lifted)[:, 1:])
    out[:, 309:357] = CHANGE_GAIN * turned((poses.own - poses.raw)[:, 1:])
    out[:, 357] = poses.picture


@njit(cache=True)
def _own_features(lifted: Array, sigma: Array, seen: NDArray[np.uint8], rays: Array, out: Array, turns: Array) -> None:
    """The first OWN features."""
    axes = np.eye(3, dtype=np.float32)
    hold = np.zeros((JOINTS, 3), dtype=np.float32)
    away = np.full(JOINTS, AWAY_STEPS)
    drift = np.zeros(2, dtype=np.float32)
    scale = 0.0
    for t in range(len(lifted)):
        body_axes(lifted[t], axes)
        turns[t] = axes
        row = out[t]
        for j in range(JOINTS):
            if seen[t, j] > 0:
                away[j] = 0
            elif away[j] < AWAY_STEPS:
                away[j] += 1
            for c in range(3):
                value = axes[c, 0] * lifted[t, j, 0] + axes[c, 1] * lifted[t, j, 1] + axes[c, 2] * lifted[t, j, 2]
                if seen[t, j] > 0:
                    hold[j, c] = value
                if j > 0:
                    row[3 * (j - 1) + c] = value
                    row[48 + 3 * (j - 1) + c] = hold[j, c]
            row[96 + j] = np.log(sigma[t, j]) + SIGMA_SHIFT
            row[113 + j] = 1.0 if seen[t, j] > 0 else 0.0
            row[130 + j] = away[j] / AWAY_STEPS
        for a in range(3):
            for c in range(3):
                row[147 + 3 * a + c] = axes[a, c]
        # Metres to rays: the spread of the keypoints against the spread of the lifted joints.
        count = 0
        mean = np.zeros(4)
        for j in range(JOINTS):
            k = COCO_OF_H36M[j]
            if k >= 0 and rays[t, k, 2] > 0.0:
                count += 1
                mean += np.array([rays[t, k, 0], rays[t, k, 1], lifted[t, j, 0], lifted[t, j, 1]])
        if count >= 2:
            mean /= count
            of_rays = 0.0
            of_joints = 0.0
            for j in range(JOINTS):
                k = COCO_OF_H36M[j]
                if k >= 0 and rays[t, k, 2] > 0.0:
                    of_rays += (rays[t, k, 0] - mean[0]) ** 2 + (rays[t, k, 1] - mean[1]) ** 2
                    of_joints += (lifted[t, j, 0] - mean[2]) ** 2 + (lifted[t, j, 1] - mean[3]) ** 2
            if of_joints > SPREAD_MIN and of_rays > 0.0:
                scale = np.sqrt(of_rays / of_joints)
        shared = 0
        move = np.zeros(2)
        if t > 0 and scale > 0.0:
            for k in TORSO:
                if rays[t, k, 2] > 0.0 and rays[t - 1, k, 2] > 0.0:
                    shared += 1
                    move[0] += rays[t, k, 0] - rays[t - 1, k, 0]
                    move[1] += rays[t, k, 1] - rays[t - 1, k, 1]
        for c in range(2):
            step = 0.0
            if shared > 0:
                step = min(max(move[c] / (shared * scale), -MOVE_MAX_M), MOVE_MAX_M)
            drift[c] = LEAK * drift[c] + step
            row[156 + c] = drift[c]
            row[158 + c] = 10.0 * step


class Completion(nn.Module):
    """Residual (body axes, metres) and ln sigma of joints 1 to 16, from the steps LAGS back."""

    def __init__(self) -> None:
        super().__init__()
        self.code = nn.Linear(INPUTS, CODE)
        self.mix0 = nn.Linear(CODE * len(LAGS), HIDDEN)
        self.mix1 = nn.Linear(HIDDEN, HIDDEN)
        self.out = nn.Linear(HIDDEN, 64)
        self.dropout = nn.Dropout(DROPOUT)
        nn.init.normal_(self.out.weight, std=0.01)
        nn.init.zeros_(self.out.bias)
        with torch.no_grad():
            self.out.bias[48:] = np.log(0.1)

    def codes(self, features: Tensor) -> Tensor:
        """[..., INPUTS] -> [..., CODE]."""
        return nn.functional.silu(self.code(features))

    def answer(self, codes: Tensor) -> tuple[Tensor, Tensor]:
        """Codes [B, CODE * lags], newest first -> residual [B,16,3], ln sigma [B,16]."""
        y = self.dropout(nn.functional.silu(self.mix0(self.dropout(codes))))
        y = self.out(self.dropout(y + nn.functional.silu(self.mix1(y)))).float()
        log_sigma = y[..., 48:].clamp(float(np.log(SIGMA_MIN)), float(np.log(SIGMA_MAX)))
        return y[..., :48].reshape(*y.shape[:-1], 16, 3), log_sigma

    def forward(self, features: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
        """Features [B,L,INPUTS] of the steps LAGS back, known [B,L] (0: before the first step, the code is 0)."""
        return self.answer((self.codes(features) * known[..., None]).flatten(1))


class Streams(NamedTuple):
    """Streams of a file of pose_streams.rs with the features of every frame."""

    poses: Poses
    features: NDArray[np.float16]
    turns: Array
    truth: Array
    fresh: NDArray[np.uint8]
    """[N]: 0 where there was no pose and the one before is repeated."""
    starts: NDArray[np.int64]
    actions: NDArray[np.uint8]
    names: list[str]

    def spans(self) -> list[tuple[int, int]]:
        """First frame and end of each stream."""
        return list(zip(self.starts[:-1].tolist(), self.starts[1:].tolist(), strict=True))


def make_streams(
    poses: Poses,
    truth: Array,
    fresh: NDArray[np.uint8],
    starts: NDArray[np.int64],
    actions: NDArray[np.uint8],
    names: list[str],
) -> Streams:
    """The features of every frame beside what they are made of."""
    count = len(truth)
    features, turns = np.empty((count, INPUTS), np.float16), np.empty((count, 3, 3), np.float32)
    streams = Streams(poses, features, turns, truth, fresh, starts, actions, names)
    for a, b in streams.spans():
        out = np.empty((b - a, INPUTS), dtype=np.float32)
        stream_features(poses.rows(a, b), out, turns[a:b])
        features[a:b] = out
    return streams


def load_streams(path: str) -> Streams:
    """Read a file and make its features."""
    import json

    from safetensors import safe_open

    with safe_open(path, "np") as file:
        names = json.loads(file.metadata()["trials"])
        raw = {k: file.get_tensor(k) for k in file.keys()}
    poses = Poses(*(raw[k] for k in Poses._fields))
    return make_streams(poses, raw["truth"], raw["fresh"], raw["starts"], raw["actions"], names)


def mirrored_poses(p: Poses) -> Poses:
    """What the daemon makes of the same people in a mirror, where its two looks change places."""
    flip = np.array([-1.0, 1.0, 1.0], np.float32)
    lifted, raw, own, apart = (joints[:, H36M_MIRROR] * flip for joints in (p.lifted, p.raw, p.own, -p.apart))
    return Poses(
        lifted, raw, own, apart, p.root * flip, p.sigma[:, H36M_MIRROR], p.seen[:, H36M_MIRROR],
        p.rays[:, COCO_MIRROR] * flip, p.picture,
    )  # fmt: skip


def mirrored_streams(s: Streams) -> Streams:
    """The same in a mirror, but for the actions, of which some have another name there."""
    truth = s.truth[:, H36M_MIRROR] * np.array([-1.0, 1.0, 1.0], np.float32)
    return make_streams(mirrored_poses(s.poses), truth, s.fresh, s.starts, s.actions, s.names)
