"""Labels further photographs with a teacher's keypoints, in the form of the photographs' index (photos.py).

    python label_photos.py PEOPLE CHECKOUT --teacher movenet_thunder.onnx --finder ../../finder/finder.onnx \
        --out RUN/more

`PEOPLE` is the folder with `candidates.json.gz` (photographs with boxes of people, as fractions of the picture) and
`candidate_aspect.json.gz` (evidence for the proportion of each; the source squeezed every photograph to a square), `CHECKOUT` a
checkout of the repository they come from. Photographs that the indexes of `PEOPLE/train` and `PEOPLE/eval` hold are left out.

A keypoint is trusted (2) where MoveNet Thunder is sure of it and its answer on the mirrored crop agrees, less so (1) where both
are weaker, else unknown (0). Boxes that are too small, or without enough trusted keypoints, go to `other_boxes`. The source's
boxes are incomplete: with `--finder`, a box of the person detector on none of them in which the teacher is sure of a few keypoints
goes to `maybe_boxes`, of which a person detector learns nothing. The run can be stopped and started again: it goes on where it
stopped.
"""

from __future__ import annotations

import argparse
import gzip
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from evaluate_finder import Finder
from photos import MIRROR, overlap, read_index

SIDE = 448
"""Longest side of the photographs written, pixels: as in the index folder that is given."""
TEACHER_SIDE = 256
MARGIN = 1.25
HEIGHT_MIN, AREA_MIN = 0.2, 0.02
"""Smallest height and area of a box that is labelled, as shares of the picture's."""
BOXES_MAX = 4
"""Boxes labelled in one photograph, the largest first: in crowds the teacher is wrong most often."""
SURE, WEAK = (0.4, 0.05), (0.2, 0.1)
"""Least score, and largest distance to the mirrored answer in sides of the crop."""
TRUSTED_MIN = 5
ASPECTS = np.array([1.4, 1.0, 0.71])
ASPECT_PRIOR = np.array([0.04, -0.02, 0.0])
ASPECT_UNKNOWN = 1.2
ASPECT_LEAD = 0.03
"""Where the evidence leads by less than this the proportion is unknown."""

LOOKED_INTO = 0.25
"""Least score of the detector for a box that the teacher looks into."""
LISTED_IOU = 0.3
"""A box that overlaps one of the source's by more is the same person."""

Box = tuple[float, float, float, float]
Floats = NDArray[np.float64]


class Teacher:
    """MoveNet Thunder, as it is and mirrored."""

    def __init__(self, path: Path) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        self.net = ort.InferenceSession(str(path), options, ["CPUExecutionProvider"])
        self.name = self.net.get_inputs()[0].name

    def run(self, crop: NDArray[np.uint8]) -> Floats:
        """Keypoints [17,3] (y, x as shares of the crop, score) of a crop [256,256,3]."""
        (y,) = self.net.run(None, {self.name: crop[None].astype(np.int32)})
        return np.asarray(y, np.float64).reshape(17, 3)

    def label(self, image: NDArray[np.uint8], box: Box) -> Floats:
        """Keypoints [17,3] (x, y in pixels of `image`, trust 0 to 2) of the person in `box` (x, y, width, height; pixels)."""
        x, y, w, h = box
        side = MARGIN * max(w, h)
        s = side / TEACHER_SIDE
        m = np.array([[s, 0, x + w / 2 - side / 2 + 0.5 * s - 0.5], [0, s, y + h / 2 - side / 2 + 0.5 * s - 0.5]])
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        crop = np.asarray(cv2.warpAffine(image, m, (TEACHER_SIDE, TEACHER_SIDE), flags=flags), np.uint8)
        a, b = self.run(crop), self.run(np.ascontiguousarray(crop[:, ::-1]))[MIRROR]
        b[:, 1] = 1 - b[:, 1]
        apart = np.hypot(*(a[:, :2] - b[:, :2]).T)
        wa, wb = a[:, 2:] + 1e-3, b[:, 2:] + 1e-3
        place = (a[:, :2] * wa + b[:, :2] * wb) / (wa + wb) * TEACHER_SIDE - 0.5
        score = (a[:, 2] + b[:, 2]) / 2
        trust = [(score >= least) & (apart < most) for least, most in (SURE, WEAK)]
        v = np.where(trust[0], 2, np.where(trust[1], 1, 0))
        return np.stack([s * place[:, 1] + m[0, 2], s * place[:, 0] + m[1, 2], v], 1)


def unlisted(picture: NDArray[np.uint8], listed: list[Box], finder: Finder, teacher: Teacher) -> list[Box]:
    """Boxes of what may be people beside those that are listed (x, y, width, height; pixels)."""
    found = [d.box for d in finder(picture) if d.score >= LOOKED_INTO]
    new = [box for box in found if all(overlap(box, other) < LISTED_IOU for other in listed)]
    return [box for box in new if (teacher.label(picture, box)[:, 2] == 2).sum() >= TRUSTED_MIN]


