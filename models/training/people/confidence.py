"""Fits and measures the confidence that is published of keypoints: the chance that one lies within 0.2 torso lengths of the truth.

    python confidence.py ../../person/person.onnx --photos DATA/people/train:DATA/people/other_labels.jsonl.gz RUN/more \\
        --shards RUN/rendered RUN/drawn --eval DATA/people/eval --check RUN/rendered_held_out --write ../../person/model.toml

The fit is `ConfidenceFit` of src/engine/models/describe.rs: logit(confidence) = seen * visible + place * logit(p) + bias, where `visible` is
the network's logit of being seen, `p` the heatmap's share in the 5 x 5 cells around its peak, and the bias differs between kinds of
joints. It is found by logistic regression on photographs and renders that were kept from training. Of photographs, only keypoints that
the teacher is sure of count (of the others the truth is not known); of renders every joint does, hidden ones and ones outside
the crop as well. Measured is on photographs labelled by hand and on renders that the fit has not seen.
"""

from __future__ import annotations

import argparse
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from answers import UNFITTED, Fit, Floats, NetworkFault, Person, answers, logit, sha256, sigmoid
from evaluate_photos import Subjects, subjects, torso_of
from figures import FiguresFault, record
from photos import Box, Image, IndexFault, Photo, open_folders, read_index, read_photo
from shards import HELD_OUT, open_shard

NEAR = 0.2
"""A keypoint is right within so many torso lengths."""
BINS = 15
GROUPS = {
    "face": [0, 1, 2, 3, 4],
    "shoulders": [5, 6],
    "elbows": [7, 8],
    "wrists": [9, 10],
    "hips": [11, 12],
    "knees": [13, 14],
    "ankles": [15, 16],
}
SURE = 2
MARKED = 1
HEIGHT_PX_MIN = 60.0
"""Of people in photographs: smaller ones have labels that are too coarse."""
TORSO_PX_MIN = 10.0
"""Of people in renders: one who bends towards the camera has hardly a torso to measure by."""
SHIFT, SCALE = 0.04, 0.1
"""Standard deviation of a box's shift, in its size, and of the logarithm of its scale: boxes are as unsure as in the program."""
JITTERED = 2
"""Crops of each person with such boxes, beside the one with the label's box."""
RENDER_SHARE = 0.5
"""Weight of renders in the fit, whatever their number: photographs say nothing of hidden joints, renders nothing of real ones."""
RIDGE = 1e-3
"""Keeps the fit finite where a kind of joint is always right."""


class ShardFault(ValueError):
    """A folder of crops that cannot be used: the message names the folder, what it holds, and what is wanted."""


@dataclass
class Samples:
    """Keypoints of which it is known whether they are right, M of them."""

    visible: Floats
    place: Floats
    joint: NDArray[np.int64]
    right: NDArray[np.bool_]
    seen: NDArray[np.bool_]
    """By the label or the renderer."""

    def __len__(self) -> int:
        return len(self.right)

    def confidence(self, fit: Fit) -> Floats:
        """What a fit makes of them [M]."""
        return sigmoid(fit.seen * self.visible + fit.place * logit(self.place) + np.array(fit.bias)[self.joint])


def joined(parts: list[Samples]) -> Samples:
    """All of them."""
    return Samples(
        np.concatenate([part.visible for part in parts]),
        np.concatenate([part.place for part in parts]),
        np.concatenate([part.joint for part in parts]),
        np.concatenate([part.right for part in parts]),
        np.concatenate([part.seen for part in parts]),
    )


def samples_of(
    visible: Floats, place: Floats, near: NDArray[np.bool_], known: NDArray[np.bool_], seen: NDArray[np.bool_]
) -> Samples:
    """The known ones of [N,17]."""
    joint = np.broadcast_to(np.arange(known.shape[1]), known.shape)
    return Samples(visible[known], place[known], joint[known], near[known], seen[known])


