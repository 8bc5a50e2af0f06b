"""From timestamped keypoints to the lifter's input: resampling, perspective rotation, scale.

The same arithmetic runs on the device. Everything is done in double precision and rounded to
float32 at the end, so two implementations agree to float32 rounding.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from arrays import Floats, Ints
from skeleton import JOINTS

FRAMES = 27
"""Samples in a window, newest last."""
RATE_HZ = 30.0
"""Rate of the samples."""
CONF_GATE = 0.2
"""Keypoints below this confidence count as not seen."""
MAX_GAP_S = 0.25
"""Longest time between two observations that is bridged by interpolation."""
EXACT_S = 0.005
"""An observation this close to a sample's time is taken as it is."""
RAY_LIMIT = 4.0
"""Bound of the scaled coordinates."""
MIN_DEPTH = 0.1
"""Smallest z of a rotated ray that is divided by."""
SCALE_MIN, SCALE_MAX, SCALE_DEFAULT = 0.02, 3.0, 0.3
"""Bounds of the window's scale, and the scale of a window that has none (rays at z = 1)."""


@njit(cache=True)
def resample(times: Floats, rays: Floats, conf: Floats, out: Floats) -> None:
    """Resample keypoint observations to FRAMES samples at RATE_HZ, newest last.

    `times` [N] seconds, rising, the newest last; `rays` [N,17,2] camera rays at z = 1; `conf`
    [N,17]. `out` [27,17,3] receives (u, v, conf), zeros where a keypoint is missing.

    Sample k lies at times[-1] - (26 - k)/30 s. The observation nearest to it is taken as it is
    when within EXACT_S (a keypoint below the gate is then missing). Otherwise the two
    observations around the sample are interpolated, when both are above the gate and at most
    MAX_GAP_S apart. Nothing is extrapolated.
    """
    n = len(times)
    hi = n - 1
    for k in range(FRAMES - 1, -1, -1):
        at = times[n - 1] - (FRAMES - 1 - k) / RATE_HZ
        # hi: first observation at or after the sample; the sample times fall with k.
        while hi > 0 and times[hi - 1] >= at:
            hi -= 1
        lo = hi - 1
        exact = -1
        if abs(times[hi] - at) <= EXACT_S:
            exact = hi
        if lo >= 0 and at - times[lo] <= EXACT_S:
            if exact < 0 or at - times[lo] < abs(times[hi] - at):
                exact = lo
        for j in range(JOINTS):
            out[k, j, :] = 0.0
            if exact >= 0:
                if conf[exact, j] >= CONF_GATE:
                    out[k, j, 0] = rays[exact, j, 0]
                    out[k, j, 1] = rays[exact, j, 1]
                    out[k, j, 2] = conf[exact, j]
            elif lo >= 0 and times[hi] - times[lo] <= MAX_GAP_S:
                if conf[lo, j] >= CONF_GATE and conf[hi, j] >= CONF_GATE:
                    w = (at - times[lo]) / (times[hi] - times[lo])
                    out[k, j, 0] = (1.0 - w) * rays[lo, j, 0] + w * rays[hi, j, 0]
                    out[k, j, 1] = (1.0 - w) * rays[lo, j, 1] + w * rays[hi, j, 1]
                    out[k, j, 2] = (1.0 - w) * conf[lo, j] + w * conf[hi, j]


@njit(cache=True)
def rotation_to_axis(u: float, v: float, out: Floats) -> None:
    """Write the rotation [3,3] that turns the ray (u, v, 1) onto +z, without roll, into `out`.

    With a = (u,v,1)/|(u,v,1)| and q = 1/(1 + az):
    R = [[1 - q ax^2, -q ax ay, -ax], [-q ax ay, 1 - q ay^2, -ay], [ax, ay, az]], so R a = (0,0,1).
    This is Rodrigues' rotation about a x e_z (the perspective rotation of PersPose,
    arXiv 2508.17239) written without trigonometric functions.
    """
    n = np.sqrt(u * u + v * v + 1.0)
    ax, ay, az = u / n, v / n, 1.0 / n
    q = 1.0 / (1.0 + az)
    out[0, 0] = 1.0 - q * ax * ax
    out[0, 1] = -q * ax * ay
    out[0, 2] = -ax
    out[1, 0] = -q * ax * ay
    out[1, 1] = 1.0 - q * ay * ay
    out[1, 2] = -ay
    out[2, 0] = ax
    out[2, 1] = ay
    out[2, 2] = az


