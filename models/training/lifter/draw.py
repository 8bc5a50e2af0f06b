"""Draw windows, true poses and predictions as a picture, to see that axes and sides are right.

`python draw.py --motion DIR --weights run.pt --out poses.png`: one row per window with the newest
2D keypoints (image axes: x right, y down), the pose from the front and from above. Right limbs
are red, left limbs blue, the truth is grey.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from evaluate import CONDITIONS, draw, load_lifter, predict
from motion import load_validation
from skeleton import H36M_NAMES, JOINTS, PARENTS

CELL = 280
COCO_BONES = [
    (5, 7), (7, 9), (6, 8), (8, 10), (5, 6), (5, 11), (6, 12), (11, 12),
    (11, 13), (13, 15), (12, 14), (14, 16), (0, 1), (0, 2), (1, 3), (2, 4),
]  # fmt: skip
RED, BLUE, GREY, GREEN = (40, 40, 220), (220, 120, 30), (170, 170, 170), (60, 150, 60)


def side_colour(name: str) -> tuple[int, int, int]:
    """Red for right, blue for left, green for the middle (BGR)."""
    return {"r_": RED, "l_": BLUE}.get(name[:2], GREEN)


def put(image: NDArray[np.uint8], a: NDArray[np.float64], b: NDArray[np.float64], colour: tuple[int, int, int]) -> None:
    """Draw a line between two points in units of half a cell, origin in the middle."""
    to = [tuple(int(v) for v in (p * 0.42 + 0.5) * CELL) for p in (a, b)]
    cv2.line(image, to[0], to[1], colour, 2, cv2.LINE_AA)


def main() -> None:
    """Write the picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--motion", type=Path, required=True)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--set", default="cmu_val")
    parser.add_argument("--condition", default="moderate", choices=list(CONDITIONS))
    parser.add_argument("--rows", type=int, default=5)
    parser.add_argument("--seed", type=int, default=3)
    args = parser.parse_args()
    kp, truth, _ = draw(load_validation(args.motion, args.set), CONDITIONS[args.condition], args.rows, args.seed)
    pose, _ = predict(load_lifter(args.weights), kp)
    rows = []
    for n in range(args.rows):
        cells = [np.full((CELL, CELL, 3), 255, np.uint8) for _ in range(3)]
        newest = kp[n, -1].astype(np.float64)
        for a, b in COCO_BONES:
            if newest[a, 2] > 0 and newest[b, 2] > 0:
                colour = GREEN if a < 5 or (a % 2) != (b % 2) else (BLUE if a % 2 == 1 else RED)
                put(cells[0], newest[a, :2] * 0.8, newest[b, :2] * 0.8, colour)
        for values, true in ((truth[n].astype(np.float64), True), (pose[n].numpy().astype(np.float64), False)):
            for j in range(1, JOINTS):
                colour = GREY if true else side_colour(H36M_NAMES[j])
                for cell, axes, flip in ((cells[1], [0, 1], 1.0), (cells[2], [0, 2], -1.0)):
                    ends = [values[i][axes] * np.array([1.0, flip]) for i in (j, PARENTS[j])]
                    put(cell, ends[0], ends[1], colour)
        rows.append(np.concatenate(cells, axis=1))
    cv2.imwrite(str(args.out), np.concatenate(rows, axis=0))


if __name__ == "__main__":
    main()