def jittered(box: Box, rng: np.random.Generator) -> Box:
    """A box as unsure as in the program."""
    x, y, w, h = box
    scale = float(np.exp(rng.normal(0, SCALE)))
    cx, cy = x + w / 2 + rng.normal(0, SHIFT) * w, y + h / 2 + rng.normal(0, SHIFT) * h
    return cx - scale * w / 2, cy - scale * h / 2, scale * w, scale * h


def of_subjects(net: Person, s: Subjects, boxes: list[Box] | None = None) -> Samples:
    """Samples of labelled people, looked at in their own boxes or in others."""
    people = s.people if boxes is None else [(p, b) for (p, _), b in zip(s.people, boxes, strict=True)]
    answer = answers(net, people)
    if answer.visible is None:
        raise ValueError("the network does not say what can be seen")
    near = np.nan_to_num(s.errors(answer.xy), nan=np.inf) < NEAR
    return samples_of(answer.visible, answer.place, near, s.labelled, s.visible)


def held_out_people(folders: list[tuple[Path, list[Photo]]]) -> Subjects:
    """The people of photographs kept from training. Labels are the keypoints that the teacher is sure of, and all that
    were marked by hand, covered ones too.
    """
    people: list[tuple[Image, Box]] = []
    points, known = [], []
    for folder, photos in folders:
        for photo in photos:
            if photo.measured_on or not photo.held_out or not photo.people:
                continue
            picture = read_photo(folder, photo)
            for person in photo.people:
                if person.box[3] >= HEIGHT_PX_MIN:
                    people.append((picture, person.box))
                    points.append(person.keypoints[:, :2].astype(np.float64))
                    known.append(person.keypoints[:, 2] >= (MARKED if photo.by_hand else SURE))
    if not people:
        raise IndexFault(f"{', '.join(str(f) for f, _ in folders)}: no person in a photograph kept from training")
    labelled = np.stack(known)
    torsos = [torso_of(q, v, box[3]) for q, v, (_, box) in zip(points, labelled, people, strict=True)]
    return Subjects(people, np.stack(points), labelled, labelled, np.array(torsos))


def of_renders(net: Person, folder: Path, first: int, last: int) -> Samples:
    """Samples of the rows `first` to `last` of a shard; every joint counts, also outside the crop.

    Raises ShardFault where the shard has no such rows.
    """
    arrays, total = open_shard(folder)
    if total < last:
        raise ShardFault(f"{folder}: {total} crops, wanted {last} or more")
    k, joints = (np.array(arrays[name][first:last], np.float64) for name in ("keypoints", "joints"))
    there = np.isfinite(joints).all((1, 2))
    answer = net(np.array(arrays["image"][first:last])[there])
    k = k[there]
    if answer.visible is None:
        raise ValueError("the network does not say what can be seen")
    trunk = k[:, 5:7, :2].mean(1) - k[:, 11:13, :2].mean(1)
    torsos = np.hypot(*trunk.T).clip(TORSO_PX_MIN)
    near = np.hypot(*np.moveaxis(answer.xy - k[..., :2], -1, 0)) < NEAR * torsos[:, None]
    return samples_of(answer.visible, answer.place, near, np.ones(near.shape, bool), k[..., 2] > 0.5)


def regress(x: Floats, y: NDArray[np.bool_], weight: Floats) -> Floats:
    """Weights of a logistic regression, by Newton's method."""
    beta = np.zeros(x.shape[1])
    for _ in range(100):
        p = sigmoid(x @ beta)
        gradient = x.T @ (weight * (p - y)) + RIDGE * beta
        hessian = (x * (weight * p * (1 - p))[:, None]).T @ x + RIDGE * np.eye(len(beta))
        step = np.linalg.solve(hessian, gradient)
        beta -= step
        if np.abs(step).max() < 1e-9:
            return beta
    raise ValueError("the fit of the confidence does not converge")