@njit(cache=True)
def box_of(points: Floats, present: Floats, box: Floats) -> int:
    """Write (min x, min y, max x, max y) of the present `points` [N,2] into `box`; return how many."""
    count = 0
    box[0] = box[1] = np.inf
    box[2] = box[3] = -np.inf
    for i in range(len(points)):
        if present[i] > 0.0:
            count += 1
            for a in range(2):
                box[a] = min(box[a], points[i, a])
                box[2 + a] = max(box[2 + a], points[i, a])
    return count


@njit(cache=True)
def normalise(samples: Floats, kp: Floats, rotation: Floats, turn: bool = True, encode: bool = True) -> float:
    """Turn samples [27,17,3] = (u, v, conf) into the network input; return the scale s.

    `kp` [27,17,4] receives (x/s, y/s, conf, ln s) with x, y the rays rotated by `rotation` [3,3]
    (written here) and clamped to +-RAY_LIMIT; missing keypoints are (0, 0, 0, ln s). The rotation
    centres the box of the newest sample (of the whole window if it has fewer than two keypoints).
    s is the mean, over samples with two or more keypoints, of the larger half side of their box.

    Both halves of PersPose can be left out, to see what they are worth: without `turn` the rays are shifted by the
    box's middle and `rotation` is the identity, without `encode` 0 stands in the place of ln s.
    """
    box = np.empty(4)
    newest = samples[FRAMES - 1]
    if box_of(newest, newest[:, 2], box) < 2:
        flat = samples.reshape(FRAMES * JOINTS, 3)
        if box_of(flat, flat[:, 2], box) < 1:
            box[:] = 0.0
    middle_u, middle_v = (box[0] + box[2]) / 2.0, (box[1] + box[3]) / 2.0
    rotation_to_axis(middle_u if turn else 0.0, middle_v if turn else 0.0, rotation)
    r = rotation
    xy = np.zeros((JOINTS, 2))
    total = 0.0
    counted = 0
    for k in range(FRAMES):
        for j in range(JOINTS):
            u, v = samples[k, j, 0], samples[k, j, 1]
            if not turn:
                u, v = u - middle_u, v - middle_v
            z = max(r[2, 0] * u + r[2, 1] * v + r[2, 2], MIN_DEPTH)
            xy[j, 0] = (r[0, 0] * u + r[0, 1] * v + r[0, 2]) / z
            xy[j, 1] = (r[1, 0] * u + r[1, 1] * v + r[1, 2]) / z
            kp[k, j, 0] = xy[j, 0]
            kp[k, j, 1] = xy[j, 1]
            kp[k, j, 2] = samples[k, j, 2]
        if box_of(xy, samples[k, :, 2], box) >= 2:
            total += max(box[2] - box[0], box[3] - box[1]) / 2.0
            counted += 1
    s = total / counted if counted > 0 else SCALE_DEFAULT
    s = min(max(s, SCALE_MIN), SCALE_MAX)
    for k in range(FRAMES):
        for j in range(JOINTS):
            seen = kp[k, j, 2] > 0.0
            for a in range(2):
                kp[k, j, a] = min(max(kp[k, j, a] / s, -RAY_LIMIT), RAY_LIMIT) if seen else 0.0
            kp[k, j, 3] = np.log(s) if encode else 0.0
    return s


def window_input(times_ns: Ints, rays: Floats, conf: Floats) -> tuple[Floats, Floats, float]:
    """Return (kp [27,17,4], rotation [3,3], scale) of observations with nanosecond times [N]."""
    samples = np.empty((FRAMES, JOINTS, 3))
    resample((times_ns - times_ns[-1]) * 1e-9, rays, conf, samples)
    kp = np.empty((FRAMES, JOINTS, 4))
    rotation = np.empty((3, 3))
    scale = normalise(samples, kp, rotation)
    return kp, rotation, scale
