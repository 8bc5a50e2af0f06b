"""Crops from frames of the program's synthetic camera (`draw_people`), as shards.

`python frames.py FRAMES... --out SHARD --each 2` cuts each person `--each` times with another box.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from crop import Crop, person_crop
from numpy.typing import NDArray
from people import camera_noise
from shards import CROP_H, CROP_W, Writer

ROW = 10 + 17 * 3 + 17 * 3 + 27 * 17 * 2
HELD_SCENES = 400
"""People at the front that stay together, so that the held-out rows share no scene with the rest."""
SMALLEST_PX = 24
"""People less high than this are left out."""


class Frames:
    """A folder written by `draw_people`."""

    def __init__(self, folder: Path) -> None:
        size = json.loads((folder / "frames.json").read_text())
        n, h, w = size["frames"], size["height"], size["width"]
        self.rgb = np.memmap(folder / "frames.u8", np.uint8, "r", shape=(n, h, w, 3))
        self.labels = np.memmap(folder / "labels.u8", np.uint8, "r", shape=(n, h, w))
        self.people = np.fromfile(folder / "people.f32", "<f4").reshape(-1, ROW)

    def person(self, row: int) -> dict[str, Any]:
        """The fields of one person."""
        r = self.people[row]
        return {
            "frame": int(r[0]),
            "person": int(r[1]),
            "outline": r[2:6],
            "k": np.array([[r[6], 0, r[8]], [0, r[7], r[9]], [0, 0, 1]], np.float32),
            "keypoints": r[10:61].reshape(17, 3),
            "joints": r[61:112].reshape(17, 3),
            "rays": r[112:].reshape(27, 17, 2),
        }


def jittered(box: NDArray[np.float32], rng: np.random.Generator) -> tuple[float, float, float, float]:
    """A box that a finder or the last frame's keypoints might have given."""
    c, size = (box[:2] + box[2:]) / 2, box[2:] - box[:2]
    c = c + rng.normal(0, 0.05, 2).clip(-0.14, 0.14) * size
    size = size * np.exp(rng.uniform(np.log(0.82), np.log(1.25))) * np.exp(rng.normal(0, 0.04, 2))
    return tuple(float(v) for v in (*(c - size / 2), *(c + size / 2)))  # type: ignore[return-value]


def turn(rays: NDArray[np.float32], r: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rays (x/z, y/z) [...,2] in the camera turned by `r`."""
    t = np.concatenate([rays, np.ones_like(rays[..., :1])], -1) @ r.T
    return np.asarray(t[..., :2] / np.maximum(t[..., 2:], 0.1), np.float32)


def cut(frames: Frames, row: int, rng: np.random.Generator) -> dict[str, NDArray[Any]] | None:
    """One crop with labels, or None where too little of the person is in the image."""
    e = frames.person(row)
    rgb, labels = frames.rgb[e["frame"]], frames.labels[e["frame"]]
    h, w = labels.shape
    box = e["outline"]
    if rng.random() < 0.35:  # as the program does from the second frame on
        seen = e["keypoints"][e["keypoints"][:, 2] > 0, :2]
        if len(seen) >= 6:
            lo, hi = seen.min(0), seen.max(0)
            box = np.concatenate([lo - 0.1 * (hi - lo), hi + 0.1 * (hi - lo)])
    box = np.concatenate([np.maximum(box[:2], 0), np.minimum(box[2:], [w - 1, h - 1])])
    if min(box[2:] - box[:2]) < 6 or box[3] - box[1] < SMALLEST_PX or (e["keypoints"][:, 2] > 0).sum() < 4:
        return None
    crop: Crop = person_crop(jittered(box, rng), e["k"])
    own = np.where(labels >> 2 == e["person"] + 1, labels & 3, 0).astype(np.uint8)
    image = crop.cut(np.asarray(rgb))
    if rng.random() < 0.6:
        image = camera_noise(image.astype(np.float32) / 255, rng)
    mask = cv2.warpPerspective(own, crop.homography(), (CROP_W, CROP_H), flags=cv2.INTER_NEAREST)
    rays = turn(e["rays"], crop.r)
    cx, cy = (CROP_W - 1) / 2, (CROP_H - 1) / 2
    px = rays[-1] * crop.f + [cx, cy]
    inside = ((px > -0.5) & (px < [CROP_W - 0.5, CROP_H - 0.5])).all(1)
    joints = e["joints"] @ crop.r.T
    return {
        "image": image,
        "keypoints": np.concatenate([px, (inside & (e["keypoints"][:, 2] > 0))[:, None], inside[:, None]], 1),
        "mask": mask[1::4, 1::4],
        "joints": joints - joints[:1],
        "rays": rays,
        "camera": np.array([crop.f, cx, cy, joints[0, 2]]),
    }


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("frames", type=Path, nargs="+")
    p.add_argument("--out", type=Path, required=True)
    p.add_argument("--each", type=int, default=2)
    p.add_argument("--seed", type=int, default=3)
    a = p.parse_args()
    cv2.setNumThreads(1)
    rng = np.random.default_rng(a.seed)
    sources = [Frames(f) for f in a.frames]
    rows = [(s, k) for s in sources for k in range(len(s.people))]
    # The held-out rows at the front of a shard are scenes of their own: the first ones drawn.
    rows = rows[:HELD_SCENES] + [rows[HELD_SCENES + i] for i in rng.permutation(len(rows) - HELD_SCENES)]
    with Writer(a.out) as out:
        for source, k in rows:
            for _ in range(a.each):
                row = cut(source, k, rng)
                if row is not None:
                    out.add(row)
    print(f"{out.count} crops")


if __name__ == "__main__":
    main()