def fit(parts: list[tuple[Samples, float]], groups: bool = True) -> Fit:
    """The fit to samples, each part with its weight; neither chance may count against itself.

    With `groups`, kinds of joints have biases of their own.
    """
    s = joined([part for part, _ in parts])
    weight = np.concatenate([np.full(len(part), share / max(1, len(part))) for part, share in parts])
    weight *= len(s) / weight.sum()
    kind = np.zeros(17, int)
    for n, joints in enumerate(GROUPS.values() if groups else []):
        kind[joints] = n
    biases = np.eye(kind.max() + 1)[kind[s.joint]]
    chances = np.stack([s.visible, logit(s.place)], 1)
    used = [0, 1]
    while True:
        beta = regress(np.concatenate([chances[:, used], biases], 1), s.right, weight)
        wrong = [u for n, u in enumerate(used) if beta[n] < 0]
        if not wrong:
            break
        used = [u for u in used if u not in wrong]
    slope = [0.0, 0.0]
    for n, u in enumerate(used):
        slope[u] = float(beta[n])
    return Fit(slope[0], slope[1], tuple(float(b) for b in beta[len(used) :][kind]))


def bins_of(confidence: Floats) -> list[NDArray[np.int64]]:
    """`BINS` bins of as many samples each, least confident first."""
    return np.array_split(np.argsort(confidence, kind="stable"), BINS)


def calibration_error(confidence: Floats, right: NDArray[np.bool_]) -> float:
    """Expected calibration error."""
    parts = [b for b in bins_of(confidence) if len(b)]
    return float(sum(abs(confidence[b].mean() - right[b].mean()) * len(b) for b in parts) / len(right))


def perfect_error(confidence: Floats) -> float:
    """The calibration error that a confidence would show, on the mean, if it were right: there are few samples in a bin."""
    rng = np.random.default_rng(1)
    return float(np.mean([calibration_error(confidence, rng.random(len(confidence)) < confidence) for _ in range(200)]))


