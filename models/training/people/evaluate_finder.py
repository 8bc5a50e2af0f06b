"""Measures finders on photographs labelled by hand and on photographs without people, and chooses their threshold.

    python evaluate_finder.py DATA/people --more RUN/more --finder new=../../finder/finder.onnx --finder old=OLD/finder.onnx \\
        --json ../../../docs/lab/people.json

`DATA/people` holds `eval` and `train`. The threshold is chosen on photographs of `train` that no network was trained on
(`choosing`): half of the empty ones and those with people. Figures are on `eval` and on the other half of the empty ones.
"""

from __future__ import annotations

import argparse
import re
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from answers import NetworkFault, opened, sha256
from evaluate_photos import named
from figures import FiguresFault, record
from photos import (
    EMPTY_HELD_OUT_EVERY,
    Box,
    Image,
    IndexFault,
    Photo,
    covered,
    open_folders,
    overlap,
    read_index,
    read_photo,
)

FLOOR = 0.05
"""Boxes with a lower score are of no interest."""
IOU_MAX = 0.5
"""Of two boxes that overlap more, the program leaves out the lower score."""
FOUND_IOU = 0.5
BOX_UNIT_PX, FILL, CANDIDATES = 8.0, 114, 64
"""As in src/detect/decode/boxes.rs and models/finder/model.toml."""
HEIGHTS = {
    "40 to 80": (40.0, 80.0),
    "80 to 160": (80.0, 160.0),
    "160 to 320": (160.0, 320.0),
    "over 320": (320.0, np.inf),
    "80 and more": (80.0, np.inf),
}
EMPTY_SHARES = {"for 5 % of empty frames": 0.05, "for 2 % of empty frames": 0.02}
"""Shares of empty frames with a box for which thresholds are chosen."""


@dataclass(frozen=True)
class Detection:
    """A box (x, y, width, height; pixels) and its score."""

    score: float
    box: Box


class Finder:
    """A finder behind its letterbox, decoded as the program does."""

    def __init__(self, path: Path) -> None:
        self.net = opened(path, 4, ("score", "box"))
        self.side = int(self.net.get_inputs()[0].shape[2])

    def __call__(self, picture: Image) -> list[Detection]:
        """Boxes of people, best first, down to `FLOOR`. Those over a higher threshold are the first of them."""
        height, width = picture.shape[:2]
        s = self.side / max(height, width)
        w, h = max(1, round(width * s)), max(1, round(height * s))
        left, top = (self.side - w) // 2, (self.side - h) // 2
        x = np.full((self.side, self.side, 3), FILL, np.uint8)
        x[top : top + h, left : left + w] = cv2.resize(picture, (w, h), interpolation=cv2.INTER_AREA)
        score, edges = self.net.run(["score", "box"], {"image": x.transpose(2, 0, 1)[None].astype(np.float32) / 255})
        stride = self.side / score.shape[-1]
        chance = 1 / (1 + np.exp(-score[0, 0].astype(np.float64)))
        highest = cv2.dilate(chance, np.ones((3, 3), np.uint8), borderType=cv2.BORDER_REPLICATE)
        rows, columns = np.nonzero((chance >= highest) & (chance >= FLOOR))
        order = np.argsort(-chance[rows, columns], kind="stable")[:CANDIDATES]
        kept: list[Detection] = []
        for row, column in zip(rows[order], columns[order], strict=True):
            cx, cy = stride * column + (stride - 1) / 2, stride * row + (stride - 1) / 2
            e = BOX_UNIT_PX * edges[0, :, row, column].clip(min=0)
            corners = [(cx - e[0] - left + 0.5) / s, (cy - e[1] - top + 0.5) / s]
            corners += [(cx + e[2] - left + 0.5) / s, (cy + e[3] - top + 0.5) / s]
            x0, y0, x1, y1 = (float(v) for v in corners)
            box = (x0, y0, x1 - x0, y1 - y0)
            if all(overlap(box, other.box) <= IOU_MAX for other in kept):
                kept.append(Detection(float(chance[row, column]), box))
        return kept


