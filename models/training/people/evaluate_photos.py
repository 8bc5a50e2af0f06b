"""Measures person networks on photographs labelled by hand, all on the labels' boxes.

    python evaluate_photos.py DATA/people/eval --person shipped=../../person/person.onnx --person old=OLD/person.onnx \\
        --movenet Lightning=LIGHTNING.onnx --movenet Thunder=THUNDER.onnx \\
        --blazepose pose_landmark_full.tflite --blazepose-python VENV/bin/python \\
        --mirror --turned --json ../../../docs/lab/people.json

PCK@t: share of labelled keypoints nearer than t torso lengths (middle of the shoulders to middle of the hips of the label; 0.35 of
the box's height where one of the four is not labelled). Only people of 80 px and more with 8 labels or more count.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from answers import Answer, BlazePose, Floats, Merged, MoveNet, Network, NetworkFault, Person, answers, sha256
from figures import FiguresFault, record
from photos import Box, Image, IndexFault, Photo, read_index, read_photo

HEIGHT_PX_MIN, LABELS_MIN = 80, 8
"""Smaller people, and people with fewer labels, are left out."""
TORSO_SHARE = 0.35
"""A torso's length in heights of the box, where a shoulder or a hip is not labelled."""
LIMITS = (0.1, 0.2)
JOINTS = {
    "nose": [0],
    "eyes": [1, 2],
    "ears": [3, 4],
    "shoulders": [5, 6],
    "elbows": [7, 8],
    "wrists": [9, 10],
    "hips": [11, 12],
    "knees": [13, 14],
    "ankles": [15, 16],
}
HEIGHTS = {"80 to 150": (80.0, 150.0), "150 to 300": (150.0, 300.0), "over 300": (300.0, math.inf)}
SAMPLES, SEED = 2000, 1
"""Of the bootstrap over people."""
BODY_SHARE = 0.53
"""Area of a body in areas of its box: COCO's AP needs an area, and these labels have boxes alone (mmpose takes the same share)."""
TURN_FROM = 0.6
"""As TURN_FROM of src/detect/regions.rs, radians: a person who leans more is turned upright by the program."""
PLAIN = "upright"


@dataclass
class Subjects:
    """N labelled people."""

    people: list[tuple[Image, Box]]
    points: Floats
    """Labels [N,17,2], pixels."""
    labelled: NDArray[np.bool_]
    visible: NDArray[np.bool_]
    torsos: Floats
    """Lengths [N], pixels."""

    @property
    def heights(self) -> Floats:
        """Of the boxes [N], pixels."""
        return np.array([box[3] for _, box in self.people])

    def errors(self, xy: Floats) -> Floats:
        """Distances [N,17] in torso lengths; NaN where there is no label."""
        apart = np.hypot(*np.moveaxis(xy - self.points, -1, 0)) / self.torsos[:, None]
        return np.where(self.labelled, apart, np.nan)


def torso_of(xy: Floats, known: NDArray[np.bool_], height: float) -> float:
    """The length of a person's torso from keypoints [17,2], from the box's `height` where one of the four is not known."""
    trunk = float(np.hypot(*(xy[5:7].mean(0) - xy[11:13].mean(0))))
    return max(1.0, trunk if known[[5, 6, 11, 12]].all() else TORSO_SHARE * height)


def subjects(folder: Path, photos: list[Photo]) -> Subjects:
    """The people of the photographs who count. Raises IndexFault where there is none."""
    people: list[tuple[Image, Box]] = []
    points = []
    for photo in photos:
        counted = [p for p in photo.people if p.box[3] >= HEIGHT_PX_MIN and (p.keypoints[:, 2] > 0).sum() >= LABELS_MIN]
        picture = read_photo(folder, photo) if counted else None
        for person in counted if picture is not None else []:
            people.append((picture, person.box))  # type: ignore[arg-type]
            points.append(person.keypoints.astype(np.float64))
    if not people:
        raise IndexFault(f"{folder}: no person of {HEIGHT_PX_MIN} px and more with {LABELS_MIN} labels or more")
    k = np.stack(points)
    labelled = k[..., 2] > 0
    torsos = np.array([torso_of(q[:, :2], v, box[3]) for q, v, (_, box) in zip(k, labelled, people, strict=True)])
    return Subjects(people, k[..., :2], labelled, k[..., 2] == 2, torsos)


