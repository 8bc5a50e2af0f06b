"""Photographs of Pascal VOC with the boxes of their people, or known to hold none, in the form of the photographs' index (photos.py).

    python voc_boxes.py BOXES.txt --photos FOLDER --leave-out PEOPLE/train --finder ../../finder/finder.onnx \\
        --teacher movenet_thunder.onnx --out RUN/voc

`BOXES.txt` has a photograph a line: name, then x, y, x, y and class of each object (pixels; 14 is a person). People have boxes
only, so this is for the person detector. Some people are in no line, as they are hard to see: a box of the shipped
detector in which MoveNet Thunder is sure of a few keypoints goes to `maybe_boxes`. A photograph without either is empty.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from evaluate_finder import Finder
from label_photos import Teacher, unlisted

PERSON = "14"
SIDE = 448
"""Longest side of the photographs written, pixels: as in the index folder that is given."""

Box = tuple[float, float, float, float]


def boxes_of(line: str) -> tuple[str, list[Box]]:
    """Name of the photograph, and the boxes (x, y, width, height; pixels) of its people.

    Raises ValueError where the objects are not five numbers each.
    """
    name, *numbers = line.split()
    if len(numbers) % 5:
        raise ValueError(f"{name}: {len(numbers)} numbers, wanted five for each object (x, y, x, y, class)")
    objects = [numbers[i : i + 5] for i in range(0, len(numbers), 5)]
    corners = [[float(v) for v in o[:4]] for o in objects if o[4] == PERSON]
    return name, [(x0, y0, x1 - x0, y1 - y0) for x0, y0, x1, y1 in corners]


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("boxes", type=Path)
    p.add_argument("--photos", type=Path, required=True)
    p.add_argument("--leave-out", type=Path, nargs="*", default=[], help="folders whose photographs are there already")
    p.add_argument("--finder", type=Path, required=True)
    p.add_argument("--teacher", type=Path, required=True)
    p.add_argument("--empty", type=int, default=900, help="photographs without people taken: most show animals")
    p.add_argument("--out", type=Path, required=True)
    a = p.parse_args()
    cv2.setNumThreads(1)
    there = {
        f["file"].split("_", 1)[-1].removeprefix("voc_")
        for folder in a.leave_out
        for f in json.loads((folder / "index.json").read_text())["frames"]
    }
    a.out.mkdir(parents=True, exist_ok=True)
    finder, teacher = Finder(a.finder), Teacher(a.teacher)
    frames: list[dict[str, Any]] = []
    for line in a.boxes.read_text().splitlines():
        name, boxes = boxes_of(line)
        if name in there or not (a.photos / name).exists():
            continue
        if not boxes and sum(f["negative"] for f in frames) >= a.empty:
            continue
        picture = cv2.imread(str(a.photos / name))
        if picture is None:
            raise SystemExit(f"{a.photos / name}: does not decode as a picture")
        scale = SIDE / max(picture.shape[:2])
        size = round(picture.shape[1] * scale), round(picture.shape[0] * scale)
        small = np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)
        cv2.imwrite(str(a.out / f"voc_{name}"), small, [cv2.IMWRITE_JPEG_QUALITY, 90])
        scaled = [(x * scale, y * scale, w * scale, h * scale) for x, y, w, h in boxes]
        maybe = unlisted(np.ascontiguousarray(small[:, :, ::-1]), scaled, finder, teacher)
        frames.append(
            {
                "file": f"voc_{name}",
                "width": size[0],
                "height": size[1],
                "source": "Pascal VOC 2012",
                "licence": "Pascal VOC (Flickr, terms by photo)",
                "origin": name.removesuffix(".jpg"),
                "people": [],
                "other_boxes": [[round(v, 1) for v in b] for b in scaled],
                "maybe_boxes": [[round(v, 1) for v in b] for b in maybe],
                "negative": not boxes and not maybe,
            }
        )
    if not frames:
        raise SystemExit(f"{a.out}: none of the photographs has a line; look at --photos and at the file of boxes")
    (a.out / "index.json").write_text(json.dumps({"frames": frames}))
    empty = sum(f["negative"] for f in frames)
    print(f"{a.out}: {len(frames)} photographs, {empty} without people")


if __name__ == "__main__":
    main()