def proportion(evidence: list[float] | None) -> float:
    """Width over height of a photograph that was squeezed to a square; the middle of all where the evidence is weak."""
    if evidence is None:
        return ASPECT_UNKNOWN
    p = np.sort(np.array(evidence) + ASPECT_PRIOR)
    best = int(np.argmax(np.array(evidence) + ASPECT_PRIOR))
    return float(ASPECTS[best]) if p[-1] - p[-2] > ASPECT_LEAD else ASPECT_UNKNOWN


def frame_of(
    entry: dict[str, Any], image: NDArray[np.uint8], teacher: Teacher, finder: Finder | None
) -> dict[str, Any]:
    """The index entry of a photograph in its true proportion."""
    h, w = image.shape[:2]
    boxes = [(x * w, y * h, bw * w, bh * h) for x, y, bw, bh in entry["boxes"]]
    large = [b for b in boxes if b[3] > HEIGHT_MIN * h and b[2] * b[3] > AREA_MIN * w * h]
    large.sort(key=lambda b: -b[2] * b[3])
    people, others = [], [b for b in boxes if b not in large[:BOXES_MAX]]
    for box in large[:BOXES_MAX]:
        k = teacher.label(image, box)
        if (k[:, 2] == 2).sum() < TRUSTED_MIN:
            others.append(box)
            continue
        rounded = [round(float(v), 1) for v in box]
        people.append(
            {"box": rounded, "keypoints": [round(float(v), 1) for v in k.ravel()], "label": "teacher:movenet-thunder"}
        )
    maybe = unlisted(image, boxes, finder, teacher) if finder else []
    return {
        "file": f"{entry['kind']}_{entry['id']}.jpg",
        "width": w,
        "height": h,
        "source": "brianhuster/human-dataset",
        "licence": "CC BY 2.0 (Open Images)"
        if entry["kind"] == "oi"
        else "COCO train2017 (Flickr, CC licence by photo)",
        "origin": entry["id"],
        "people": people,
        "other_boxes": [[round(float(v), 1) for v in b] for b in others],
        "maybe_boxes": [[round(float(v), 1) for v in b] for b in maybe],
    }


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("people", type=Path)
    p.add_argument("checkout", type=Path)
    p.add_argument("--teacher", type=Path, required=True)
    p.add_argument("--finder", type=Path, help="a person detector, ONNX, for people whom the source has no box of")
    p.add_argument("--out", type=Path, required=True)
    a = p.parse_args()
    cv2.setNumThreads(1)
    known = {f.origin for part in ("train", "eval") for f in read_index(a.people / part)}
    known |= {f.file.split("_")[-1].removesuffix(".jpg") for f in read_index(a.people / "eval")}
    entries = [e for e in json.loads(gzip.open(a.people / "candidates.json.gz").read()) if e["id"] not in known]
    evidence = json.loads(gzip.open(a.people / "candidate_aspect.json.gz").read())
    a.out.mkdir(parents=True, exist_ok=True)
    lines = a.out / "labels.jsonl"
    done = [json.loads(line) for line in lines.read_text().splitlines()] if lines.exists() else []
    had = {f["origin"] for f in done}
    teacher, finder = Teacher(a.teacher), Finder(a.finder) if a.finder else None
    entries.sort(key=lambda e: -max(b[2] * b[3] for b in e["boxes"]) if e["boxes"] else 0)
    with lines.open("a") as out:
        for n, entry in enumerate(entries):
            if entry["id"] in had or not entry["boxes"]:
                continue
            bgr = cv2.imread(str(a.checkout / entry["file"]))
            if bgr is None:
                raise SystemExit(f"{a.checkout / entry['file']}: no such photograph, or it does not decode")
            ratio = proportion(evidence.get(entry["id"]))
            size = (SIDE, round(SIDE / ratio)) if ratio >= 1 else (round(SIDE * ratio), SIDE)
            bgr = cv2.resize(bgr, size, interpolation=cv2.INTER_AREA)
            frame = frame_of(entry, np.ascontiguousarray(bgr[:, :, ::-1]), teacher, finder)
            cv2.imwrite(str(a.out / frame["file"]), bgr, [cv2.IMWRITE_JPEG_QUALITY, 88])
            out.write(json.dumps(frame) + "\n")
            out.flush()
            done.append(frame)
            if n % 200 == 0:
                print(n, len(entries), sum(len(f["people"]) for f in done), "people", flush=True)
                (a.out / "index.json").write_text(json.dumps({"frames": done}))
    (a.out / "index.json").write_text(json.dumps({"frames": done}))
    print(f"{a.out}: {len(done)} photographs, {sum(len(f['people']) for f in done)} people with keypoints")


if __name__ == "__main__":
    main()
