"""Simulated views: motion -> body -> camera -> detector -> the lifter's input and its 3D truth.

`simulate_batch` draws windows; `View` holds every chance and range, so that training and the
measured conditions differ in numbers only. World frame: metres, +y up. Camera frame: x right,
y down, z forward, metres; rays are at z = 1.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from arrays import Floats, Floats32, Ints
from detector import Errors, err, vary
from skeleton import (
    COCO_MIRROR,
    COCO_OF_H36M,
    H36M_MIRROR,
    H36M_OF_COCO,
    JOINTS,
    PARENTS,
    face_hidden,
    face_points,
    head_axes,
    head_scale,
)
from window import CONF_GATE, FRAMES, RATE_HZ, normalise, resample

MOTION_HZ = 30.0
MAX_OBSERVATIONS = 96
"""Room for a window's observations at 60 frames a second."""
DEG = np.pi / 180.0


class View(NamedTuple):
    """Ranges and chances of one condition. Angles in degrees, `p_` = chance per window."""

    # Body
    mirror: float = 0.5
    """Chance that left and right are exchanged."""
    speed: float = 0.2
    """Play-back speed is drawn from exp(+-speed)."""
    mix: float = 0.2
    """p that the upper body comes from another trial, turned to the hips of the first."""
    topple: float = 0.04
    """p that the whole body is turned about a level axis by up to 100 degrees (lying)."""
    scale_low: float = 0.8
    scale_high: float = 1.15
    scale_peaked: bool = True
    """Sizes near the middle of the range are drawn more often (the mean of two uniform numbers)."""
    limbs: float = 0.1
    """Bones are scaled by 1 +- limbs, the same left and right."""
    scale_wide: float = 0.2
    """Chance of a size drawn evenly from 0.75..1.25 instead, so that sigma knows that size is a guess."""
    child: float = 0.08
    """p of a scale in 0.65..0.8, half of them with shorter limbs and a longer head."""
    child_shape: float = 0.15
    """p of a child's proportions at any other size: proportions must not tell the size."""
    bend: float = 0.3
    """p that thighs, upper arms and trunk are turned out of the captured pose, each by a fixed rotation."""
    head_yaw: float = 28.0
    head_pitch: float = 12.0
    """Standard deviation of head turns that motion capture does not hold."""
    # Camera
    pitch_wide: float = 0.3
    """Chance of a pitch U(-50, 15) in place of N(-8, 12)."""
    close: float = 0.12
    """p that the person is larger than the image."""
    # Time
    other_rate: float = 0.6
    """Chance of a frame rate in 5..60 Hz in place of exactly 30 Hz."""
    short_history: float = 0.12
    """p that the person came into view within the window."""
    # Detector
    measured: float = 0.6
    """Chance that errors are like the measured ones (`detector.py`) in place of those below, down to `confidence_spread`."""
    measured_as_is: bool = False
    """Whether those errors are the measured ones themselves, not drawn about them."""
    noise_low: float = 0.002
    noise_high: float = 0.025
    """Range of the noise's standard deviation, share of the box side."""
    tail: float = 0.02
    """Chance per observation of a keypoint's noise being six times as large."""
    correlated: float = 0.8
    """Upper end of the share of noise (variance) that is correlated in time."""
    uneven: float = 0.35
    """Log-standard deviation of the joints' own noise factors."""
    offset: float = 0.012
    """Fixed error of each keypoint, share of the box side (times U(0, 1.5) per window)."""
    definition: float = 1.0
    """Strength of the random differences of where a detector puts hips, shoulders and others."""
    occlusion: float = 0.6
    """Chance that the body's own occlusion (torso, head) is simulated."""
    confidence_spread: float = 1.0
    """0: confidence 1 - 12 |e| as in the simple model; 1: random scale, slope and spread."""
    drop_sample: float = 0.02
    drop_joint: float = 0.02
    drop_limb: float = 0.03
    drop_legs: float = 0.07
    drop_lower: float = 0.06
    drop_side: float = 0.03
    swap: float = 0.008
    """Chance per observation that a run of exchanged left and right starts."""
    freeze: float = 0.05
    min_seen: int = 4
    """Windows whose newest sample has fewer keypoints are drawn again."""
    # What the network is given, see `normalise`
    turn: bool = True
    encode: bool = True


