"""Keypoints that people marked in COCO, for photographs of COCO at hand, in the form of the photographs' index (photos.py).

    python coco_labels.py LABELS --photos CHECKOUT --leave-out PEOPLE/eval --out RUN/hand

`LABELS` holds text files `<12 digits>.txt` in the form of YOLO's pose labels, a person a line: class, box (centre, width,
height) and 17 keypoints (x, y, visibility 0 to 2), as fractions of the photograph; people without a marked keypoint are left
out there. `CHECKOUT` holds photographs whose names begin with the same digits, perhaps squeezed to a square. COCO's
keypoints are whole pixels, so the true size of a photograph is the one that makes their fractions whole numbers. A text
file beside a squeezed photograph (`labels/` for `images/`) with boxes `class, centre, width, height` tells of the people
without keypoints; photographs without it are not for the person detector, which would take those people for background.

A keypoint is trusted (2) where it was marked as visible, less so (1) where it was marked as covered.
"""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from photos import BY_HAND

SIDE = 448
"""Longest side of the photographs written, pixels: as in the index folder that is given."""
LONGEST = 640
"""Longest side of a photograph of COCO, pixels."""
SHORTEST = 150
DIGITS = 5e-7
"""What rounding to six digits changes in a fraction."""
VALUES_MIN = 4
"""Fewer different fractions do not tell the size."""
KEYPOINTS_MIN = 4
HEIGHT_MIN = 40.0
"""Smaller people, in pixels of the photograph written, are kept as boxes only."""
SAME_IOU = 0.5
NAME = re.compile(r"^(\d{12})[._].*(jpg|jpeg|png)$", re.IGNORECASE)

Floats = NDArray[np.float64]


def rows_of(path: Path) -> Floats:
    """The people of a label file [N,56]: class, box, 17 keypoints. Raises ValueError where a line has another length."""
    lines = [line.split() for line in path.read_text().splitlines() if line.strip()]
    for n, line in enumerate(lines, 1):
        if len(line) != 56:
            raise ValueError(f"{path}:{n}: {len(line)} numbers, wanted 56 (class, box, 17 keypoints)")
    return np.array(lines, np.float64).reshape(-1, 56)


def length_of(fractions: Floats, lengths: range) -> int | None:
    """The length in pixels that makes the fractions whole numbers; none where none or too few tell."""
    values = np.unique(fractions[(fractions > 0) & (fractions < 1)])
    if len(values) < VALUES_MIN:
        return None
    fits = [n for n in lengths if np.abs(values * n - np.round(values * n)).max() <= 2 * DIGITS * n + 1e-9]
    return fits[-1] if len(fits) == 1 or (fits and fits[-1] == LONGEST) else None


def size_of(keypoints: Floats) -> tuple[int, int] | None:
    """Width and height of the photograph that keypoints [N,17,3] (fractions) were marked in: one of them is the longest side."""
    marked = keypoints[keypoints[..., 2] > 0]
    lengths = range(SHORTEST, LONGEST + 1)
    width, height = length_of(marked[:, 0], lengths), length_of(marked[:, 1], lengths)
    return (width, height) if width and height and max(width, height) == LONGEST else None


def overlap(a: Floats, b: Floats) -> float:
    """Intersection over union of boxes (x, y, width, height)."""
    w = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    h = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    common = max(w, 0) * max(h, 0)
    return float(common / (a[2] * a[3] + b[2] * b[3] - common))


def corner(boxes: Floats, size: tuple[int, int]) -> Floats:
    """Boxes (centre, size; fractions) as x, y, width, height in pixels, cut at the border."""
    scale = np.array([*size, *size])
    low = np.clip(boxes[:, :2] - boxes[:, 2:] / 2, 0, 1)
    high = np.clip(boxes[:, :2] + boxes[:, 2:] / 2, 0, 1)
    return np.concatenate([low, high - low], 1) * scale


