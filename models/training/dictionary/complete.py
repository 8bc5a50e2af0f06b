"""Completion: where the joints are that the camera does not see.

A network looks at the lifter's output at 30 steps a second and says, for every joint, how far the lifter is off
and how sure it is. Its answer is used for hidden joints only. What it can know and the lifter cannot: the lifter
sees 0.9 s, this sees three, and where a joint was when it was last seen, however long ago.

`Features` is the input of one step, as the device makes it; README.md repeats it in words.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numba import njit
from numpy.typing import NDArray
from torch import Tensor, nn

JOINTS = 17
STEP_S = 1.0 / 30.0
"""Time of one step."""
INPUTS = 160
CODE = 112
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

COCO_OF_H36M = np.array([-1, 12, 14, 16, 11, 13, 15, -1, -1, -1, -1, 5, 7, 9, 6, 8, 10], dtype=np.int64)
TORSO = np.array([5, 6, 11, 12], dtype=np.int64)
"""COCO shoulders and hips: their movement in the image is the body's."""

Array = NDArray[np.float32]


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


@njit(cache=True)
def stream_features(
    lifted: Array, sigma: Array, seen: NDArray[np.uint8], rays: Array, out: Array, turns: Array
) -> None:
    """Fill out [T,160] and turns [T,3,3] (rows: the body's axes) of a stream from its first frame on.

    lifted [T,17,3] camera frame, relative to joint 0, metres; sigma [T,17] metres; seen [T,17];
    rays [T,17,3] = u, v at z = 1 and confidence, 0 where a keypoint is missing.
    """
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
        """[..., 160] -> [..., CODE]."""
        return nn.functional.silu(self.code(features))

    def answer(self, codes: Tensor) -> tuple[Tensor, Tensor]:
        """Codes [B, CODE * lags], newest first -> residual [B,16,3], ln sigma [B,16]."""
        y = self.dropout(nn.functional.silu(self.mix0(self.dropout(codes))))
        y = self.out(self.dropout(y + nn.functional.silu(self.mix1(y)))).float()
        log_sigma = y[..., 48:].clamp(float(np.log(SIGMA_MIN)), float(np.log(SIGMA_MAX)))
        return y[..., :48].reshape(*y.shape[:-1], 16, 3), log_sigma

    def forward(self, features: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
        """Features [B,L,160] of the steps LAGS back, known [B,L] (0: before the first step, the code is 0)."""
        return self.answer((self.codes(features) * known[..., None]).flatten(1))


class Streams(NamedTuple):
    """Streams of a file of streams.py with the features of every frame."""

    features: NDArray[np.float16]
    turns: Array
    lifted: Array
    sigma: Array
    truth: Array
    seen: NDArray[np.uint8]
    rays: Array
    starts: NDArray[np.int64]
    actions: NDArray[np.uint8]
    names: list[str]


def load_streams(path: str) -> Streams:
    """Read a file and make its features."""
    import json

    from safetensors import safe_open

    with safe_open(path, "np") as file:
        names = json.loads(file.metadata()["trials"])
        raw = {k: file.get_tensor(k) for k in file.keys()}
    lifted, sigma = raw["lifted"].astype(np.float32), raw["sigma"].astype(np.float32)
    rays, starts = raw["rays"].astype(np.float32), raw["starts"]
    features = np.empty((len(lifted), INPUTS), dtype=np.float16)
    turns = np.empty((len(lifted), 3, 3), dtype=np.float32)
    for a, b in zip(starts[:-1], starts[1:], strict=True):
        out = np.empty((b - a, INPUTS), dtype=np.float32)
        stream_features(lifted[a:b], sigma[a:b], raw["seen"][a:b], rays[a:b], out, turns[a:b])
        features[a:b] = out
    truth = raw["truth"].astype(np.float32)
    return Streams(
        features, turns, lifted, sigma, truth, raw["seen"], rays, starts, raw["actions"], names
    )  # fmt: skip
