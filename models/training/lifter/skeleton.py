"""Skeleton definitions and the 17 COCO keypoints of a 17-joint motion-capture pose.

3D joints follow the Human3.6M order (17 joints, metres), 2D keypoints the COCO order (17 points).
All geometry here is independent of the frame it is given in, as long as the frame is right-handed.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from arrays import Floats

JOINTS = 17
"""Number of 3D joints, and of COCO keypoints."""

H36M_NAMES = (
    "pelvis r_hip r_knee r_ankle l_hip l_knee l_ankle spine thorax neck head "
    "l_shoulder l_elbow l_wrist r_shoulder r_elbow r_wrist"
).split()
COCO_NAMES = (
    "nose l_eye r_eye l_ear r_ear l_shoulder r_shoulder l_elbow r_elbow l_wrist r_wrist "
    "l_hip r_hip l_knee r_knee l_ankle r_ankle"
).split()

PARENTS = np.array([-1, 0, 1, 2, 0, 4, 5, 0, 7, 8, 9, 8, 11, 12, 8, 14, 15], dtype=np.int64)
"""Parent of each 3D joint; -1 for the pelvis. Parents come before children."""

H36M_MIRROR = np.array([0, 4, 5, 6, 1, 2, 3, 7, 8, 9, 10, 14, 15, 16, 11, 12, 13], dtype=np.int64)
"""3D joint that takes the place of joint j when left and right are exchanged."""

COCO_MIRROR = np.array([0, 2, 1, 4, 3, 6, 5, 8, 7, 10, 9, 12, 11, 14, 13, 16, 15], dtype=np.int64)
"""COCO keypoint that takes the place of keypoint j when left and right are exchanged."""

H36M_OF_COCO = np.array([-1, -1, -1, -1, -1, 11, 14, 12, 15, 13, 16, 4, 1, 5, 2, 6, 3], dtype=np.int64)
"""3D joint that COCO keypoint j shows, -1 for the five face points."""

COCO_OF_H36M = np.array([-1, 12, 14, 16, 11, 13, 15, -1, -1, -1, -1, 5, 7, 9, 6, 8, 10], dtype=np.int64)
"""COCO keypoint that shows 3D joint j, -1 for pelvis, spine, thorax, neck and head."""

COCO_LEVEL = ((5, 6), (11, 12))
"""Edges between the keypoints of a level: shoulders, hips."""

COCO_EDGES = (
    (11, 5), (12, 6), (5, 0), (6, 0), (0, 1), (0, 2), (1, 3), (2, 4), (5, 7), (7, 9), (6, 8), (8, 10),
    (11, 13), (13, 15), (12, 14), (14, 16), *COCO_LEVEL,
)  # fmt: skip
"""Edges of the graph of COCO keypoints, each from the hips outwards except those of COCO_LEVEL."""

HEAD_LENGTH = 0.097
"""Median |head - neck| of the training motions in metres (CMU 0.1005, MHAD 0.0915, ACCAD 0.0969)."""

NOSE_FORWARD, NOSE_UP = 0.115, -0.025
EYE_FORWARD, EYE_UP, EYE_SIDE = 0.090, 0.012, 0.032
EAR_FORWARD, EAR_UP, EAR_SIDE = 0.0, -0.010, 0.075
"""Face points relative to joint 10 (about the middle of the head), metres at head scale 1."""


@njit(cache=True)
def head_axes(pose: Floats, axes: Floats) -> None:
    """Write the head's left, up and forward unit vectors into the rows of `axes` [3,3].

    `pose` is [17,3] in any right-handed frame. Up runs from joint 9 to joint 10; left is the line
    from the right to the left shoulder, made orthogonal to up; forward = left x up. (Standing,
    facing +z with +y up, the left side is +x, and x cross y is +z.) Motion capture holds no head
    yaw, so the shoulders have to give it.
    """
    up = pose[10] - pose[9]
    up = up / max(np.sqrt((up * up).sum()), 1e-6)
    left = pose[11] - pose[14]
    left = left - (left * up).sum() * up
    norm = np.sqrt((left * left).sum())
    if norm < 1e-6:
        # Head axis along the shoulder line: any direction orthogonal to up has to do.
        left = np.cross(up, np.array([0.2, 0.3, 0.9]))
        norm = np.sqrt((left * left).sum())
    left = left / norm
    axes[0] = left
    axes[1] = up
    axes[2] = np.cross(left, up)


@njit(cache=True)
def face_points(head: Floats, scale: float, axes: Floats, out: Floats) -> None:
    """Write nose, eyes and ears into rows 0..4 of `out` [17,3], in the frame and unit of `head` [3].

    `axes` [3,3] has the rows left, up, forward; `scale` is the size of the head relative to
    HEAD_LENGTH.
    """
    left, up, forward = axes[0], axes[1], axes[2]
    out[0] = head + scale * (NOSE_FORWARD * forward + NOSE_UP * up)
    eye = head + scale * (EYE_FORWARD * forward + EYE_UP * up)
    out[1] = eye + (scale * EYE_SIDE) * left
    out[2] = eye - (scale * EYE_SIDE) * left
    ear = head + scale * (EAR_FORWARD * forward + EAR_UP * up)
    out[3] = ear + (scale * EAR_SIDE) * left
    out[4] = ear - (scale * EAR_SIDE) * left


@njit(cache=True)
def face_hidden(head: Floats, axes: Floats, hidden: Floats) -> None:
    """Set `hidden` [5] to 1 where the head itself hides nose, eyes or ears from the camera.

    `head` [3] is the head's place in the camera frame (camera at the origin). The nose is hidden
    when the face looks away (forward . d < -0.1, d = direction to the camera), an eye also when
    its own direction 0.6 forward +- 0.8 left does, an ear when its side does by more than 0.3.
    """
    direction = -head / max(np.sqrt((head * head).sum()), 1e-6)
    ahead = (axes[2] * direction).sum()
    side = (axes[0] * direction).sum()
    hidden[0] = 1.0 if ahead < -0.1 else 0.0
    hidden[1] = 1.0 if ahead < -0.1 or 0.6 * ahead + 0.8 * side < 0.0 else 0.0
    hidden[2] = 1.0 if ahead < -0.1 or 0.6 * ahead - 0.8 * side < 0.0 else 0.0
    hidden[3] = 1.0 if side < -0.3 else 0.0
    hidden[4] = 1.0 if -side < -0.3 else 0.0


@njit(cache=True)
def head_scale(pose: Floats) -> float:
    """Return the size of the head of `pose` [17,3] relative to HEAD_LENGTH, kept in [0.8, 1.25]."""
    up = pose[10] - pose[9]
    return min(max(np.sqrt((up * up).sum()) / HEAD_LENGTH, 0.8), 1.25)


@njit(cache=True)
def coco_of_pose(pose: Floats, out: Floats) -> None:
    """Write the 17 COCO keypoints of `pose` [17,3] into `out` [17,3], same frame, metres."""
    axes = np.empty((3, 3))
    head_axes(pose, axes)
    face_points(pose[10], head_scale(pose), axes, out)
    for j in range(5, JOINTS):
        out[j] = pose[H36M_OF_COCO[j]]