TRAINING = View()

MODERATE = View()._replace(
    mirror=0.0, speed=0.0, mix=0.0, topple=0.0, scale_low=0.9, scale_high=1.1, limbs=0.05,
    scale_wide=0.0, child=0.0, child_shape=0.0, bend=0.0, pitch_wide=0.2, close=0.05, noise_low=0.004, noise_high=0.015, tail=0.01,
    offset=0.008, swap=0.003, freeze=0.02, short_history=0.05, measured=0.0,
)  # fmt: skip
"""The training condition at a moderate level, on the people as they are, with errors made up."""

MEASURED = MODERATE._replace(measured=1.0, measured_as_is=True)
"""The same with the errors of the network that ships."""

CLEAN = View(
    mirror=0.0, speed=0.0, mix=0.0, topple=0.0, scale_low=1.0, scale_high=1.0, scale_peaked=False, limbs=0.0,
    scale_wide=0.0, child=0.0, child_shape=0.0, bend=0.0, head_yaw=0.0, head_pitch=0.0, pitch_wide=0.0, close=0.0, other_rate=0.0,
    short_history=0.0, noise_low=0.0, noise_high=0.0, tail=0.0, correlated=0.0, uneven=0.0,
    offset=0.0, definition=0.0, occlusion=0.0, confidence_spread=0.0, drop_sample=0.0,
    drop_joint=0.0, drop_limb=0.0, drop_legs=0.0, drop_lower=0.0, drop_side=0.0, swap=0.0,
    freeze=0.0, min_seen=6, measured=0.0,
)  # fmt: skip
"""True 2D, only clipped at the image border and hidden face points missing."""

NOISY = CLEAN._replace(
    mirror=0.5, scale_low=0.85, scale_high=1.15, scale_peaked=False, limbs=0.08, noise_low=0.003, noise_high=0.02,
    tail=0.02, offset=0.01, drop_sample=0.025, drop_joint=0.025, drop_limb=0.03, drop_legs=0.05,
    drop_lower=0.03, swap=0.01,
)  # fmt: skip
"""The noise of the published baseline (white, with tails and dropout) that results are held against."""

HIDDEN_LEGS = NOISY._replace(drop_lower=1.0)
"""NOISY with knees and ankles, and often hips, missing for long stretches in every window."""

PARTS = {"rotation": "turn", "intrinsics": "encode"}
"""Halves of PersPose by name -> field of View that leaves it out."""


def without(view: View, parts: list[str]) -> View:
    """`view` with the named PARTS left out of the network's input."""
    return view._replace(**{PARTS[part]: False for part in parts})


CHILD = 0.65
CHILD_TOP = 0.8
CHILD_LIMBS = 0.88
CHILD_HEAD = 1.3
WIDE_LOW, WIDE_HIGH = 0.75, 1.25
BEND = 16.0
"""Standard deviation of a bent part's angle, degrees."""
_BENT = np.array([[1, 2, 4], [4, 5, 7], [11, 12, 14], [14, 15, 17], [7, 8, 17]], dtype=np.int64)
"""Joint that turns, first joint that moves with it, one past the last."""

_LIMBS = np.array([[13, 15], [14, 16], [7, 9], [8, 10]], dtype=np.int64)
_LEGS = np.array([13, 14, 15, 16], dtype=np.int64)


@njit(cache=True)
def seed_random(seed: int) -> None:
    """Seed the generator that all compiled functions here draw from."""
    np.random.seed(seed)


@njit(cache=True)
def _between(low: float, high: float) -> float:
    return low + (high - low) * np.random.random()