@dataclass
class Seen:
    """A photograph and what a finder sees in it."""

    photo: Photo
    found: list[Detection]

    def over(self, threshold: float) -> list[Detection]:
        """The detections over a threshold."""
        return [d for d in self.found if d.score >= threshold]

    @property
    def best(self) -> float:
        """The highest score."""
        return max((d.score for d in self.found), default=0.0)

    def matched(self, threshold: float) -> tuple[list[bool], int]:
        """Which people are found (each by a box of its own), and how many boxes are false.

        Boxes on people without keypoints, or on what may be people, are neither found nor false.
        """
        people = [p.box for p in self.photo.people]
        found = [False] * len(people)
        false = 0
        free = list(self.photo.other_boxes)
        for d in self.over(threshold):
            best = max(
                (k for k in range(len(people)) if not found[k]), key=lambda k: overlap(d.box, people[k]), default=-1
            )
            if best >= 0 and overlap(d.box, people[best]) >= FOUND_IOU:
                found[best] = True
                continue
            other = max(free, key=lambda b: overlap(d.box, b), default=None)
            if other is not None and overlap(d.box, other) >= FOUND_IOU:
                free.remove(other)
                continue
            false += not any(covered(d.box, b) for b in self.photo.maybe_boxes)
        return found, false


def recall(seen: list[Seen], threshold: float) -> dict[str, dict[str, Any]]:
    """Share of people who are found, by height."""
    return recall_by_height(
        [(p.box[3], hit) for s in seen for p, hit in zip(s.photo.people, s.matched(threshold)[0], strict=True)]
    )


def recall_by_height(rows: list[tuple[float, bool]]) -> dict[str, dict[str, Any]]:
    """Share of people who are found, and their number, for each of `HEIGHTS`; a row is a height and whether found."""
    heights, hits = np.array([h for h, _ in rows]), np.array([hit for _, hit in rows], bool)
    out = {}
    for name, (least, most) in HEIGHTS.items():
        counted = (heights >= least) & (heights < most)
        n = int(counted.sum())
        out[name] = {"share": round(float(hits[counted].mean()), 4) if n else None, "people": n}
    return out


def choose_threshold(empty: list[Seen], people: list[Seen], empty_share: float) -> float:
    """The threshold at which at most `empty_share` of the empty photographs have a box over it, and most people are found.

    Between the lowest such threshold and the next empty photograph's score any would do: taken is the highest that finds as many
    people as the lowest. Raises ValueError without empty photographs.
    """
    if not empty:
        raise ValueError("no photograph without people to choose a threshold on")
    scores = sorted((s.best for s in empty), reverse=True)
    allowed = int(empty_share * len(scores))
    low = scores[allowed] if allowed < len(scores) else FLOOR
    high = scores[allowed - 1] if allowed else 1.0
    # A box of the same score as the last that may not be shown would be shown.
    low = float(np.nextafter(low, 1.0))
    hits = sorted(
        d.score for s in people for d in s.over(low) if any(overlap(d.box, p.box) >= FOUND_IOU for p in s.photo.people)
    )
    return min([high, *hits[:1]]) if high > low else low


def half(photo: Photo) -> int:
    """0 for the half of the empty photographs that thresholds are chosen on, 1 for the other."""
    return photo.number // EMPTY_HELD_OUT_EVERY % 2


def at(threshold: float, why: str, labelled: list[Seen], empty: list[Seen]) -> dict[str, Any]:
    """The figures at one threshold."""
    false = sum(s.matched(threshold)[1] for s in labelled)
    return {
        "threshold": round(threshold, 4),
        "why": why,
        "recall": recall(labelled, threshold),
        "false_boxes_a_frame": round(false / max(1, len(labelled)), 4),
        "empty_share": round(float(np.mean([s.best >= threshold for s in empty])), 4) if empty else None,
    }


def look(
    finder: Finder,
    folders: list[tuple[Path, list[Photo]]],
    which: Callable[[Photo], bool],
) -> list[Seen]:
    """What the finder sees in the photographs that count."""
    out = []
    for folder, photos in folders:
        for photo in photos:
            if which(photo):
                out.append(Seen(photo, finder(read_photo(folder, photo))))
    return out


