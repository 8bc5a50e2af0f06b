"""3DPW to recorded clips (docs/reference/clips-format.md).

    python threedpw.py 3DPW --split test --out clips/3dpw

Reads `sequenceFiles/SPLIT/*.pkl` as published at virtualhumans.mpi-inf.mpg.de/3DPW: `poses2d` (OpenPose,
18 keypoints), `jointPositions` (24 SMPL joints in the world), `cam_poses`, `cam_intrinsics`,
`campose_valid`. Images are not needed. README.md says what is compared.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

import smpl
from clip_files import (
    KEYPOINTS,
    OPENPOSE_18,
    PEOPLE_MAX,
    Camera,
    Clip,
    ConvertError,
    array,
    chosen,
    our_joints,
    read_pickle,
    shaped,
    write_index,
)

FPS = 30.0
"""Rate of the images."""


def read(path: Path) -> Clip:
    """One sequence with everybody in it."""
    found = read_pickle(path)
    extrinsics = array(found, "cam_poses", (None, 4, 4), path)
    frames = len(extrinsics)
    intrinsics = array(found, "cam_intrinsics", (3, 3), path)
    for key in ("jointPositions", "poses2d", "campose_valid"):
        if key not in found:
            raise ConvertError(f"{path}: no {key}")
    people = len(found["jointPositions"])
    if not 1 <= people <= PEOPLE_MAX:
        raise ConvertError(f"{path}: jointPositions of {people} people: must be from 1 to {PEOPLE_MAX}")
    for key in ("poses2d", "campose_valid"):
        if len(found[key]) != people:
            raise ConvertError(f"{path}: {key} of {len(found[key])} people, jointPositions of {people}")

    keypoints, joints, known = [], [], []
    for person in range(people):
        world = shaped(found["jointPositions"][person], "jointPositions", (frames, 72), path).reshape(frames, 24, 3)
        detected = shaped(found["poses2d"][person], "poses2d", (frames, 3, 18), path)
        valid = shaped(found["campose_valid"][person], "campose_valid", (frames,), path) > 0
        camera = np.einsum("fab,fjb->fja", extrinsics[:, :3, :3], world) + extrinsics[:, None, :3, 3]
        ours, there = our_joints(camera, smpl.PLACES)
        keypoints.append(chosen(detected.transpose(0, 2, 1), OPENPOSE_18, KEYPOINTS))
        joints.append(ours)
        known.append(there & valid[:, None])
    # The sequences name no image size; the principal point of their cameras is the images' middle.
    width, height = (round(2 * float(intrinsics[axis, 2])) for axis in (0, 1))
    return Clip(
        name=path.stem,
        group="3dpw",
        subject=path.stem,
        fps=FPS,
        source="detected",
        convention=smpl.CONVENTION,
        camera=Camera(
            width_px=width,
            height_px=height,
            fx_px=float(intrinsics[0, 0]),
            fy_px=float(intrinsics[1, 1]),
            cx_px=float(intrinsics[0, 2]),
            cy_px=float(intrinsics[1, 2]),
        ),
        keypoints=np.stack(keypoints, axis=1),
        joints_camera_m=np.stack(joints, axis=1),
        known=np.stack(known, axis=1),
    )


def convert(root: Path, split: str, out: Path) -> int:
    """Converts all sequences of a split; says how many."""
    paths = sorted((root / "sequenceFiles" / split).glob("*.pkl"))
    if not paths:
        raise ConvertError(f"{root / 'sequenceFiles' / split}: no *.pkl")
    out.mkdir(parents=True, exist_ok=True)
    write_index(out, [read(path).write(out) for path in paths])
    return len(paths)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path, help="folder with sequenceFiles")
    parser.add_argument("--split", default="test", choices=["train", "validation", "test"])
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    options = parser.parse_args()
    try:
        count = convert(options.root, options.split, options.out)
    except (ConvertError, OSError) as error:
        print(f"threedpw: {error}", file=sys.stderr)
        return 1
    print(f"{count} clips in {options.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