@njit(cache=True)
def product(a: Floats, b: Floats) -> Floats:
    """Return the product of two [3,3] matrices (the compiled `@` would need SciPy)."""
    out = np.zeros((3, 3))
    for i in range(3):
        for k in range(3):
            for j in range(3):
                out[i, j] += a[i, k] * b[k, j]
    return out


@njit(cache=True)
def camera_rotation(yaw: float, pitch: float, roll: float) -> Floats:
    """Return the rotation [3,3] from the world to the camera; radians, pitch < 0 looks down."""
    cy, sy = np.cos(yaw), np.sin(yaw)
    cp, sp = np.cos(-pitch), np.sin(-pitch)
    cr, sr = np.cos(roll), np.sin(roll)
    turn = np.array([[cy, 0.0, sy], [0.0, 1.0, 0.0], [-sy, 0.0, cy]])
    tilt = np.array([[1.0, 0.0, 0.0], [0.0, cp, -sp], [0.0, sp, cp]])
    twist = np.array([[cr, -sr, 0.0], [sr, cr, 0.0], [0.0, 0.0, 1.0]])
    # World y up and z towards the viewer, camera y down and z away.
    flip = np.array([[1.0, 0.0, 0.0], [0.0, -1.0, 0.0], [0.0, 0.0, -1.0]])
    return product(flip, product(twist, product(tilt, turn)))


@njit(cache=True)
def _draw_trial(starts: Ints, cumulative: Floats) -> int:
    trial = int(np.searchsorted(cumulative, np.random.random()))
    trial = min(trial, len(cumulative) - 1)
    # Trials of people kept out have no weight; a draw on the edge must not fall on one.
    while trial > 0 and cumulative[trial] == cumulative[trial - 1]:
        trial -= 1
    return trial


@njit(cache=True)
def _pose_at(joints: Floats32, first: int, last: int, frame: float, out: Floats) -> None:
    """Interpolate world joints at a fractional frame, held at the trial's ends [first, last]."""
    frame = min(max(frame, first * 1.0), last * 1.0)
    a = min(int(frame), last)
    b = min(a + 1, last)
    w = frame - a
    for j in range(JOINTS):
        for c in range(3):
            out[j, c] = (1.0 - w) * joints[a, j, c] + w * joints[b, j, c]


@njit(cache=True)
def _mix_upper(pose: Floats, other: Floats) -> None:
    """Replace the upper body of `pose` by that of `other`, turned about +y to the same hip line."""
    ax, az = pose[4, 0] - pose[1, 0], pose[4, 2] - pose[1, 2]
    bx, bz = other[4, 0] - other[1, 0], other[4, 2] - other[1, 2]
    n = np.sqrt((ax * ax + az * az) * (bx * bx + bz * bz))
    if n < 1e-6:
        return
    c = (ax * bx + az * bz) / n
    s = (az * bx - ax * bz) / n
    for j in range(7, JOINTS):
        x, y, z = other[j, 0] - other[0, 0], other[j, 1] - other[0, 1], other[j, 2] - other[0, 2]
        pose[j, 0] = pose[0, 0] + c * x - s * z
        pose[j, 1] = pose[0, 1] + y
        pose[j, 2] = pose[0, 2] + s * x + c * z


@njit(cache=True)
def _rescale(pose: Floats, bones: Floats, scale: float) -> None:
    """Scale each bone [17] of `pose` and the root's place, in place."""
    old = pose.copy()
    pose[0] = old[0] * scale
    for j in range(1, JOINTS):
        pose[j] = pose[PARENTS[j]] + (old[j] - old[PARENTS[j]]) * (bones[j] * scale)


@njit(cache=True)
def _mirror(pose: Floats) -> None:
    old = pose.copy()
    for j in range(JOINTS):
        pose[j] = old[H36M_MIRROR[j]]
        pose[j, 0] = -pose[j, 0]


