"""MediaPipe Pose on a film, written as `poised replay --poses` writes: for models/training/evaluate_calibrated.py.

    pip install -r benches/requirements-mediapipe.txt
    python benches/mediapipe_poses.py FILM --poses OUT.jsonl

One person at most, as MediaPipe finds it; its world landmarks (metres around the hips) stand for the joints that a
Human3.6M skeleton shares with it, the others are absent.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

LANDMARK_OF_H36M = {1: 24, 2: 26, 3: 28, 4: 23, 5: 25, 6: 27, 11: 11, 12: 13, 13: 15, 14: 12, 15: 14, 16: 16}
"""Hips, knees, ankles, shoulders, elbows and wrists."""
LANDMARK_OF_COCO = [0, 2, 5, 7, 8, 11, 12, 13, 14, 15, 16, 23, 24, 25, 26, 27, 28]
JOINTS = 17
MEASURED, ABSENT = 1, 0


def person(landmarks: list[Any], world: list[Any], width: int, height: int) -> dict[str, object]:
    """One person as `poised replay` writes it."""
    joints = [[0.0, 0.0, 0.0] for _ in range(JOINTS)]
    for joint, landmark in LANDMARK_OF_H36M.items():
        joints[joint] = [world[landmark].x, world[landmark].y, world[landmark].z]
    points = [landmarks[k] for k in LANDMARK_OF_COCO]
    return {
        "id": 1,
        "joints_camera_m": joints,
        "states": [MEASURED if joint in LANDMARK_OF_H36M else ABSENT for joint in range(JOINTS)],
        "keypoints_px": [[p.x * width, p.y * height, p.visibility] for p in points],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("film", type=Path)
    parser.add_argument("--poses", type=Path, required=True)
    parser.add_argument("--complexity", type=int, choices=(0, 1, 2), default=1)
    arguments = parser.parse_args()

    import cv2
    import mediapipe as mp

    pose = mp.solutions.pose.Pose(model_complexity=arguments.complexity)
    source = cv2.VideoCapture(str(arguments.film))
    rows: list[str] = []
    while True:
        there, bgr = source.read()
        if not there:
            break
        found = pose.process(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB))
        height, width = bgr.shape[:2]
        people = []
        if found.pose_landmarks:
            people = [person(found.pose_landmarks.landmark, found.pose_world_landmarks.landmark, width, height)]
        rows.append(json.dumps({"sequence": len(rows), "persons": people}))
    arguments.poses.write_text("\n".join(rows) + "\n")


if __name__ == "__main__":
    main()