def share(right: NDArray[np.bool_], counts: NDArray[np.bool_]) -> dict[str, Any]:
    """Share of right keypoints among those that count, and how many count."""
    n = int(counts.sum())
    return {"all": round(float(right[counts].mean()), 4) if n else None, "keypoints": n}


def interval(right: NDArray[np.bool_], counts: NDArray[np.bool_]) -> list[float]:
    """95 % interval of the share of right keypoints, by drawing people again."""
    rng = np.random.default_rng(SEED)
    drawn = rng.integers(len(right), size=(SAMPLES, len(right)))
    hits, of = (right & counts).sum(1), counts.sum(1)
    shares = hits[drawn].sum(1) / of[drawn].sum(1)
    return [round(float(v), 4) for v in np.quantile(shares, [0.025, 0.975])]


def pck(s: Subjects, errors: Floats, limit: float) -> dict[str, Any]:
    """PCK of all and visible keypoints, by joint and by height."""
    right = np.nan_to_num(errors, nan=math.inf) < limit
    every, heights = s.labelled, s.heights
    only = np.zeros_like(every)
    out = {**share(right, every), "visible": share(right, s.visible)["all"], "interval": interval(right, every)}
    out["joints"] = {}
    for name, joints in JOINTS.items():
        only[:] = False
        only[:, joints] = True
        out["joints"][name] = share(right, every & only)
    out["heights"] = {
        name: share(right, every & ((heights >= least) & (heights < most))[:, None])
        for name, (least, most) in HEIGHTS.items()
    }
    return out