@njit(cache=True)
def _rotate(points: Floats, rotation: Floats) -> None:
    """Apply X' = R X to every row of `points` [N,3], in place."""
    for i in range(len(points)):
        x, y, z = points[i, 0], points[i, 1], points[i, 2]
        for c in range(3):
            points[i, c] = rotation[c, 0] * x + rotation[c, 1] * y + rotation[c, 2] * z


@njit(cache=True)
def _about_axis(axis: Floats, angle: float) -> Floats:
    """Rodrigues' formula: rotation [3,3] by `angle` radians about a unit axis [3]."""
    c, s = np.cos(angle), np.sin(angle)
    x, y, z = axis
    k = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    return np.eye(3) + s * k + (1.0 - c) * product(k, k)


@njit(cache=True)
def _behind_torso(joint: Floats, pelvis: Floats, thorax: Floats, radius: float) -> bool:
    """Say whether a joint lies behind the capsule pelvis-thorax as seen from the origin.

    The capsule's axis is compared with the joint at the joint's place in the image (rays at
    z = 1), so the test is a distance to a segment in 2D and a comparison of depths.
    """
    ax, ay = pelvis[0] / pelvis[2], pelvis[1] / pelvis[2]
    dx, dy = thorax[0] / thorax[2] - ax, thorax[1] / thorax[2] - ay
    px, py = joint[0] / joint[2] - ax, joint[1] / joint[2] - ay
    t = min(max((px * dx + py * dy) / max(dx * dx + dy * dy, 1e-9), 0.0), 1.0)
    depth = (1.0 - t) * pelvis[2] + t * thorax[2]
    ex, ey = px - t * dx, py - t * dy
    return (ex * ex + ey * ey) * depth * depth < radius * radius and joint[2] > depth + 0.6 * radius


@njit(cache=True)
def _stretch(count: int, rate: float, hidden: Floats) -> None:
    """Set `hidden` [count] to 1 for all observations or for one stretch of 0.1 to 1 s."""
    if np.random.random() < 0.5:
        hidden[:count] = 1.0
        return
    length = max(1, int(_between(0.1, 1.0) * rate))
    start = int(_between(-0.5 * length, count * 1.0))
    for i in range(max(0, start), min(count, start + length)):
        hidden[i] = 1.0


@njit(cache=True)
def _draw_bones(view: View, bones: Floats) -> float:
    """Fill the bones' scales [17] and return the body's scale."""
    for j in range(JOINTS):
        if H36M_MIRROR[j] >= j:
            bones[j] = 1.0 + view.limbs * _between(-1.0, 1.0)
    for j in range(JOINTS):
        if H36M_MIRROR[j] < j:
            bones[j] = bones[H36M_MIRROR[j]]
    child = np.random.random() < view.child
    if np.random.random() < (0.5 if child else view.child_shape):
        for j in (2, 3, 5, 6, 12, 13, 15, 16):
            bones[j] *= CHILD_LIMBS
        head = _between(1.0, CHILD_HEAD)
        bones[9] *= head
        bones[10] *= head
    if child:
        return _between(CHILD, CHILD_TOP)
    if np.random.random() < view.scale_wide:
        return _between(WIDE_LOW, WIDE_HIGH)
    scale = _between(view.scale_low, view.scale_high)
    if view.scale_peaked:
        scale = 0.5 * (scale + _between(view.scale_low, view.scale_high))
    return scale


@njit(cache=True)
def _bend(poses: Floats) -> None:
    """Turn thighs, upper arms and the trunk of `poses` [N,17,3] by one random rotation each, in place."""
    axis = np.empty(3)
    for part in range(len(_BENT)):
        for c in range(3):
            axis[c] = np.random.normal()
        axis /= max(np.sqrt((axis * axis).sum()), 1e-6)
        turn = _about_axis(axis, BEND * DEG * np.random.normal())
        at, low, high = _BENT[part]
        for i in range(len(poses)):
            centre = poses[i, at].copy()
            poses[i, low:high] -= centre
            _rotate(poses[i, low:high], turn)
            poses[i, low:high] += centre


