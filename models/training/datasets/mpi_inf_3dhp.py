"""MPI-INF-3DHP to recorded clips (docs/reference/clips-format.md).

    python mpi_inf_3dhp.py MPI_INF_3DHP/mpi_inf_3dhp_test_set --out clips/3dhp
    python mpi_inf_3dhp.py MPI_INF_3DHP --split train --cameras 0 2 7 8 --out clips/3dhp-train

Reads the layouts published at vcai.mpi-inf.mpg.de/3dhp-dataset:

- test: `TS*/annot_data.mat` (HDF5: `annot2` [N,1,17,2] pixels, `annot3` [N,1,17,3] millimetres in the
  camera frame, `valid_frame` [N,1]);
- train: `S*/Seq*/annot.mat` (MATLAB 5: `annot2` and `annot3`, a cell for each camera, [N,56] and [N,84])
  and `S*/Seq*/camera.calibration`.

There are no detections in either, and `annot2` is `annot3` seen through the camera: the clips say
`projected`. README.md says what is compared, and how the test set's lenses are found.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import scipy.io

from clip_files import (
    KEYPOINTS,
    Camera,
    Clip,
    ConvertError,
    Floats,
    chosen,
    our_joints,
    shaped,
    write_index,
)

TEST_PLACES = {
    "thorax": 1,
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
}
"""Our joint to place in the 17 of the test set; its "neck" is the base of the neck."""

TRAIN_PLACES = {
    "thorax": 5,
    "left_shoulder": 9,
    "left_elbow": 10,
    "left_wrist": 11,
    "right_shoulder": 14,
    "right_elbow": 15,
    "right_wrist": 16,
    "left_hip": 18,
    "left_knee": 19,
    "left_ankle": 20,
    "right_hip": 23,
    "right_knee": 24,
    "right_ankle": 25,
}
"""Our joint to place in the 28 of the training set."""

CONVENTION = "joints of the markerless capture; pelvis: middle of the hips; thorax: its neck; spine, neck and head are not compared"

TEST_SIZE = {"TS5": (1920, 1080), "TS6": (1920, 1080)}
"""Columns and rows of the images; those of the other test sequences are 2048 x 2048."""

RESIDUAL_MAX_PX = 3.0
"""A camera that maps joints to keypoints worse than this (root mean square) was not found."""

LENS_STEPS = 20
"""Steps of Gauss and Newton for a lens; it converges in five or six."""

LENS_FROM_PX = 0.5
"""A pinhole that fits this well needs no lens."""


def fitted(points_m: Floats, pixels: Floats, size: tuple[int, int], path: Path) -> Camera:
    """The camera that maps points [N, 3] of its frame to pixels [N, 2].

    A pinhole by linear least squares; where that leaves more than LENS_FROM_PX, with k1, k2, p1, p2 of
    the lens by Gauss and Newton from there.
    """
    if not (np.isfinite(points_m).all() and np.isfinite(pixels).all() and (points_m[:, 2] > 0).all()):
        raise ConvertError(f"{path}: annot2 or annot3 is not finite, or a joint lies behind the camera")
    rays = points_m[:, :2] / points_m[:, 2:]
    pinhole = [np.linalg.lstsq(np.stack([rays[:, a], np.ones(len(rays))], 1), pixels[:, a])[0] for a in (0, 1)]
    guess = np.array([pinhole[0][0], pinhole[1][0], pinhole[0][1], pinhole[1][1], 0.0, 0.0, 0.0, 0.0])

    def camera(numbers: Floats) -> Camera:
        fx, fy, cx, cy, k1, k2, p1, p2 = (float(number) for number in numbers)
        return Camera(*size, fx, fy, cx, cy, (k1, k2, p1, p2, 0.0))

    def misses(numbers: Floats) -> Floats:
        return (camera(numbers).pixels(points_m) - pixels).ravel()

    def residual(numbers: Floats) -> float:
        return float(np.sqrt(2 * np.mean(misses(numbers) ** 2)))

    if residual(guess) > LENS_FROM_PX:
        for _ in range(LENS_STEPS):
            now = misses(guess)
            if not np.isfinite(now).all():
                break
            steps = np.where(np.arange(8) < 4, 1e-3, 1e-6)
            slopes = np.stack([(misses(guess + step) - now) / step.sum() for step in np.diag(steps)], axis=1)
            guess = guess - np.linalg.lstsq(slopes, now)[0]
    if not residual(guess) <= RESIDUAL_MAX_PX:
        raise ConvertError(
            f"{path}: no camera maps annot3 to annot2: {residual(guess):.1f} px are left, at most {RESIDUAL_MAX_PX} px may be"
        )
    return camera(guess)


def clip(
    name: str, group: str, subject: str, fps: float, camera: Camera, annot2: Floats, annot3: Floats, valid: Floats
) -> Clip:
    """A clip of one person, [N, J, 2] pixels and [N, J, 3] millimetres; rows without `valid` show nobody."""
    places = TEST_PLACES if annot3.shape[1] == 17 else TRAIN_PLACES
    joints, known = our_joints(annot3 / 1000.0, places)
    there = valid > 0
    inside = ((annot2 >= 0) & (annot2 < [camera.width_px, camera.height_px])).all(axis=-1)
    seen = inside & there[:, None]
    keypoints = chosen(np.concatenate([annot2, seen[..., None]], axis=-1), places, KEYPOINTS)
    return Clip(
        name=name,
        group=group,
        subject=subject,
        fps=fps,
        source="projected",
        convention=CONVENTION,
        camera=camera,
        keypoints=keypoints[:, None],
        joints_camera_m=joints[:, None],
        known=(known & there[:, None])[:, None],
    )


def read_test(path: Path, fps: float) -> Clip:
    """One sequence of the test set."""
    name = path.parent.name
    try:
        with h5py.File(path) as file:
            annot2 = shaped(file["annot2"][()], "annot2", (None, 1, 17, 2), path)[:, 0]
            frames = len(annot2)
            annot3 = shaped(file["annot3"][()], "annot3", (frames, 1, 17, 3), path)[:, 0]
            valid = shaped(file["valid_frame"][()], "valid_frame", (frames, 1), path)[:, 0]
    except (OSError, KeyError) as error:
        raise ConvertError(f"{path}: {error}") from error
    used = valid > 0
    if not used.any():
        raise ConvertError(f"{path}: valid_frame is 0 throughout")
    size = TEST_SIZE.get(name, (2048, 2048))
    camera = fitted(annot3[used].reshape(-1, 3), annot2[used].reshape(-1, 2), size, path)
    return clip(name, "3dhp", name, fps, camera, annot2, annot3, valid)


def read_calibration(path: Path) -> dict[int, Camera]:
    """The cameras of `camera.calibration`: lines of `name`, `size` and `intrinsic` (4x4, row by row)."""
    cameras: dict[int, Camera] = {}
    number, size = None, (2048, 2048)
    for line in path.read_text().splitlines():
        key, *words = line.split()[:1] + line.split()[1:] if line.split() else [""]
        try:
            if key == "name":
                number = int(words[0])
            elif key == "size":
                size = (int(words[0]), int(words[1]))
            elif key == "intrinsic" and number is not None:
                matrix = np.array([float(word) for word in words]).reshape(4, 4)
                cameras[number] = Camera(
                    *size, float(matrix[0, 0]), float(matrix[1, 1]), float(matrix[0, 2]), float(matrix[1, 2])
                )
        except (ValueError, IndexError) as error:
            raise ConvertError(f"{path}: line {line!r}: {error}") from error
    if not cameras:
        raise ConvertError(f"{path}: no camera has both name and intrinsic")
    return cameras


def cell(found: dict[str, Any], key: str, camera: int, width: int, path: Path) -> Floats:
    """A camera's part of a MATLAB cell, [N, width / K, K] with K = 2 or 3."""
    if key not in found or len(found[key]) <= camera:
        raise ConvertError(f"{path}: {key} has no camera {camera}")
    numbers = shaped(found[key][camera, 0], f"{key}{{{camera}}}", (None, width), path)
    return numbers.reshape(len(numbers), 28, -1)


