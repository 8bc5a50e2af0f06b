"""Folders of recorded clips, as `docs/reference/clips-format.md` describes them, and what all converters share.

Joints that a source and our skeleton do not have in the same place are not compared: `known` is 0 for
them. What every source has are the twelve limb joints; the middle of the hips is our pelvis by
definition, and the base of the neck stands for our thorax.
"""

from __future__ import annotations

import io
import json
import pickle
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

Floats = NDArray[np.float64]

JOINTS = (
    "pelvis right_hip right_knee right_ankle left_hip left_knee left_ankle spine thorax neck head "
    "left_shoulder left_elbow left_wrist right_shoulder right_elbow right_wrist"
).split()
"""Our joints, in order."""

KEYPOINTS = (
    "nose left_eye right_eye left_ear right_ear left_shoulder right_shoulder left_elbow right_elbow "
    "left_wrist right_wrist left_hip right_hip left_knee right_knee left_ankle right_ankle"
).split()
"""COCO's keypoints, in order."""

LIMBS = [name for name in JOINTS if name in KEYPOINTS]
"""Joints that a keypoint sees."""

COMPARED = [*LIMBS, "pelvis", "thorax"]
"""What is known of every source's skeleton."""

PEOPLE_MAX = 8
"""Most people in a clip."""

OPENPOSE_18 = {
    "nose": 0,
    "right_shoulder": 2,
    "right_elbow": 3,
    "right_wrist": 4,
    "left_shoulder": 5,
    "left_elbow": 6,
    "left_wrist": 7,
    "right_hip": 8,
    "right_knee": 9,
    "right_ankle": 10,
    "left_hip": 11,
    "left_knee": 12,
    "left_ankle": 13,
    "right_eye": 14,
    "left_eye": 15,
    "right_ear": 16,
    "left_ear": 17,
}
"""COCO keypoint to place in OpenPose's 18, whose second is the neck."""

OPENPOSE_25 = {
    **{name: place for name, place in OPENPOSE_18.items() if place < 8},
    "right_hip": 9,
    "right_knee": 10,
    "right_ankle": 11,
    "left_hip": 12,
    "left_knee": 13,
    "left_ankle": 14,
    "right_eye": 15,
    "left_eye": 16,
    "right_ear": 17,
    "left_ear": 18,
}
"""COCO keypoint to place in OpenPose's BODY_25, whose ninth is the middle of the hips."""


class ConvertError(Exception):
    """A file is not laid out as published: one line with file, field, value and what was wanted."""


@dataclass
class Camera:
    """A pinhole with `plumb_bob` distortion (k1 k2 p1 p2 k3), pixels; pixel centres at whole numbers."""

    width_px: int
    height_px: int
    fx_px: float
    fy_px: float
    cx_px: float
    cy_px: float
    distortion: tuple[float, float, float, float, float] = (0.0, 0.0, 0.0, 0.0, 0.0)

    def entry(self) -> dict[str, Any]:
        """The camera as the index has it."""
        fields = asdict(self)
        bend = dict(zip(("k1", "k2", "p1", "p2", "k3"), self.distortion, strict=True))
        model = {"model": "plumb_bob", **bend} if any(self.distortion) else {"model": "none"}
        return {
            "width_px": self.width_px,
            "height_px": self.height_px,
            "intrinsics": {key: fields[key] for key in ("fx_px", "fy_px", "cx_px", "cy_px")},
            "distortion": model,
        }

    def pixels(self, points_camera_m: Floats) -> Floats:
        """Points [..., 3] of the camera frame as pixels [..., 2]."""
        x, y = np.moveaxis(points_camera_m[..., :2] / points_camera_m[..., 2:], -1, 0)
        k1, k2, p1, p2, k3 = self.distortion
        square = x * x + y * y
        radial = 1 + square * (k1 + square * (k2 + square * k3))
        bent_x = x * radial + 2 * p1 * x * y + p2 * (square + 2 * x * x)
        bent_y = y * radial + p1 * (square + 2 * y * y) + 2 * p2 * x * y
        return np.stack([self.fx_px * bent_x + self.cx_px, self.fy_px * bent_y + self.cy_px], axis=-1)


