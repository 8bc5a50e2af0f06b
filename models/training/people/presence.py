"""Fits and measures when a box of the person detector becomes a person: the chance that both networks give it.

    python presence.py DATA/people --more RUN/more --pair shipped=../../finder/finder.onnx:../../person/person.onnx \\
        --write ../../person/model.toml --json ../../../docs/lab/people.json

The fit is `PresenceFit` of src/engine/models/describe.rs: logit(chance) = score * logit(s) + seen * logit(c) + place * logit(p) + bias,
with `s` the detector's score and `c`, `p` the means of the better half of the keypoints' visibilities and place chances in the box.
MoveNet's score is both `c` and `p`. The program looks at the detector's box, and, where a person is not out of the question, at the box of the keypoints found there, until
that is the box that was looked at. Evidence is that of the last look, and recall counts the boxes published; the program gives up where
any look makes a person unlikely, this only where the first does. The fit is found by logistic regression on boxes of photographs that no network was trained on, and its bias is set so that at most
`--empty-share` of the empty ones among them show a person. Figures are on photographs labelled by hand and on other empty ones.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from answers import Answer, Floats, Network, NetworkFault, answers, keypoint_network, logit, sha256
from confidence import regress
from evaluate_finder import FOUND_IOU, Detection, Finder, half, recall_by_height
from figures import FiguresFault, record
from photos import Box, Image, IndexFault, Photo, covered, open_folders, overlap, read_index, read_photo

LEAST = 0.12
"""Boxes with a lower score are never looked into: the program's `score_min` is chosen above."""
BESIDE_IOU = 0.3
"""A box that overlaps a person by more than this, and by less than `FOUND_IOU`, is no example of either kind."""
PEOPLE_MAX = 8
"""Boxes of a frame that the program looks into (src/base/limits.rs)."""
LOOK_AGAIN, LOOKS_MAX, SAME_CROP = 0.05, 4, 0.8
"""Least chance after the first look for another one, looks at most, and the overlap of boxes that are the same (src/detect/people.rs)."""
PLACE_GATE, BOX_MARGIN, GROWTH = 0.3, 0.1, 0.2
"""How a box follows from keypoints (src/detect/regions.rs)."""
TURN_FROM = 0.6
"""From which lean on, radians, a crop is turned (src/detect/regions.rs)."""
SAME = 0.7
"""Boxes that overlap more are of one person; the program compares keypoints."""


@dataclass
class Frame:
    """A photograph, the boxes published of what the detector found in it, with its scores, and what both networks say of each [n,3] at
    the `first` look and at the last: logits of score, seen, place."""

    photo: Photo
    boxes: list[Detection]
    first: Floats
    evidence: Floats

    def chances(self, fit: Floats) -> Floats:
        """Logits of the chance that each box holds a person [n]; -inf where there is no other look, and below the score that `fit` [5]
        ends with."""
        if not self.boxes:
            return np.zeros(0)
        again = self.first @ fit[:3] + fit[3] >= np.log(LOOK_AGAIN / (1 - LOOK_AGAIN))
        asked = again & (np.array([d.score for d in self.boxes]) >= fit[4])
        return np.where(asked, self.evidence @ fit[:3] + fit[3], -np.inf)

    def people(self, fit: Floats) -> list[Detection]:
        """The boxes that become people, each person once."""
        shown: list[Detection] = []
        for d, z in zip(self.boxes, self.chances(fit), strict=True):
            if z >= 0 and all(overlap(d.box, other.box) <= SAME for other in shown):
                shown.append(d)
        return shown