@njit(cache=True)
def _cover(view: View, rate: float, side: float, rays: Floats, covered: Floats) -> None:
    """Set `covered` [N,17] to 1 where something hides a keypoint for a while or altogether; `rays` [N,17,2]."""
    count = len(rays)
    flags = np.zeros(count)
    for j in range(JOINTS):
        if np.random.random() < view.drop_joint:
            covered[:, j] = 1.0
    for limb in range(4):
        if np.random.random() < view.drop_limb:
            flags[:] = 0.0
            _stretch(count, rate, flags)
            for i in range(count):
                if flags[i] > 0.0:
                    covered[i, _LIMBS[limb, 0]] = 1.0
                    covered[i, _LIMBS[limb, 1]] = 1.0
    if np.random.random() < view.drop_legs:
        flags[:] = 0.0
        _stretch(count, rate, flags)
        for i in range(count):
            if flags[i] > 0.0:
                for j in _LEGS:
                    covered[i, j] = 1.0
    if np.random.random() < view.drop_lower:
        flags[:] = 0.0
        _stretch(count, rate, flags)
        hips = np.random.random() < 0.4
        for i in range(count):
            if flags[i] > 0.0:
                for j in _LEGS:
                    covered[i, j] = 1.0
                if hips:
                    covered[i, 11] = 1.0
                    covered[i, 12] = 1.0
    if np.random.random() < view.drop_side:
        # Something upright hides everything on one side of a line across the box.
        flags[:] = 0.0
        _stretch(count, rate, flags)
        edge = np.random.normal() * 0.35 * side + rays[count - 1, 5:, 0].mean()
        sign = 1.0 if np.random.random() < 0.5 else -1.0
        for i in range(count):
            if flags[i] > 0.0:
                for j in range(JOINTS):
                    if sign * (rays[i, j, 0] - edge) > 0.0:
                        covered[i, j] = 1.0


@njit(cache=True)
def _made_up(
    view: View, rate: float, side: float, blocked: Floats, covered: Floats, rays: Floats, conf: Floats
) -> None:
    """Add made-up errors to true `rays` [N,17,2]; `conf` [N,17] holds 0 or 1 and receives confidences that tell the error."""
    count = len(rays)
    sigma = _between(view.noise_low, view.noise_high)
    share = view.correlated * np.random.random()
    memory = np.exp(-1.0 / (rate * _between(0.05, 0.6)))
    offset = view.offset * _between(0.0, 1.5)
    factor = np.empty(JOINTS)
    state = np.empty((JOINTS, 2))
    fixed = np.empty((JOINTS, 2))
    drop_blocked = np.zeros(JOINTS)
    for j in range(JOINTS):
        factor[j] = sigma * np.exp(view.uneven * np.random.normal())
        drop_blocked[j] = np.random.random()
        for c in range(2):
            state[j, c] = np.random.normal()
            fixed[j, c] = offset * np.random.normal()
    slope = 12.0
    top = 1.0
    spread = 0.1
    if view.confidence_spread > 0.0:
        slope = _between(2.0, 14.0)
        top = _between(0.55, 1.0)
        spread = _between(0.03, 0.2)
    white = np.sqrt(1.0 - share)
    slow = np.sqrt(share)
    fresh = np.sqrt(1.0 - memory * memory)
    for i in range(count):
        for j in range(JOINTS):
            big = 6.0 if np.random.random() < view.tail else 1.0
            if blocked[i, j] > 0.0:
                big *= 2.5
            e2 = 0.0
            for c in range(2):
                state[j, c] = memory * state[j, c] + fresh * np.random.normal()
                e = factor[j] * big * (white * np.random.normal() + slow * state[j, c])
                e += fixed[j, c]
                e2 += e * e
                rays[i, j, c] += e * side
            if conf[i, j] > 0.0:
                value = top * (1.0 - slope * np.sqrt(e2)) + spread * _between(-1.0, 1.0)
                if blocked[i, j] > 0.0:
                    value *= 0.7
                    if drop_blocked[j] < 0.6:
                        value = 0.0
                    conf[i, j] = min(value, 1.0) if value > 0.0 else 0.0
                else:
                    conf[i, j] = min(max(value, 0.25 if view.confidence_spread > 0.0 else 0.3), 1.0)
                if np.random.random() < view.drop_sample:
                    conf[i, j] = 0.0
    for i in range(count):
        for j in range(JOINTS):
            if covered[i, j] > 0.0:
                conf[i, j] = 0.0


