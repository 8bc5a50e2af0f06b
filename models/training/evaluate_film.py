"""Share of right keypoints of a film against reference keypoints: PCK@0.2 of the torso.

    poised replay squats.mp4 --poses poses.jsonl
    python evaluate_film.py squats.keypoints2d.json poses.jsonl

The reference is a list of frames, each 33 BlazePose landmarks [x, y, ...] in pixels of the film (the
output of a network, not a measurement). A frame without a person counts as 17 wrong keypoints; of
several people the one nearest to the reference is scored.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

COCO_OF_BLAZEPOSE = [0, 2, 5, 7, 8, 11, 12, 13, 14, 15, 16, 23, 24, 25, 26, 27, 28]
"""BlazePose landmark of each COCO keypoint."""
SHARE_OF_TORSO = 0.2
"""A keypoint is right within this share of the way from the shoulders to the hips."""


def right(found: NDArray[np.float64], reference: NDArray[np.float64]) -> NDArray[np.bool_]:
    """found, reference [17,2] pixels -> which are right [17]."""
    torso = np.linalg.norm(reference[[5, 6]].mean(0) - reference[[11, 12]].mean(0))
    return np.asarray(np.linalg.norm(found - reference, axis=1) < SHARE_OF_TORSO * torso)


def score(reference: Path, poses: Path) -> tuple[NDArray[np.float64], int, int]:
    """Share of right keypoints for each keypoint [17], frames with a person, frames."""
    truth = [np.array(frame, float)[COCO_OF_BLAZEPOSE, :2] for frame in json.loads(reference.read_text())]
    hits, seen = np.zeros(17), 0
    lines = poses.read_text().splitlines()
    for line in lines:
        frame = json.loads(line)
        people = [np.array(p["keypoints_px"], float)[:, :2] for p in frame["persons"]]
        if frame["sequence"] < len(truth) and people:
            seen += 1
            hits += max((right(p, truth[frame["sequence"]]) for p in people), key=lambda r: int(r.sum()))
    return hits / len(lines), seen, len(lines)


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("reference", type=Path)
    p.add_argument("poses", type=Path)
    a = p.parse_args()
    share, seen, frames = score(a.reference, a.poses)
    print(f"frames with a person {seen} of {frames}; PCK@{SHARE_OF_TORSO} {share.mean():.3f}")
    print("each keypoint", " ".join(f"{x:.2f}" for x in share))


if __name__ == "__main__":
    main()