def better_half(values: Floats) -> Floats:
    """Mean of the better half of [N,17]."""
    return np.sort(values, 1)[:, -((values.shape[1] + 1) // 2) :].mean(1)


def box_of(answer: Answer, row: int, looked_at: Box) -> Box:
    """The box of a person's keypoints, no further outside the box that was looked at than a person moves from frame to frame."""
    placed = np.maximum(answer.place[row], answer.visibility[row]) >= PLACE_GATE
    if placed.sum() < 2:
        return looked_at
    least, most = answer.xy[row, placed].min(0), answer.xy[row, placed].max(0)
    margin = BOX_MARGIN * float((most - least).max())
    x, y, w, h = looked_at
    room = GROWTH * max(w, h)
    left, top = np.maximum(least - margin, [x - room, y - room])
    right, bottom = np.minimum(most + margin, [x + w + room, y + h + room])
    return (
        (float(left), float(top), float(right - left), float(bottom - top))
        if right > left and bottom > top
        else looked_at
    )


def in_picture(box: Box, picture: Image) -> Box:
    """The part of a box that lies in the picture, one pixel at least: what the program looks at, and publishes."""
    height, width = picture.shape[:2]
    x, y, w, h = box
    left, top = min(max(x, 0.0), width - 1.0), min(max(y, 0.0), height - 1.0)
    right, bottom = max(min(x + w, width), left + 1.0), max(min(y + h, height), top + 1.0)
    return left, top, right - left, bottom - top


def evidence_of(boxes: list[Detection], answer: Answer) -> Floats:
    """Logits of score, seen and place of boxes [n,3]."""
    columns = [np.array([d.score for d in boxes]), better_half(answer.visibility), better_half(answer.place)]
    return logit(np.stack(columns, 1))


def closed_in(person: Network, picture: Image, found: Detection, box: Box) -> tuple[Box, Floats]:
    """The box and the evidence [1,3] of looks at a person, from the box of the first look's keypoints on."""
    evidence = np.zeros((1, 3))
    box = in_picture(box, picture)
    for _ in range(1, LOOKS_MAX):
        answer = answers(person, [(picture, box)], TURN_FROM)
        evidence = evidence_of([found], answer)
        looked_at, box = box, in_picture(box_of(answer, 0, box), picture)
        if overlap(looked_at, box) >= SAME_CROP:
            break
    return box, evidence


def look(
    finder: Finder, person: Network, folders: list[tuple[Path, list[Photo]]], which: Callable[[Photo], bool]
) -> list[Frame]:
    """Both networks on the photographs that count."""
    out = []
    for folder, photos in folders:
        for photo in photos:
            if not which(photo):
                continue
            picture = read_photo(folder, photo)
            found = [d for d in finder(picture) if d.score >= LEAST][:PEOPLE_MAX]
            boxes = [Detection(d.score, in_picture(d.box, picture)) for d in found]
            if not boxes:
                out.append(Frame(photo, [], np.zeros((0, 3)), np.zeros((0, 3))))
                continue
            first = answers(person, [(picture, d.box) for d in boxes])
            closer = [closed_in(person, picture, d, box_of(first, row, d.box)) for row, d in enumerate(boxes)]
            shown = [Detection(d.score, box) for d, (box, _) in zip(boxes, closer, strict=True)]
            out.append(Frame(photo, shown, evidence_of(boxes, first), np.concatenate([said for _, said in closer])))
    return out


def kind(box: Detection, photo: Photo) -> bool | None:
    """Whether a box holds a person; None where that cannot be told."""
    most = max((overlap(box.box, b) for b in [*(p.box for p in photo.people), *photo.other_boxes]), default=0.0)
    if most >= FOUND_IOU:
        return True
    return None if most > BESIDE_IOU or any(covered(box.box, b) for b in photo.maybe_boxes) else False


def fit(frames: list[Frame], empty: list[Frame], empty_share: float, score_min: float) -> Floats:
    """Weights of score, seen and place, bias, and `score_min` [5]; weights that would be negative are left out.

    Raises ValueError without empty photographs.
    """
    if not empty:
        raise ValueError("no photograph without people to choose a bias on")
    rows: list[Floats] = []
    right: list[bool] = []
    for frame in [*frames, *empty]:
        for box, evidence in zip(frame.boxes, frame.evidence, strict=True):
            if (is_person := kind(box, frame.photo)) is not None:
                rows.append(evidence)
                right.append(is_person)
    x = np.concatenate([np.stack(rows), np.ones((len(rows), 1))], 1)
    used = [0, 1, 2]
    while True:
        beta = regress(x[:, [*used, 3]], np.array(right), np.ones(len(rows)))
        kept = [u for u, b in zip(used, beta, strict=False) if b > 0]
        if kept == used:
            break
        used = kept
    found = np.zeros(5)
    found[used], found[3], found[4] = beta[:-1], beta[-1], score_min
    best = np.array([frame.chances(found).max(initial=-np.inf) for frame in empty])
    allowed = int(empty_share * len(best))
    order = np.sort(best)[::-1]
    # Between the last empty photograph that may show a person and the next one.
    bounds = [order[allowed] if allowed < len(order) else -np.inf, order[allowed - 1] if allowed else np.inf]
    finite = [b for b in bounds if np.isfinite(b)]
    found[3] -= float(np.mean(finite)) + (1e-6 if len(finite) < 2 else 0.0) if finite else 0.0
    return found


def matched(frame: Frame, shown: list[Detection]) -> tuple[list[bool], int]:
    """Which people are found, each by a box of its own, and how many boxes are on no person."""
    found = [False] * len(frame.photo.people)
    false = 0
    for d in shown:
        overlaps = [0.0 if hit else overlap(d.box, p.box) for p, hit in zip(frame.photo.people, found, strict=True)]
        best = int(np.argmax(overlaps)) if overlaps else 0
        if overlaps and overlaps[best] >= FOUND_IOU:
            found[best] = True
        else:
            false += kind(d, frame.photo) is False
    return found, false


def measured(frames: list[Frame], empty: list[Frame], fit: Floats) -> dict[str, Any]:
    """Recall by height, false people a frame, share of empty frames with a person, boxes looked into."""
    rows: list[tuple[float, bool]] = []
    false = 0
    for frame in frames:
        hits, wrong = matched(frame, frame.people(fit))
        rows += [(p.box[3], hit) for p, hit in zip(frame.photo.people, hits, strict=True)]
        false += wrong
    shown = [bool(frame.people(fit)) for frame in empty]
    asked = [int((np.isfinite(frame.chances(fit))).sum()) for frame in empty]
    return {
        "recall": recall_by_height(rows),
        "false_people_a_frame": round(false / max(1, len(frames)), 4),
        "empty_share": round(float(np.mean(shown)), 4) if empty else None,
        "boxes_an_empty_frame": round(float(np.mean(asked)), 2) if empty else None,
    }


def toml_of(fit: Floats) -> str:
    """The part of a heatmap decoder in `model.toml`."""
    return f"presence = {{ score = {fit[0]:.4f}, seen = {fit[1]:.4f}, place = {fit[2]:.4f}, bias = {fit[3]:.4f} }}"


def write_toml(path: Path, fit: Floats) -> None:
    """Puts the fit into a `model.toml`. Raises ValueError where that has no decoder of heatmaps of logits or of MoveNet."""
    text = re.sub(r", presence = \{[^}]*\}", "", path.read_text())
    pattern = r'(?m)^(decoder = \{ type = (?:"heatmap", values = "logits"|"movenet").*?) \}$'
    new, count = re.subn(pattern, lambda m: f"{m.group(1)}, {toml_of(fit)} }}", text)
    if count != 1:
        raise ValueError(f"{path}: {count} lines with the decoder of a heatmap of logits or of MoveNet, wanted one")
    part = path.with_suffix(".part")
    part.write_text(new)
    part.replace(path)


def measure(a: argparse.Namespace) -> None:
    """Fits, prints and records the figures of all pairs of networks."""
    labelled = [(a.people / "eval", read_index(a.people / "eval"))]
    training = open_folders([str(f) for f in (a.people / "train", *a.more)])
    figures: dict[str, Any] = {}
    on: dict[str, Any] = {}
    for name, finder_path, person_path in a.pair:
        finder, person = Finder(finder_path), keypoint_network(person_path)
        seen = look(finder, person, labelled, lambda photo: True)
        empty = look(finder, person, training, lambda photo: photo.negative and photo.empty_held_out)
        held = look(
            finder, person, training, lambda photo: not (photo.negative or photo.measured_on) and photo.held_out
        )
        chosen_on, reported = ([f for f in empty if half(f.photo) == k] for k in (0, 1))
        found = fit(held, chosen_on, a.empty_share, a.score_min)
        f = measured(seen, reported, found)
        f["chosen_on"] = measured(held, chosen_on, found)
        f["fit"] = {k: round(float(v), 4) for k, v in zip(("score", "seen", "place", "bias"), found[:4], strict=True)}
        f["score_min"] = a.score_min
        figures[name] = {"sha256": [sha256(finder_path), sha256(person_path)], **f}
        on = {"index_sha256": [sha256(a.people / part / "index.json") for part in ("eval", "train")]}
        on |= {"frames": len(seen), "empty_reported": len(reported), "empty_chosen_on": len(chosen_on)}
        print(f"{name}: {toml_of(found)}")
        for what, m in (("by hand", f), ("chosen on", f["chosen_on"])):
            shares = ", ".join(f"{h} px {r['share']} of {r['people']}" for h, r in m["recall"].items())
            print(f"   {what}: {shares}; {m['false_people_a_frame']:.2f} false people a frame;", end=" ")
            print(f"of empty frames a person in {m['empty_share']:.3f}, {m['boxes_an_empty_frame']} boxes looked into")
        if a.write and len(figures) == 1:
            write_toml(a.write, found)
    if a.json:
        record(a.json, "presence", on, figures)


def pair(argument: str) -> tuple[str, Path, Path]:
    """`NAME=FINDER:PERSON`."""
    name, sign, paths = argument.partition("=")
    finder, colon, person = paths.partition(":")
    if not (sign and colon and name and finder and person):
        raise argparse.ArgumentTypeError(f"{argument}: wanted NAME=FINDER.onnx:PERSON.onnx")
    return name, Path(finder), Path(person)


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("people", type=Path, help="folder with eval/ and train/")
    p.add_argument("--more", type=Path, nargs="*", default=[], help="further folders of photographs to fit on")
    p.add_argument("--pair", type=pair, action="append", required=True, metavar="NAME=FINDER:PERSON")
    p.add_argument("--empty-share", type=float, default=0.05, help="of empty photographs that may show a person")
    p.add_argument("--score-min", type=float, default=0.16, help="the detector's, below which no box is looked into")
    p.add_argument("--write", type=Path, help="model.toml of the first pair's person network, to put its fit into")
    p.add_argument("--json", type=Path, help="file of figures to put these into (figures.py)")
    a = p.parse_args()
    cv2.setNumThreads(1)
    try:
        measure(a)
    except (IndexFault, NetworkFault, FiguresFault) as fault:
        raise SystemExit(str(fault)) from None


if __name__ == "__main__":
    main()