def read_train(path: Path, cameras: Sequence[int], fps: float) -> Iterator[Clip]:
    """One sequence of the training set, each camera a clip."""
    try:
        found = scipy.io.loadmat(path)
    except (OSError, ValueError, NotImplementedError) as error:
        raise ConvertError(f"{path}: {error}") from error
    calibration = path.with_name("camera.calibration")
    known = read_calibration(calibration)
    subject, sequence = path.parent.parent.name, path.parent.name
    for camera in cameras:
        if camera not in known:
            raise ConvertError(f"{calibration}: no camera {camera}")
        annot2, annot3 = (cell(found, key, camera, width, path) for key, width in (("annot2", 56), ("annot3", 84)))
        name = f"{subject}_{sequence}_camera{camera}"
        valid = np.ones(len(annot2))
        yield clip(name, "3dhp-train", subject, fps, known[camera], annot2, annot3, valid)


def convert(root: Path, split: str, cameras: Sequence[int], fps: float, out: Path) -> int:
    """Converts all sequences of a split; says how many clips."""
    pattern = "TS*/annot_data.mat" if split == "test" else "S*/Seq*/annot.mat"
    paths = sorted(root.glob(pattern))
    if not paths:
        raise ConvertError(f"{root}: no {pattern}")
    out.mkdir(parents=True, exist_ok=True)
    entries = []
    for path in paths:
        clips = [read_test(path, fps)] if split == "test" else read_train(path, cameras, fps)
        entries += [one.write(out) for one in clips]
    write_index(out, entries)
    return len(entries)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path, help="folder with TS1 to TS6, or with S1 to S8")
    parser.add_argument("--split", default="test", choices=["train", "test"])
    parser.add_argument("--cameras", type=int, nargs="+", default=[0, 2, 7, 8], help="of the training set")
    parser.add_argument("--fps", type=float, default=25.0, help="frames a second; no annotation file says it")
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    options = parser.parse_args()
    try:
        count = convert(options.root, options.split, options.cameras, options.fps, options.out)
    except (ConvertError, OSError) as error:
        print(f"mpi_inf_3dhp: {error}", file=sys.stderr)
        return 1
    print(f"{count} clips in {options.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