def people_of(rows: Floats, size: tuple[int, int]) -> tuple[list[dict[str, Any]], list[list[float]]]:
    """People with keypoints, and the boxes of the others."""
    people, others = [], []
    for row, box in zip(rows, corner(rows[:, 1:5], size), strict=True):
        k = row[5:].reshape(17, 3)
        rounded = [round(float(v), 1) for v in box]
        if min(rounded[2:]) <= 0:
            continue
        if (k[:, 2] > 0).sum() < KEYPOINTS_MIN or box[3] < HEIGHT_MIN:
            others.append(rounded)
            continue
        k = np.concatenate([k[:, :2] * size, k[:, 2:]], 1)
        people.append({"box": rounded, "keypoints": [round(float(v), 1) for v in k.ravel()], "label": "COCO"})
    return people, others


def frame_of(name: str, photo: Path, labels: Path) -> tuple[dict[str, Any], NDArray[np.uint8]] | None:
    """The index entry and the picture; none where the size is not known or no one large enough is marked."""
    rows = rows_of(labels)
    picture = cv2.imread(str(photo))
    if picture is None:
        raise ValueError(f"{photo}: no such photograph, or it does not decode")
    whole = size_of(rows[:, 5:].reshape(-1, 17, 3))
    if whole is None:
        if max(picture.shape[:2]) != LONGEST or picture.shape[0] == picture.shape[1]:
            return None
        whole = picture.shape[1], picture.shape[0]
    scale = SIDE / max(whole)
    size = round(whole[0] * scale), round(whole[1] * scale)
    people, others = people_of(rows, size)
    if not people:
        return None
    beside = photo.parent.parent / "labels" / f"{photo.stem}.txt"
    if beside.exists():
        have = [np.array(p["box"]) for p in people] + [np.array(b) for b in others]
        boxes = [[float(v) for v in line.split()[1:5]] for line in beside.read_text().splitlines() if line.strip()]
        for box in corner(np.array(boxes).reshape(-1, 4), size):
            if min(box[2:]) >= 1 and all(overlap(box, b) < SAME_IOU for b in have):
                others.append([round(float(v), 1) for v in box])
    frame = {
        "file": f"coco_{name}.jpg",
        "width": size[0],
        "height": size[1],
        "source": BY_HAND,
        "licence": "COCO 2017 (Flickr, CC licence by photo)",
        "origin": name,
        "people": people,
        "other_boxes": others,
        "maybe_boxes": [],
    }
    return frame, np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("labels", type=Path)
    p.add_argument("--photos", type=Path, nargs="+", required=True)
    p.add_argument("--leave-out", type=Path, nargs="*", default=[], help="folders whose photographs are for measuring")
    p.add_argument("--out", type=Path, required=True)
    a = p.parse_args()
    cv2.setNumThreads(1)
    left_out = {
        part
        for folder in a.leave_out
        for frame in json.loads((folder / "index.json").read_text())["frames"]
        for part in re.findall(r"\d{12}", frame["file"] + " " + str(frame.get("origin", "")))
    }
    labels = {path.stem: path for path in a.labels.rglob("*.txt") if re.fullmatch(r"\d{12}", path.stem)}
    photos = {m[1]: path for folder in a.photos for path in folder.rglob("*") if (m := NAME.match(path.name))}
    a.out.mkdir(parents=True, exist_ok=True)
    frames, unknown = [], 0
    for name in sorted((labels.keys() & photos.keys()) - left_out):
        done = frame_of(name, photos[name], labels[name])
        if done is None:
            unknown += 1
            continue
        frame, picture = done
        cv2.imwrite(str(a.out / frame["file"]), picture, [cv2.IMWRITE_JPEG_QUALITY, 92])
        frames.append(frame)
    if not frames:
        raise SystemExit(f"{a.out}: none of the photographs has labels; look at --photos and at the labels' folder")
    (a.out / "index.json").write_text(json.dumps({"frames": frames}))
    count = sum(len(f["people"]) for f in frames)
    print(
        f"{a.out}: {len(frames)} photographs, {count} people with keypoints; {unknown} left out (size not known, or no one)"
    )


if __name__ == "__main__":
    main()
