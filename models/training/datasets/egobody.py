"""EgoBody, the interactee before the head-worn camera, to recorded clips (docs/reference/clips-format.md).

    python egobody.py EGOBODY --split test --smplx SMPLX_MODELS --out clips/egobody

Reads the layout published at egobody.inf.ethz.ch:

- `data_splits.csv`, `data_info_release.csv` (`body_idx_fpv`: index and sex, such as "1 female");
- `egocentric_color/RECORDING/*/keypoints.npz` (OpenPose BODY_25 of the interactee) and `*_pv.txt` (camera:
  first line cx, cy, width, height; then time stamp, fx, fy and the 4x4 camera-to-headset-world matrix);
- `calibrations/RECORDING/[cal_trans/]holo_to_kinect12.json`;
- `smplx_interactee_SPLIT/RECORDING/body_idx_*/results/frame_*/000.pkl` (SMPL-X parameters in the frame of
  the Kinect `master`).

SMPLX_MODELS is a folder with SMPLX_MALE.npz and SMPLX_FEMALE.npz from smpl-x.is.tue.mpg.de, each under its
own licence; only the skeleton in them is read. README.md says what is compared.
"""

from __future__ import annotations

import argparse
import csv
import json
import re
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np

import smpl
from clip_files import (
    KEYPOINTS,
    OPENPOSE_25,
    Camera,
    Clip,
    ConvertError,
    Floats,
    array,
    chosen,
    our_joints,
    read_pickle,
    shaped,
    write_index,
)

FPS = 30.0
"""Rate of the head-worn camera."""

TICKS_A_SECOND = 1e7
"""Time stamps count hundreds of nanoseconds."""

OPTICAL = np.diag([1.0, -1.0, -1.0])
"""The headset's camera looks along -z with y up; the optical frame along +z with y down."""

FRAME = re.compile(r"(\d+)_(frame_\d+)\.")
"""`TIMESTAMP_frame_NNNNN.jpg`."""


class View(NamedTuple):
    """The head-worn camera in one frame."""

    fx_px: float
    fy_px: float
    to_world: Floats
    """[4, 4], to the world of the headset."""


def read_views(path: Path) -> tuple[tuple[float, float, int, int], dict[int, View]]:
    """cx, cy, width, height, and the camera at each time stamp."""
    lines = [line for line in path.read_text().splitlines() if line.strip()]
    try:
        cx, cy, width, height = (float(word) for word in lines[0].split(","))
        views = {}
        for line in lines[1:]:
            words = line.split(",")
            matrix = np.array([float(word) for word in words[3:19]]).reshape(4, 4)
            views[int(words[0])] = View(float(words[1]), float(words[2]), matrix)
    except (ValueError, IndexError) as error:
        raise ConvertError(f"{path}: {error}") from error
    if not views:
        raise ConvertError(f"{path}: no camera follows the first line")
    return (cx, cy, round(width), round(height)), views


def read_headset_to_kinect(root: Path, recording: str) -> Floats:
    """From the headset's world to the frame of the Kinect `master`, [4, 4]."""
    folder = root / "calibrations" / recording
    inner = folder / "cal_trans" / "holo_to_kinect12.json"
    path = inner if inner.exists() else folder / "holo_to_kinect12.json"
    try:
        found = json.loads(path.read_text())
    except ValueError as error:
        raise ConvertError(f"{path}: {error}") from error
    return array(found, "trans", (4, 4), path)


def column(path: Path, name: str) -> list[str]:
    """A column of a table, without empty cells."""
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    if not rows or name not in rows[0]:
        raise ConvertError(f"{path}: no column {name}")
    return [row[name] for row in rows if row[name]]


def interactees(root: Path) -> dict[str, tuple[int, str]]:
    """Body index and sex of each recording's interactee."""
    path = root / "data_info_release.csv"
    out = {}
    for recording, words in zip(column(path, "recording_name"), column(path, "body_idx_fpv"), strict=True):
        number, _, sex = words.partition(" ")
        if not number.isdigit() or sex not in ("male", "female"):
            raise ConvertError(f"{path}: {recording}: body_idx_fpv = {words!r}: must be such as '1 female'")
        out[recording] = (int(number), sex)
    return out