def auroc(confidence: Floats, right: NDArray[np.bool_]) -> float | None:
    """Chance that a right keypoint has a higher confidence than a wrong one."""
    if right.all() or not right.any():
        return None
    _, inverse, counts = np.unique(confidence, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    n = int(right.sum())
    return round(float((ranks[right].sum() - n * (n + 1) / 2) / (n * (len(right) - n))), 4)


def measured(s: Samples, fit: Fit) -> dict[str, Any]:
    """Reliability of what a fit makes of samples."""
    c = s.confidence(fit)
    out: dict[str, Any] = {"keypoints": len(s), "ece": round(calibration_error(c, s.right), 4)}
    out["ece_of_a_perfect_one"] = round(perfect_error(c), 4)
    out["auroc"] = auroc(c, s.right)
    out["mean_confidence"], out["share_right"] = round(float(c.mean()), 4), round(float(s.right.mean()), 4)
    for name, part in (("seen", s.seen), ("hidden", ~s.seen)):
        if part.any():
            means = {"confidence": round(float(c[part].mean()), 4), "right": round(float(s.right[part].mean()), 4)}
            out[name] = {"keypoints": int(part.sum()), **means}
    curve = [b for b in bins_of(c) if len(b)]
    out["curve"] = [
        {"confidence": round(float(c[b].mean()), 4), "right": round(float(s.right[b].mean()), 4)} for b in curve
    ]
    return out


def toml_of(fit: Fit) -> str:
    """The part of a heatmap decoder in `model.toml`."""
    bias = ", ".join(f"{b:.4f}" for b in fit.bias)
    return f"confidence = {{ seen = {fit.seen:.4f}, place = {fit.place:.4f}, bias = [{bias}] }}"


def write_toml(path: Path, fit: Fit) -> None:
    """Puts the fit into a person network's `model.toml`. Raises ValueError where that has no heatmap decoder of logits."""
    text = re.sub(r", confidence = \{[^}]*\}", "", path.read_text())
    pattern = r'(?m)^(decoder = \{ type = "heatmap", values = "logits")(.*\})$'
    new, count = re.subn(pattern, lambda m: f"{m.group(1)}, {toml_of(fit)}{m.group(2)}", text)
    if count != 1:
        raise ValueError(f'{path}: {count} lines decoder = {{ type = "heatmap", values = "logits" ... }}, wanted one')
    part = path.with_suffix(".part")
    part.write_text(new)
    part.replace(path)


def measure(a: argparse.Namespace) -> None:
    """Fits, prints, and records the figures."""
    net = Person(a.network)
    rng = np.random.default_rng(1)
    # Without shards to check on, half of the rows kept from training are for that.
    fitted_rows = HELD_OUT if a.check else HELD_OUT // 2
    people = held_out_people(open_folders(a.photos))
    by_hand = subjects(a.eval, read_index(a.eval))
    renders = joined([of_renders(net, folder, 0, fitted_rows) for folder in a.shards])
    others = [of_renders(net, folder, 0, HELD_OUT) for folder in a.check]
    others = others or [of_renders(net, folder, fitted_rows, HELD_OUT) for folder in a.shards]
    photos = [of_subjects(net, people)]
    for _ in range(JITTERED):
        photos.append(of_subjects(net, people, [jittered(box, rng) for _, box in people.people]))
    trained = [(joined(photos), 1 - RENDER_SHARE), (renders, RENDER_SHARE)]
    found = fit(trained, not a.no_groups)
    data = {"photographs labelled by hand": of_subjects(net, by_hand), "other renders": joined(others)}
    data |= {"fitted on: photographs": trained[0][0], "fitted on: renders": renders}
    checks: dict[str, Any] = {}
    for name, s in data.items():
        checks[name] = {"chance of being seen": measured(s, UNFITTED), "fitted": measured(s, found)}
        for way, c in checks[name].items():
            hidden = c.get("hidden", {})
            print(
                f"{name}, {way}: ECE {c['ece']:.3f} (perfect {c['ece_of_a_perfect_one']:.3f}) of {c['keypoints']},",
                f"mean {c['mean_confidence']:.3f}, right {c['share_right']:.3f}, AUROC {c['auroc']};",
                f"hidden: {hidden.get('confidence')}, right {hidden.get('right')} of {hidden.get('keypoints')}",
            )
    print(toml_of(found))
    if a.write:
        write_toml(a.write, found)
    if a.json:
        on = {"index_sha256": sha256(a.eval / "index.json"), "people": len(by_hand.people)}
        figures = {"sha256": sha256(a.network), "fit": {"seen": found.seen, "place": found.place, "bias": found.bias}}
        record(a.json, "confidence", on, {a.name: {**figures, "checks": checks}})


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("network", type=Path)
    p.add_argument("--name", default="shipped", help="of the network, in the figures")
    p.add_argument("--photos", nargs="+", required=True, help="folder of photographs with an index, or folder:labels")
    p.add_argument("--shards", type=Path, nargs="+", required=True, help="shards of which the first rows are fitted on")
    p.add_argument("--check", type=Path, nargs="*", default=[], help="shards nothing was trained on, for measuring")
    p.add_argument("--eval", type=Path, required=True, help="photographs labelled by hand, for measuring")
    p.add_argument("--no-groups", action="store_true", help="one bias for all joints")
    p.add_argument("--write", type=Path, help="model.toml to put the fit into")
    p.add_argument("--json", type=Path, help="file of figures to put the measures into (figures.py)")
    a = p.parse_args()
    cv2.setNumThreads(1)
    try:
        measure(a)
    except (IndexFault, NetworkFault, FiguresFault, ShardFault) as fault:
        raise SystemExit(str(fault)) from None


if __name__ == "__main__":
    main()