def score_sure(path: Path) -> float | None:
    """The threshold in the `model.toml` beside the network, where it belongs to it."""
    toml = path.with_name("model.toml")
    if not toml.exists():
        return None
    described = tomllib.loads(toml.read_text())
    return float(described["decoder"]["score_sure"]) if described["network"]["sha256"] == sha256(path) else None


def write_toml(path: Path, threshold: float) -> None:
    """Puts a threshold into a finder's `model.toml` as `score_sure`. Raises ValueError where that names none."""
    new, count = re.subn(
        r'(?m)^(decoder = \{ type = "finder", .*?score_sure = )[0-9.]+', rf"\g<1>{threshold:.3f}", path.read_text()
    )
    if count != 1:
        raise ValueError(f'{path}: {count} lines decoder = {{ type = "finder", ... score_sure = ... }}, wanted one')
    part = path.with_suffix(".part")
    part.write_text(new)
    part.replace(path)


def measure(a: argparse.Namespace) -> None:
    """Prints and records the figures of all finders."""
    labelled = [(a.people / "eval", read_index(a.people / "eval"))]
    training = open_folders([str(f) for f in (a.people / "train", *a.more)])
    measured: dict[str, Any] = {}
    on: dict[str, Any] = {}
    for name, path in a.finder:
        finder = Finder(path)
        seen = look(finder, labelled, lambda photo: True)
        empty = look(finder, training, lambda photo: photo.negative and photo.empty_held_out)
        held = look(finder, training, lambda photo: not (photo.negative or photo.measured_on) and photo.held_out)
        chosen_on, reported = ([s for s in empty if half(s.photo) == k] for k in (0, 1))
        if not chosen_on or not reported:
            raise IndexFault(f"{a.people / 'train'}: no photographs without people that are held out")
        shipped = score_sure(path)
        points = {"model.toml": shipped} if shipped is not None else {}
        points |= {f"given, {n}": t for n, t in enumerate(a.threshold, 1)}
        points |= {why: choose_threshold(chosen_on, held, wanted) for why, wanted in EMPTY_SHARES.items()}
        if a.write and not measured:
            write_toml(a.write, choose_threshold(chosen_on, held, a.empty_share))
        measured[name] = {"sha256": sha256(path), "side": finder.side, "points": []}
        for why, threshold in points.items():
            f = at(threshold, why, seen, reported)
            f["chosen_on"] = {k: at(threshold, why, held, chosen_on)[k] for k in ("recall", "empty_share")}
            measured[name]["points"].append(f)
            shares = ", ".join(f"{h} px {r['share']} of {r['people']}" for h, r in f["recall"].items())
            print(f"{name} at {threshold:.3f} ({why}): {shares}")
            print(
                f"   {f['false_boxes_a_frame']:.2f} false boxes a frame; of {len(reported)} empty frames a box in",
                f"{f['empty_share']:.3f}; chosen on: {f['chosen_on']['empty_share']},",
                f"recall {f['chosen_on']['recall']['80 and more']}",
                flush=True,
            )
        on = {"index_sha256": [sha256(a.people / part / "index.json") for part in ("eval", "train")]}
        on |= {"frames": len(seen), "empty_reported": len(reported), "empty_chosen_on": len(chosen_on)}
        on |= {"people_chosen_on": len(held)}
    if a.json:
        record(a.json, "finder", on, measured)


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("people", type=Path, help="folder with eval/ and train/")
    p.add_argument("--more", type=Path, nargs="*", default=[], help="further folders of photographs to choose on")
    p.add_argument("--finder", type=named, action="append", required=True, metavar="NAME=ONNX")
    p.add_argument("--threshold", type=float, nargs="*", default=[], help="figures at these thresholds as well")
    p.add_argument("--write", type=Path, help="model.toml of the first finder, to put its threshold into")
    p.add_argument(
        "--empty-share", type=float, default=0.05, help="of empty photographs with a box, for the threshold written"
    )
    p.add_argument("--json", type=Path, help="file of figures to put these into (figures.py)")
    a = p.parse_args()
    cv2.setNumThreads(1)
    try:
        measure(a)
    except (IndexFault, NetworkFault, FiguresFault) as fault:
        raise SystemExit(str(fault)) from None


if __name__ == "__main__":
    main()