def read(root: Path, recording: str, split: str, body: smpl.Body, index: int) -> Clip:
    """One recording: the frames in which the camera saw the interactee."""
    folders = sorted((root / "egocentric_color" / recording).glob("*/keypoints.npz"))
    if len(folders) != 1:
        raise ConvertError(f"{root / 'egocentric_color' / recording}: {len(folders)} keypoints.npz, wanted one")
    path = folders[0]
    try:
        with np.load(path, allow_pickle=False) as file:
            names, detected = [str(name) for name in file["imgname"]], file["keypoints"]
    except (OSError, ValueError, KeyError) as error:
        raise ConvertError(f"{path}: {error}") from error
    detected = shaped(detected, "keypoints", (len(names), 25, 3), path)
    cameras = sorted(path.parent.glob("*_pv.txt"))
    if len(cameras) != 1:
        raise ConvertError(f"{path.parent}: {len(cameras)} *_pv.txt, wanted one")
    (cx, cy, width, height), views = read_views(cameras[0])
    from_kinect = np.linalg.inv(read_headset_to_kinect(root, recording))
    results = root / f"smplx_interactee_{split}" / recording / f"body_idx_{index}" / "results"

    first = next(iter(views.values()))
    stamps, keypoints, joints = [], [], []
    for name, points in zip(names, detected, strict=True):
        match = FRAME.search(Path(name).name)
        if match is None:
            raise ConvertError(f"{path}: imgname {name!r}: must end as 123_frame_00001.jpg")
        stamp, frame = int(match[1]), match[2]
        fitted = results / frame / "000.pkl"
        # The lists go beyond the part of a recording that was annotated.
        if stamp not in views or not fitted.exists():
            continue
        view = views[stamp]
        found = read_pickle(fitted)
        shape = {"betas": 10, "global_orient": 3, "body_pose": 63, "transl": 3}
        parts = {key: array(found, key, (1, size), fitted)[0] for key, size in shape.items()}
        places = body.joints(parts["betas"], parts["global_orient"], parts["body_pose"], parts["transl"])
        moved = OPTICAL @ (np.linalg.inv(view.to_world) @ from_kinect)[:3]
        joints.append(places @ moved[:, :3].T + moved[:, 3])
        # The focal length follows the focus; keypoints are given those of the first frame's.
        same = points.copy()
        same[:, 0] = (points[:, 0] - cx) * first.fx_px / view.fx_px + cx
        same[:, 1] = (points[:, 1] - cy) * first.fy_px / view.fy_px + cy
        keypoints.append(same)
        stamps.append(stamp)
    if not stamps:
        raise ConvertError(f"{path}: none of {len(names)} frames has a camera and a body in {results}")
    order = np.argsort(stamps, kind="stable")
    ours, known = our_joints(np.stack(joints)[order], smpl.PLACES)
    return Clip(
        name=recording,
        group="egobody",
        subject=recording,
        fps=FPS,
        source="detected",
        convention=smpl.CONVENTION,
        camera=Camera(width, height, first.fx_px, first.fy_px, cx, cy),
        keypoints=chosen(np.stack(keypoints)[order], OPENPOSE_25, KEYPOINTS)[:, None],
        joints_camera_m=ours[:, None],
        known=known[:, None],
        time_s=(np.array(stamps)[order] - min(stamps)) / TICKS_A_SECOND,
    )


def convert(root: Path, split: str, models: Path, out: Path) -> int:
    """Converts all recordings of a split; says how many."""
    wanted = column(root / "data_splits.csv", split)
    people = interactees(root)
    missing = [recording for recording in wanted if recording not in people]
    if missing:
        raise ConvertError(f"{root / 'data_info_release.csv'}: no {missing[0]}")
    bodies: dict[str, smpl.Body] = {}
    out.mkdir(parents=True, exist_ok=True)
    entries = []
    for recording in wanted:
        index, sex = people[recording]
        if sex not in bodies:
            bodies[sex] = smpl.Body(models / f"SMPLX_{sex.upper()}.npz")
        entries.append(read(root, recording, split, bodies[sex], index).write(out))
    write_index(out, entries)
    return len(entries)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path, help="folder with data_splits.csv")
    parser.add_argument("--split", default="test", choices=["train", "val", "test"])
    parser.add_argument("--smplx", type=Path, required=True, help="folder with SMPLX_MALE.npz and SMPLX_FEMALE.npz")
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    options = parser.parse_args()
    try:
        count = convert(options.root, options.split, options.smplx, options.out)
    except (ConvertError, OSError) as error:
        print(f"egobody: {error}", file=sys.stderr)
        return 1
    print(f"{count} clips in {options.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