def coco_ap(s: Subjects, answer: Answer) -> dict[str, float]:
    """COCO's average precision of keypoints, each person's box given; the score is the mean confidence."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    images = list({id(picture): n for n, (picture, _) in enumerate(s.people)}.values())
    number = {id(s.people[n][0]): k + 1 for k, n in enumerate(images)}
    truths, results = [], []
    for n, (picture, box) in enumerate(s.people):
        k = np.concatenate([s.points[n], np.where(s.visible[n], 2, s.labelled[n])[:, None]], 1)
        common = {"image_id": number[id(picture)], "category_id": 1}
        area = BODY_SHARE * box[2] * box[3]
        truth = {"id": n + 1, "bbox": list(box), "area": area, "iscrowd": 0, "num_keypoints": int(s.labelled[n].sum())}
        truths.append({**common, **truth, "keypoints": k.ravel().tolist()})
        k = np.concatenate([answer.xy[n], answer.confidence[n][:, None]], 1)
        results.append({**common, "keypoints": k.ravel().tolist(), "score": float(answer.confidence[n].mean())})
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = {
            "images": [{"id": k + 1} for k in range(len(images))],
            "annotations": truths,
            "categories": [{"id": 1, "name": "person", "keypoints": [str(j) for j in range(17)]}],
        }
        coco.createIndex()
        e = COCOeval(coco, coco.loadRes(results), "keypoints")
        e.evaluate()
        e.accumulate()
        e.summarize()
    return {name: round(float(e.stats[k]), 4) for k, name in enumerate(["AP", "AP50", "AP75"])}


def figures_of(s: Subjects, answer: Answer) -> dict[str, Any]:
    """All figures of one set of answers."""
    errors = s.errors(answer.xy)
    return {**{f"pck_{limit}": pck(s, errors, limit) for limit in LIMITS}, "coco": coco_ap(s, answer)}


def named(argument: str) -> tuple[str, Path]:
    """`NAME=FILE`."""
    name, sign, file = argument.partition("=")
    if not (name and sign and file):
        raise argparse.ArgumentTypeError(f"{argument!r}: wanted NAME=FILE")
    if not Path(file).is_file():
        raise argparse.ArgumentTypeError(f"{file}: no such file")
    return name, Path(file)


def ways_of(net: Network, path: Path, mirror: bool, turned: bool) -> dict[str, tuple[Network, float | None]]:
    """The ways to look at a person: which network, and from which lean on the crop is turned."""
    ways: dict[str, tuple[Network, float | None]] = {PLAIN: (net, None)}
    mirrored = Person(path, mirror=True) if mirror and isinstance(net, Person) else None
    if isinstance(net, Person):
        ways[f"{PLAIN}, places refined in 3 x 3 cells"] = (Person(path, reach=1), None)
    if mirrored:
        ways["with its mirror, heatmaps averaged"] = (mirrored, None)
        ways["with its mirror, merged as in the program"] = (Merged(net), None)
    if turned:
        ways["turned upright from 34 degrees, as in the program"] = (net, TURN_FROM)
        ways["always turned upright"] = (net, 0.0)
        if mirrored:
            ways["turned from 34 degrees, with its mirror, heatmaps averaged"] = (mirrored, TURN_FROM)
    return ways


def measure(a: argparse.Namespace) -> None:
    """Prints and records the figures of all networks."""
    nets: list[tuple[str, Path, Network]] = [(name, path, Person(path)) for name, path in a.person]
    nets += [(name, path, MoveNet(path)) for name, path in a.movenet]
    if a.blazepose:
        nets.append(("BlazePose full", a.blazepose, BlazePose(a.blazepose, a.blazepose_python)))
    s = subjects(a.photos, read_index(a.photos))
    measured: dict[str, Any] = {}
    for name, path, net in nets:
        measured[name] = {"sha256": sha256(path), "ways": {}}
        for way, (looked, turn_from) in ways_of(net, path, a.mirror, a.turned).items():
            f = figures_of(s, answers(looked, s.people, turn_from))
            measured[name]["ways"][way] = f
            b = f["pck_0.2"]
            print(
                f"{name}, {way}: PCK@0.1 {f['pck_0.1']['all']:.3f}, PCK@0.2 {b['all']:.3f} {b['interval']}",
                f"(visible {b['visible']:.3f}), AP {f['coco']['AP']:.3f}",
                flush=True,
            )
            if way == PLAIN:
                print("  ", ", ".join(f"{joint} {v['all']:.2f}" for joint, v in b["joints"].items()))
                print("  ", ", ".join(f"{h} px {v['all']} of {v['keypoints']}" for h, v in b["heights"].items()))
    if a.json:
        on = {"index_sha256": sha256(a.photos / "index.json"), "people": len(s.people)}
        on |= {"keypoints": int(s.labelled.sum()), "height_px_min": HEIGHT_PX_MIN, "labels_min": LABELS_MIN}
        record(a.json, "person", on, measured)


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("photos", type=Path, help="folder with photographs labelled by hand")
    p.add_argument("--person", type=named, action="append", default=[], metavar="NAME=ONNX")
    p.add_argument("--movenet", type=named, action="append", default=[], metavar="NAME=ONNX")
    p.add_argument("--blazepose", type=Path, help="pose_landmark_full.tflite")
    p.add_argument("--blazepose-python", default="python3", help="a Python with ai-edge-litert (see blazepose.py)")
    p.add_argument("--mirror", action="store_true", help="person networks with the mirrored crop as well")
    p.add_argument("--turned", action="store_true", help="a second look at people who lean, in a turned crop, as well")
    p.add_argument("--json", type=Path, help="file of figures to put these into (figures.py)")
    a = p.parse_args()
    cv2.setNumThreads(1)
    if not (a.person or a.movenet or a.blazepose):
        p.error("no network: give --person, --movenet or --blazepose")
    try:
        measure(a)
    except (IndexFault, NetworkFault, FiguresFault) as fault:
        raise SystemExit(str(fault)) from None


if __name__ == "__main__":
    main()
