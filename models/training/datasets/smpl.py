"""The skeleton of SMPL and SMPL-X: where our joints are in it, and joints from a body's parameters."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from clip_files import ConvertError, Floats, array

PLACES = {
    "left_hip": 1,
    "right_hip": 2,
    "left_knee": 4,
    "right_knee": 5,
    "left_ankle": 7,
    "right_ankle": 8,
    "thorax": 12,
    "left_shoulder": 16,
    "right_shoulder": 17,
    "left_elbow": 18,
    "right_elbow": 19,
    "left_wrist": 20,
    "right_wrist": 21,
}
"""Our joint to SMPL's; the first 22 are the same in SMPL-X. Its joint 12 is the base of the neck."""

CONVENTION = (
    "SMPL joints; pelvis: middle of the hips (SMPL's own lies above it); thorax: SMPL neck; "
    "spine, neck and head are not compared"
)

BODY = 22
"""Joints without hands and face."""


def rotations(axis_angle: Floats) -> Floats:
    """Rotation vectors [..., 3] as matrices [..., 3, 3] (Rodrigues)."""
    angle = np.linalg.norm(axis_angle, axis=-1)[..., None, None]
    x, y, z = np.moveaxis(axis_angle / np.maximum(angle[..., 0], 1e-12), -1, 0)
    zero = np.zeros_like(x)
    cross = np.stack([zero, -z, y, z, zero, -x, -y, x, zero], axis=-1).reshape(*x.shape, 3, 3)
    turned: Floats = np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * (cross @ cross)
    return turned


class Body:
    """The skeleton of one SMPL-X model file, which its users have to get from its publisher."""

    def __init__(self, path: Path) -> None:
        """Reads `SMPLX_{MALE,FEMALE,NEUTRAL}.npz`."""
        try:
            with np.load(path, allow_pickle=False) as file:
                # Only what joints hang on; other members of the file hold objects.
                found = {name: file[name] for name in ("v_template", "shapedirs", "J_regressor", "kintree_table")}
        except (OSError, ValueError, KeyError) as error:
            raise ConvertError(f"{path}: {error}") from error
        template = array(found, "v_template", (None, 3), path)
        shapes = array(found, "shapedirs", (len(template), 3, None), path)
        regressor = array(found, "J_regressor", (None, len(template)), path)[:BODY]
        parents = array(found, "kintree_table", (2, None), path)[0, :BODY]
        self.parents = [int(parent) if 0 <= parent < BODY else -1 for parent in parents]
        self.rest = regressor @ template
        self.shapes = np.einsum("jv,vak->jak", regressor, shapes)

    def joints(self, betas: Floats, global_orient: Floats, body_pose: Floats, transl: Floats) -> Floats:
        """Joints [22, 3] of shape [K], rotation vectors [3] and [63], and a shift [3]; metres."""
        rest = self.rest + self.shapes[..., : len(betas)] @ betas[: self.shapes.shape[-1]]
        turns = rotations(np.concatenate([global_orient, body_pose]).reshape(BODY, 3))
        places, axes = np.empty((BODY, 3)), np.empty((BODY, 3, 3))
        for joint, parent in enumerate(self.parents):
            if parent < 0:
                places[joint], axes[joint] = rest[joint], turns[joint]
            else:
                places[joint] = places[parent] + axes[parent] @ (rest[joint] - rest[parent])
                axes[joint] = axes[parent] @ turns[joint]
        return places + transl