@dataclass
class Clip:
    """One clip: what the index says, and its tensors. `F` frames, `P` people."""

    name: str
    group: str
    subject: str
    fps: float
    source: str
    """Where the keypoints come from: detected, annotated or projected."""
    convention: str
    camera: Camera
    keypoints: Floats
    """[F, P, 17, 3] pixels and confidence."""
    joints_camera_m: Floats
    """[F, P, 17, 3] metres."""
    known: NDArray[np.bool_]
    """[F, P, 17]"""
    time_s: Floats | None = None
    """[F] seconds; `None`: frames follow each other at `fps`."""
    actions: list[str] = field(default_factory=list)

    def write(self, folder: Path) -> dict[str, Any]:
        """Writes the tensor file and gives the clip's entry in the index."""
        people = self.keypoints.shape[1]
        if not 1 <= people <= PEOPLE_MAX:
            raise ConvertError(f"{self.name}: {people} people: must be from 1 to {PEOPLE_MAX}")
        known = self.known & np.isfinite(self.joints_camera_m).all(axis=-1)
        joints = np.where(known[..., None], self.joints_camera_m, 0.0)
        there = np.isfinite(self.keypoints).all(axis=-1, keepdims=True)
        keypoints = np.where(there, self.keypoints, 0.0)
        keypoints[..., 2] = keypoints[..., 2].clip(0.0, 1.0)
        tensors = {
            "keypoints": keypoints.astype(np.float32),
            "joints": joints.astype(np.float32),
            "known": known.astype(np.uint8),
        }
        if self.time_s is not None:
            tensors["time_s"] = self.time_s.astype(np.float32)
        file = f"{self.name}.safetensors"
        save_file({name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}, folder / file)
        return {
            "id": self.name,
            "group": self.group,
            "subject": self.subject,
            "file": file,
            "fps": self.fps,
            "keypoints": self.source,
            "convention": self.convention,
            "camera": self.camera.entry(),
            "actions": self.actions,
        }


def write_index(folder: Path, entries: Sequence[dict[str, Any]]) -> None:
    """Writes `index.json`. Put the entries of several data sets into one to have them in one table."""
    if not entries:
        raise ConvertError(f"{folder}: no clip was found: nothing is written")
    (folder / "index.json").write_text(json.dumps(list(entries), indent=1) + "\n")


def chosen(points: Floats, places: Mapping[str, int], names: Sequence[str]) -> Floats:
    """Points [..., N, D] of a source in the order of `names`; NaN for a name that it has not."""
    out = np.full((*points.shape[:-2], len(names), points.shape[-1]), np.nan)
    for at, name in enumerate(names):
        if name in places:
            out[..., at, :] = points[..., places[name], :]
    return out


def our_joints(points: Floats, places: Mapping[str, int]) -> tuple[Floats, NDArray[np.bool_]]:
    """Our 17 joints of a source's [..., N, 3], and which of them are known.

    `places` says where the limbs' joints and `thorax` are in the source.
    """
    joints = chosen(points, places, JOINTS)
    hips = joints[..., [JOINTS.index("right_hip"), JOINTS.index("left_hip")], :]
    joints[..., 0, :] = hips.mean(axis=-2)
    compared = np.array([name in COMPARED for name in JOINTS])
    return joints, compared & np.isfinite(joints).all(axis=-1)


def projected(joints_camera_m: Floats, known: NDArray[np.bool_], camera: Camera) -> Floats:
    """Keypoints [..., 17, 3] that a perfect detector of limbs would give; the face has none."""
    pixels = camera.pixels(joints_camera_m)
    inside = (pixels >= 0).all(axis=-1) & (pixels < [camera.width_px, camera.height_px]).all(axis=-1)
    seen = known & inside & (joints_camera_m[..., 2] > 0.1)
    points = np.concatenate([pixels, seen[..., None].astype(np.float64)], axis=-1)
    places = {name: at for at, name in enumerate(JOINTS) if name in KEYPOINTS}
    return chosen(points, places, KEYPOINTS)


class _Arrays(pickle.Unpickler):
    """Reads arrays and plain containers, and nothing that could run."""

    ALLOWED = {
        ("_codecs", "encode"),
        ("numpy", "dtype"),
        ("numpy", "ndarray"),
        *((f"numpy.{core}.multiarray", name) for core in ("core", "_core") for name in ("_reconstruct", "scalar")),
    }

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self.ALLOWED:
            raise pickle.UnpicklingError(f"holds a {module}.{name}, arrays only are read")
        return super().find_class(module, name)


def read_pickle(path: Path) -> dict[str, Any]:
    """A pickled dictionary of arrays, as Python 2 or 3 wrote it."""
    try:
        found = _Arrays(io.BytesIO(path.read_bytes()), encoding="latin1").load()
    except (pickle.UnpicklingError, EOFError, ValueError, IndexError, KeyError, AttributeError) as error:
        raise ConvertError(f"{path}: {error}") from error
    if not isinstance(found, dict):
        raise ConvertError(f"{path}: holds a {type(found).__name__}: must be a dictionary")
    return found


def array(found: Mapping[str, Any], key: str, shape: Sequence[int | None], path: Path) -> Floats:
    """The numbers of a key; `None` in `shape` stands for any length."""
    if key not in found:
        raise ConvertError(f"{path}: no {key}")
    return shaped(found[key], key, shape, path)


def shaped(value: Any, key: str, shape: Sequence[int | None], path: Path) -> Floats:
    """`value` as numbers of a shape; `None` in it stands for any length."""
    try:
        numbers = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ConvertError(f"{path}: {key}: {error}") from error
    fits = len(numbers.shape) == len(shape)
    if not fits or any(want not in (None, got) for want, got in zip(shape, numbers.shape, strict=True)):
        words = ["any" if want is None else str(want) for want in shape]
        raise ConvertError(f"{path}: {key} is {list(numbers.shape)}: must be [{', '.join(words)}]")
    return numbers