@njit(cache=True)
def _simulate_one(
    joints: Floats32,
    starts: Ints,
    cumulative: Floats,
    view: View,
    errors: Errors,
    kp: Floats,
    truth: Floats,
    seen: Floats,
) -> bool:
    """Draw one window; return False when it has to be drawn again."""
    # --- when: observation times, seconds relative to the newest one
    rate = MOTION_HZ
    other = np.random.random() < view.other_rate
    if other:
        rate = 5.0 * np.exp(np.random.random() * np.log(12.0))
    jitter = 0.15 * np.random.random() / rate if other else 0.0
    span = (FRAMES - 1) / RATE_HZ + 1.5 / rate
    count = min(int(span * rate) + 1, MAX_OBSERVATIONS)
    times = np.empty(count)
    for i in range(count):
        times[i] = -(count - 1 - i) / rate + jitter * _between(-0.5, 0.5)
    times -= times[count - 1]
    if np.random.random() < view.short_history:
        keep = max(1, int(np.random.random() * count))
        times = times[count - keep :]
        count = keep

    # --- who and what: one trial, a second one for a mixed body
    trial = _draw_trial(starts, cumulative)
    first, last = starts[trial], starts[trial + 1] - 1
    newest = first + np.random.random() * (last - first)
    if not other:
        newest = np.floor(newest)
    speed = MOTION_HZ * np.exp(view.speed * _between(-1.0, 1.0))
    mixed = np.random.random() < view.mix
    trial2 = _draw_trial(starts, cumulative)
    first2, last2 = starts[trial2], starts[trial2 + 1] - 1
    newest2 = first2 + np.random.random() * (last2 - first2)
    mirrored = np.random.random() < view.mirror
    bones = np.ones(JOINTS)
    scale = _draw_bones(view, bones)

    poses = np.empty((count, JOINTS, 3))
    second = np.empty((JOINTS, 3))
    for i in range(count):
        _pose_at(joints, first, last, newest + times[i] * speed, poses[i])
        if mixed:
            _pose_at(joints, first2, last2, newest2 + times[i] * speed, second)
            _mix_upper(poses[i], second)
        if mirrored:
            _mirror(poses[i])
        _rescale(poses[i], bones, scale)
    if np.random.random() < view.bend:
        _bend(poses)
    centre = poses[count - 1, 0].copy()
    if np.random.random() < view.topple:
        angle = _between(0.0, 2.0 * np.pi)
        axis = np.array([np.cos(angle), 0.0, np.sin(angle)])
        turn = _about_axis(axis, _between(20.0, 100.0) * DEG)
        for i in range(count):
            poses[i] -= centre
            _rotate(poses[i], turn)
            poses[i] += centre

    # --- camera
    pitch = (np.random.normal() * 12.0 - 8.0) * DEG
    if np.random.random() < view.pitch_wide:
        pitch = _between(-50.0, 15.0) * DEG
    camera = camera_rotation(_between(-np.pi, np.pi), pitch, np.random.normal() * 3.0 * DEG)
    half_x = np.tan(_between(40.0, 100.0) * DEG / 2.0)
    aspect = np.random.random()
    half_y = half_x
    if view.pitch_wide > 0.0:
        # Landscape 16:9 and 4:3, square, portrait 9:16; the field of view is the longer side's.
        if aspect < 0.4:
            half_y = half_x * 0.5625
        elif aspect < 0.7:
            half_y = half_x * 0.75
        elif aspect > 0.85:
            half_y = half_x
            half_x = half_x * 0.5625
    part = _between(0.25, 0.9)
    if np.random.random() < view.close:
        part = _between(0.9, 2.0)
    distance = 1.7 * scale / (2.0 * min(half_x, half_y) * part)
    nearest = 0.0
    for i in range(count):
        poses[i] -= centre
        _rotate(poses[i], camera)
        for j in range(JOINTS):
            nearest = min(nearest, poses[i, j, 2])
    distance = max(distance, 0.35 - nearest)
    inside = 0.6 * max(1.0 - part * 0.6, 0.1)
    place = np.array(
        [
            _between(-1.0, 1.0) * inside * half_x * distance,
            _between(-1.0, 1.0) * inside * half_y * distance,
            distance,
        ]
    )
    if part > 0.9:
        # Close by, the image shows the head and as much of the rest as fits.
        head = poses[count - 1, 10]
        place[0] = -head[0] + _between(-0.6, 0.6) * half_x * (distance + head[2])
        place[1] = -head[1] + _between(-0.9, 0.2) * half_y * (distance + head[2])
    poses += place

    # --- what a detector calls hip, shoulder and so on differs from the capture's joint centres
    hip_side = 0.02 * view.definition * np.random.normal()
    hip_up = 0.02 * view.definition * np.random.normal()
    shoulder_side = 0.012 * view.definition * np.random.normal()
    shoulder_up = 0.015 * view.definition * np.random.normal()
    ankle_up = 0.015 * view.definition * np.random.normal()
    face_scale = np.exp(0.1 * view.definition * np.random.normal())
    face_shift = 0.012 * view.definition * np.random.normal()
    yaw = view.head_yaw * DEG * np.random.normal()
    yaw_speed = view.head_yaw * DEG * np.random.normal()
    nod = view.head_pitch * DEG * np.random.normal()

    points = np.empty((count, JOINTS, 3))
    rays = np.empty((count, JOINTS, 2))
    conf = np.ones((count, JOINTS))
    axes = np.empty((3, 3))
    hidden = np.zeros(5)
    blocked = np.zeros((count, JOINTS))
    own_occlusion = np.random.random() < view.occlusion
    side = 0.0
    box = np.empty(4)
    for i in range(count):
        pose = poses[i]
        for j in range(5, JOINTS):
            points[i, j] = pose[H36M_OF_COCO[j]]
        head_axes(pose, axes)
        if yaw != 0.0 or nod != 0.0:
            turn = _about_axis(axes[1], min(max(yaw + yaw_speed * times[i], -1.4), 1.4))
            _rotate(axes, turn)
            _rotate(axes, _about_axis(axes[0], nod))
        face_points(pose[10] + face_shift * axes[1], head_scale(pose) * face_scale, axes, points[i])
        face_hidden(pose[10], axes, hidden)
        across = pose[4] - pose[1]
        across /= max(np.sqrt((across * across).sum()), 1e-6)
        along = pose[8] - pose[0]
        along /= max(np.sqrt((along * along).sum()), 1e-6)
        points[i, 11] += hip_side * scale * across + hip_up * scale * along
        points[i, 12] += -hip_side * scale * across + hip_up * scale * along
        points[i, 5] += shoulder_side * scale * across + shoulder_up * scale * along
        points[i, 6] += -shoulder_side * scale * across + shoulder_up * scale * along
        for a, b in ((15, 13), (16, 14)):
            shin = points[i, b] - points[i, a]
            points[i, a] += shin * (ankle_up / 0.42)
        box[0] = box[1] = np.inf
        box[2] = box[3] = -np.inf
        for j in range(JOINTS):
            z = max(points[i, j, 2], 0.1)
            for c in range(2):
                rays[i, j, c] = points[i, j, c] / z
                box[c] = min(box[c], rays[i, j, c])
                box[2 + c] = max(box[2 + c], rays[i, j, c])
        side += max(box[2] - box[0], box[3] - box[1]) / count
        for j in range(5):
            conf[i, j] = 1.0 - hidden[j]
        for j in range(JOINTS):
            if abs(rays[i, j, 0]) > half_x or abs(rays[i, j, 1]) > half_y:
                conf[i, j] = 0.0
            elif own_occlusion and (j == 7 or j == 8 or j == 9 or j == 10 or j >= 13):
                if _behind_torso(points[i, j], pose[0], pose[8], 0.13 * scale):
                    blocked[i, j] = 1.0

    # --- what the detector says
    covered = np.zeros((count, JOINTS))
    _cover(view, rate, side, rays, covered)
    if np.random.random() < view.measured:
        inside = np.ones((count, JOINTS))
        for i in range(count):
            for j in range(JOINTS):
                if abs(rays[i, j, 0]) > half_x or abs(rays[i, j, 1]) > half_y:
                    inside[i, j] = 0.0
                if blocked[i, j] > 0.0 or conf[i, j] == 0.0:
                    covered[i, j] = 1.0
        err(errors if view.measured_as_is else vary(errors), 1.0 / rate, side, covered, inside, rays, conf)
    else:
        _made_up(view, rate, side, blocked, covered, rays, conf)

    # --- left and right exchanged for a run of observations; frozen observations
    run = 0
    which = 0
    for i in range(count):
        if run == 0 and np.random.random() < view.swap:
            run = 1 + int(np.random.random() * (0.2 * rate if view.confidence_spread > 0.0 else 1))
            which = int(np.random.random() * 3.0) if view.confidence_spread > 0.0 else 0
        if run > 0:
            run -= 1
            lowest = 11 if which == 0 else 5
            highest = 11 if which == 1 else JOINTS
            for j in range(lowest, highest):
                m = COCO_MIRROR[j]
                if m > j:
                    for c in range(2):
                        a = rays[i, j, c]
                        rays[i, j, c] = rays[i, m, c]
                        rays[i, m, c] = a
                    a = conf[i, j]
                    conf[i, j] = conf[i, m]
                    conf[i, m] = a
    if np.random.random() < view.freeze and count > 2:
        at = 1 + int(np.random.random() * (count - 1))
        for i in range(at, min(count, at + 1 + int(np.random.random() * 0.2 * rate))):
            rays[i] = rays[at - 1]
            conf[i] = conf[at - 1]

    # --- the window as the device builds it
    samples = np.empty((FRAMES, JOINTS, 3))
    resample(times, rays, conf, samples)
    visible = 0
    for j in range(JOINTS):
        if samples[FRAMES - 1, j, 2] > 0.0:
            visible += 1
    if visible < view.min_seen:
        return False
    rotation = np.empty((3, 3))
    normalise(samples, kp, rotation, view.turn, view.encode)
    for j in range(JOINTS):
        truth[j] = poses[count - 1, j] - poses[count - 1, 0]
        m = COCO_OF_H36M[j]
        seen[j] = 1.0 if m < 0 or conf[count - 1, m] >= CONF_GATE else 0.0
    _rotate(truth, rotation)
    return True


@njit(cache=True)
def simulate_batch(
    joints: Floats32, starts: Ints, cumulative: Floats, view: View, errors: Errors, kp: Floats32,
    truth: Floats32, seen: Floats32,
) -> None:  # fmt: skip
    """Fill `kp` [N,27,17,4], `truth` [N,17,3] (metres, rotated camera frame) and `seen` [N,17].

    `seen` is 0 where the newest sample lacks the keypoint that shows this 3D joint.
    """
    one = np.empty((FRAMES, JOINTS, 4))
    pose = np.empty((JOINTS, 3))
    shown = np.empty(JOINTS)
    for n in range(len(kp)):
        while not _simulate_one(joints, starts, cumulative, view, errors, one, pose, shown):
            pass
        kp[n] = one
        truth[n] = pose
        seen[n] = shown
