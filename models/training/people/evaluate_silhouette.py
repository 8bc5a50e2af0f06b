"""Measures whether a silhouette of capsules (silhouette.py) that agrees with the person network's mask makes keypoints
better.

    python evaluate_silhouette.py DATA ../../person/person.onnx --reference joints.json \\
        --json ../../../docs/lab/silhouette.json
    python evaluate_silhouette.py DATA ../../person/person.onnx --choose
    python evaluate_silhouette.py --render ../../../docs/lab/silhouette.json

DATA holds people/, human_assets_cc0/, motion/ and real/; joints.json is what ../evaluate_calibrated.py writes.
Errors are in torso lengths. `--choose` fits the usual body, the tie and the weights, on other drawn people and on
photographs that no figure is reported on.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from answers import NetworkFault, Person, cut, decode, sha256, sigmoid
from evaluate_people import box_of, read_video
from evaluate_photos import JOINTS, Subjects, subjects, torso_of
from figures import made_by, table
from looks import Look
from photos import Box, IndexFault, Photo, open_folders, read_index
from sample import HELD_OUT_SOURCES, SOURCES, Studio
from shards import CROP_H, CROP_W
from silhouette import (
    BONES,
    COLUMNS,
    ENDS,
    FOREARM,
    HEAD,
    KEYPOINTS,
    NECK,
    PARTS,
    ROWS,
    SHANK,
    STRIDE,
    THIGH,
    TRUNK,
    UPPER_ARM,
    Body2d,
    Method,
    Seen,
    SilhouetteFault,
    Template,
    Tie,
    cells,
    disagreement,
    extent,
    refine,
    silhouette,
    sizes_of,
)

sys.path.append(str(Path(__file__).parent.parent))
from evaluate_calibrated import read_cameras  # noqa: E402

Floats = NDArray[np.float64]
Image = NDArray[np.uint8]
Bools = NDArray[np.bool_]
SEED_CHOICE, SEED_REPORT, SEED_REPEATED = 7001, 7002, 7003
"""Of drawn people: constants are chosen on the first, figures reported on the others. Training used 5, 101 and 211."""


class Recording(Studio):
    """A studio that tells which look a sample had, and can keep one."""

    last: dict[str, Any]
    only: Look | None = None

    def look(self) -> Look:
        """As `Studio`, or the one to keep."""
        return super().look() if self.only is None else self.only

    def person(self) -> dict[str, Any]:
        """As `Studio`."""
        self.last = super().person()
        return self.last


class Masked(Person):
    """The person network with its mask."""

    def seen(self, crops: NDArray[np.uint8], inside: Bools) -> Seen:
        """What it says of RGB crops [N,192,144,3], of whose cells `inside` [N,48,36] are in the image."""
        chances: list[Floats] = []
        logits: list[Floats] = []
        masks: list[Floats] = []
        for crop in crops:
            image = crop.transpose(2, 0, 1)[None].astype(np.float32) / 255
            heat, visible, mask = self.net.run(["heatmaps", "visible", "mask"], {"image": image})
            for out, of in ((chances, heat.reshape(KEYPOINTS, -1)), (masks, mask.reshape(3, -1).T)):
                e = np.exp(of.astype(np.float64) - of.max(1, keepdims=True))
                out.append(e / e.sum(1, keepdims=True))
            logits.append(visible[0].astype(np.float64))
        n = len(crops)
        chance = np.stack(chances).reshape(n, KEYPOINTS, ROWS, COLUMNS)
        mask = np.stack(masks).transpose(0, 2, 1).reshape(n, 3, ROWS, COLUMNS)
        xy, place = decode(chance, STRIDE, self.reach)
        arrays = (xy, place, sigmoid(np.stack(logits)), mask.clip(0, 1), inside, chance)
        return Seen(*(torch.from_numpy(np.ascontiguousarray(a, np.float32)) for a in arrays)).checked()


@dataclass
class Views:
    """Crops of N people with what is known of them."""

    seen: Seen
    maps: Floats
    """From crop pixels to those of the picture [N,2,3]."""
    truth: Floats
    """Keypoints [N,17,2], picture pixels."""
    counted: Bools
    """Which of them are known and in the picture [N,17]."""
    hidden: Bools
    """Which of these cannot be seen [N,17]."""
    torsos: Floats
    """Lengths [N], picture pixels."""
    cut: Bools
    """Whose body the picture's border cuts [N]."""
    groups: NDArray[np.int64]
    """People or runs of frames [N] that the bootstrap draws as one."""
    labels: NDArray[np.uint8] | None = None
    """True masks [N,48,36]: 0 background, 1 skin and hair, 2 clothes."""
    drawn: Drawn | None = None
    images: NDArray[np.uint8] | None = None
    """The crops, for pictures."""

    def errors(self, keypoints: torch.Tensor) -> Floats:
        """Distances [N,17] of crop keypoints from the truth in torso lengths; NaN where there is none."""
        xy = np.einsum("nij,nkj->nki", self.maps[:, :, :2], keypoints.numpy().astype(np.float64))
        apart = np.linalg.norm(xy + self.maps[:, None, :, 2] - self.truth, axis=-1) / self.torsos[:, None]
        return np.where(self.counted, apart, np.nan)

    def with_true_mask(self) -> Seen:
        """What the network says, with the true mask for its own."""
        if self.labels is None:
            raise ValueError("people without true masks")
        mask = torch.from_numpy(np.stack([self.labels == label for label in range(3)], 1).astype(np.float32))
        return replace(self.seen, mask=mask)

    def parts(self) -> dict[str, Bools]:
        """Keypoints [N,17] of which figures are given apart."""
        bent = np.zeros_like(self.counted)
        for a, b, c in LIMBS:
            first, second = self.truth[:, a] - self.truth[:, b], self.truth[:, c] - self.truth[:, b]
            bent[:, [b, c]] |= ((first * second).sum(1) > 0)[:, None]
        out = {"seen": ~self.hidden, "hidden": self.hidden, "bent over": bent}
        out["of people cut by the border"] = np.broadcast_to(self.cut[:, None], bent.shape)
        for name, joints in JOINTS.items():
            out[name] = np.zeros_like(bent)
            out[name][:, joints] = True
        return out


LIMBS = [(5, 7, 9), (6, 8, 10), (11, 13, 15), (12, 14, 16)]
"""Keypoints of a limb: it is bent over where the angle in the picture is less than a right one."""


@dataclass
class Drawn:
    """What is known of N drawn people alone."""

    px_per_m: Floats
    """Of the crop, where the pelvis is [N]."""
    statures_m: Floats
    """From crown to soles, with hair and shoes, standing [N]."""
    standing: Bools
    """Who stands or lies straight, across the line of sight, whole in the picture [N]."""
    radii_m: Floats
    """Of the limb classes of `MEASURED` [N,6], metres."""
    bones: Floats
    """Lengths of `BONES` in torsos [N,10]."""


MEASURED = (HEAD, TRUNK, UPPER_ARM, FOREARM, THIGH, SHANK)
"""Limb classes whose radius the renderer knows."""
OF_BONES = {
    UPPER_ARM: [(16, 18), (17, 19)],
    FOREARM: [(18, 20), (19, 21)],
    THIGH: [(1, 4), (2, 5)],
    SHANK: [(4, 7), (5, 8)],
}
"""Joints of the rig at both ends."""
JOINTS_OF = [(11, 14), (4, 1), (11, 12), (14, 15), (12, 13), (15, 16), (4, 5), (1, 2), (5, 6), (2, 3)]
"""`BONES` as Human3.6M joints."""
STRAIGHT, ACROSS = 0.93, 0.93
"""Who stands: head to ankles is at least this share of the way along the body, and this share of it is across the
line of sight."""
TORSO_SHARE_MIN = 0.2
"""A drawn person's torso counts as at least this share of the keypoints' extent: seen from above it has no length."""
BORDER_PX = 2.0
"""A box that comes so near to the picture's border is cut by it."""


def radii_of(look: Look) -> Floats:
    """Radii [6] of `MEASURED`, metres, of a person with clothes."""
    v, joint = look.rig.rest[look.used], look.rig.joint
    bone = look.bone[look.used]
    out = []
    for part in MEASURED:
        if part in OF_BONES:
            found = []
            for a, b in OF_BONES[part]:
                along = (joint[b] - joint[a]) / np.linalg.norm(joint[b] - joint[a])
                rel = v[bone == a] - joint[a]
                t = rel @ along
                middle = (t > 0.2 * np.linalg.norm(joint[b] - joint[a])) & (
                    t < 0.8 * np.linalg.norm(joint[b] - joint[a])
                )
                found.append(np.median(np.linalg.norm(rel - t[:, None] * along, axis=1)[middle]))
            out.append(float(np.mean(found)))
        else:
            here = v[np.isin(bone, (0, 3, 6, 9)) if part == TRUNK else bone == 15]
            low, high = np.quantile(here, [0.03, 0.97], axis=0)
            half = (high - low) / 2
            out.append(float(math.sqrt(half[0] * half[2])))
    return np.array(out)


def drawn(data: Path, net: Masked, seed: int, sources: dict[str, float], count: int, frames: int = 1) -> Views:
    """People rendered by sample.py: `count` of them, `frames` crops each; crops without anybody are left out."""
    studio = Recording(data, seed, sources)
    body = np.unique(studio.body.faces[studio.body.part == 0])
    rows, known, groups = [], [], []
    for person in range(count):
        if frames > 1:
            studio.only = Look(studio.body, studio.rng)
        for _ in range(frames):
            row = studio.sample()
            if not np.isfinite(row["joints"]).all():
                continue
            look = studio.last["look"]
            focal, _, _, depth = row["camera"]
            known.append((focal / depth, np.ptp(look.rig.rest[body, 1]), radii_of(look)))
            rows.append(row)
            groups.append(person)
    image, labels = (np.stack([row[name] for row in rows]) for name in ("image", "mask"))
    k = np.stack([row["keypoints"] for row in rows]).astype(np.float64)
    joints = np.stack([row["joints"] for row in rows]).astype(np.float64)
    lit = image.max(-1) > 0  # beyond the picture a crop is black
    lit_rows, lit_columns = lit.max(2), lit.max(1)
    inside = (lit_rows[:, :, None] & lit_columns[:, None, :])[:, 1::STRIDE, 1::STRIDE]
    at, n = np.round(k[..., :2]).astype(int), np.arange(len(k))[:, None]
    counted = (k[..., 3] > 0) & lit_rows[n, at[..., 1].clip(0, CROP_H - 1)]
    counted &= lit_columns[n, at[..., 0].clip(0, CROP_W - 1)]
    torso_px = np.linalg.norm(k[:, [5, 6], :2].mean(1) - k[:, [11, 12], :2].mean(1), axis=1)
    least_px = TORSO_SHARE_MIN * np.ptp(k[..., :2], axis=1).max(1)
    torso_m = np.linalg.norm(joints[:, [11, 14]].mean(1) - joints[:, 0], axis=1)
    bones_m = np.stack([np.linalg.norm(joints[:, a] - joints[:, b], axis=1) for a, b in JOINTS_OF], 1)
    px_per_m, statures_m = (np.array([row[i] for row in known], np.float64) for i in (0, 1))
    radii_m, standing = np.stack([row[2] for row in known]), straight(joints) & counted.all(1)
    return Views(
        net.seen(image, inside),
        np.tile(np.eye(2, 3), (len(rows), 1, 1)),
        k[..., :2],
        counted,
        counted & (k[..., 2] < 0.5),
        np.maximum(torso_px, least_px),
        ~counted.all(1),
        np.array(groups),
        labels,
        Drawn(px_per_m, statures_m, standing, radii_m, bones_m / torso_m[:, None]),
        image,
    )


def straight(joints: Floats) -> Bools:
    """Who stands or lies straight and across the line of sight [N], of Human3.6M joints [N,17,3] around the pelvis."""
    ankles, knees = joints[:, [3, 6]].mean(1), joints[:, [2, 5]].mean(1)
    segments = [joints[:, 10] - joints[:, 8], joints[:, 8], knees, ankles - knees]
    whole = np.sum([np.linalg.norm(s, axis=1) for s in segments], axis=0)
    along_m = joints[:, 10] - ankles
    length = np.linalg.norm(along_m, axis=1)
    return (length > STRAIGHT * whole) & (np.linalg.norm(along_m[:, :2], axis=1) > ACROSS * length)


def of_pictures(net: Masked, people: list[tuple[Image, Box]], s: Subjects, groups: NDArray[np.int64]) -> Views:
    """The people of pictures, each cut at a box."""
    cuts = [cut(picture, box, net.size) for picture, box in people]
    maps = np.stack([m for _, m in cuts])
    centres = cells().numpy().astype(np.float64)
    inside, at_border = [], []
    for (picture, box), m in zip(people, maps, strict=True):
        h, w = picture.shape[:2]
        at = centres @ m[:, :2].T + m[:, 2]
        inside.append(((at > -0.5) & (at < [w - 0.5, h - 0.5])).all(1).reshape(ROWS, COLUMNS))
        gaps = (box[0], box[1], w - box[0] - box[2], h - box[1] - box[3])
        at_border.append(min(gaps) < BORDER_PX)
    crops = np.stack([crop for crop, _ in cuts])
    hidden = s.labelled & ~s.visible
    cut_off = np.array(at_border)
    return Views(
        net.seen(crops, np.stack(inside)), maps, s.points, s.labelled, hidden, s.torsos, cut_off, groups, images=crops
    )


def photographs(net: Masked, folder: Path) -> Views:
    """The people of `people/eval` that evaluate_photos.py counts."""
    s = subjects(folder, read_index(folder))
    return of_pictures(net, s.people, s, np.arange(len(s.people)))


def other_photographs(net: Masked, people: Path) -> Views:
    """People of photographs that neither a network was trained on nor a figure is reported on, with a teacher's sure
    keypoints."""
    ((folder, photos),) = open_folders([f"{people / 'train'}:{people / 'other_labels.jsonl.gz'}"])
    kept = [sure(p) for p in photos if p.held_out and not p.measured_on and p.people]
    s = subjects(folder, kept)
    return of_pictures(net, s.people, s, np.arange(len(s.people)))


def sure(photo: Photo) -> Photo:
    """The photograph with the labels alone that its teacher is sure of."""
    people = []
    for p in photo.people:
        k = p.keypoints.copy()
        k[k[:, 2] < 2, 2] = 0
        people.append(replace(p, keypoints=k))
    return replace(photo, people=people)


LIMITS = (0.1, 0.2)
SAMPLES, SEED = 2000, 1
"""Of the bootstrap over people."""
ERROR_MAX = 1.0
"""Torsos: a keypoint that is farther off is simply wrong, and counts as this in the mean."""


def drawn_again(groups: NDArray[np.int64]) -> Floats:
    """How often each of N rows is in each bootstrap sample of groups [N]: [SAMPLES,N]."""
    _, index = np.unique(groups, return_inverse=True)
    count = int(index.max()) + 1
    rng = np.random.default_rng(SEED)
    times = rng.multinomial(count, np.full(count, 1 / count), size=SAMPLES)
    return times[:, index].astype(np.float64)


def rounded(values: Any, digits: int = 4) -> list[float]:
    """For JSON."""
    return [round(float(x), digits) for x in np.asarray(values).ravel()]


def below(limit: float, e: Floats) -> Floats:
    """1 where an error is less than the limit."""
    return (e < limit).astype(np.float64)


def compared(before: Floats, after: Floats, samples: Floats) -> dict[str, Any]:
    """Mean error and PCK of errors [N,17] before and after with 95 % intervals, and those of the change, in pairs."""
    known = np.isfinite(before)
    if not known.any():
        return {"keypoints": 0}
    out: dict[str, Any] = {"keypoints": int(known.sum())}
    measures: dict[str, Callable[[Floats], Floats]] = {"error": lambda e: np.minimum(e, ERROR_MAX)}
    for limit in LIMITS:
        measures[f"pck_{limit}"] = partial(below, limit)
    count = known.sum(1).astype(np.float64)
    for name, of in measures.items():
        sums = [np.where(known, of(np.nan_to_num(e, nan=0.0)), 0.0).sum(1) for e in (before, after)]
        a, b = (float(s.sum() / count.sum()) for s in sums)
        first, second = ((samples @ x) / np.maximum(samples @ count, 1) for x in sums)
        change = (second - first) / np.maximum(first, 1e-9) if name == "error" else second - first
        row = {"before": round(a, 4), "after": round(b, 4)}
        row["change"] = round((b - a) / a if name == "error" else b - a, 4)
        out[name] = row | {"interval": rounded(np.quantile(change, [0.025, 0.975]))}
        out[name] |= {"before_interval": rounded(np.quantile(first, [0.025, 0.975]))}
        out[name] |= {"after_interval": rounded(np.quantile(second, [0.025, 0.975]))}
    out["median"] = rounded([np.median(e[known]) for e in (before, after)])
    return out


def figures(v: Views, body: Body2d, parts: bool = True) -> dict[str, Any]:
    """All figures of refined keypoints, and those of parts of them."""
    before, after = v.errors(v.seen.keypoints), v.errors(body.keypoints)
    samples = drawn_again(v.groups)
    out = {"people": len(np.unique(v.groups)), **compared(before, after, samples)}
    if parts:
        out["parts"] = {}
        for name, which in v.parts().items():
            some = [np.where(which, e, np.nan) for e in (before, after)]
            out["parts"][name] = compared(some[0], some[1], samples)
    return out


WEIGHTS = (0.003, 0.01, 0.03, 0.1, 0.3)
"""That `--choose` tries for a cell of the mask."""
METHODS = {
    "tied by confidence, widths fitted": Method(),
    "widths of the usual body": Method(radii="fixed"),
    "skin and clothes apart": Method(semantic=True),
    "mask above 0.7": Method(threshold=0.7),
    "robust tie": Method(tie="student"),
    "tied to the heatmaps": Method(tie="heatmap"),
    "not tied": Method(tie="none"),
    "limbs alone": Method(moves="limbs"),
    "unsure keypoints alone": Method(moves="unsure"),
    "edges of 4 px": Method(softness=4.0),
    "skin apart, robust tie, edges of 4 px": Method(semantic=True, tie="student", softness=4.0),
    "usual body of photographs": Method(),
}
WEIGHT, WEIGHT_TRUE = 0.01, 0.1
"""Of a cell of the network's mask, and of the true one, for all methods. With the network's, tied by confidence,
`--choose` changes the mean error of other people by less than a third of a per cent up to here, and each larger
weight makes the other photographs worse; with the true one this is the best."""
ON_PHOTOGRAPHS = Template(radii=(0.172, 0.056, 0.146, 0.062, 0.046, 0.139, 0.102), crown=0.071, hand=0.136, foot=0.076)
"""The usual body that agrees best with the network's masks of other photographs, around their labels."""
BODIES = {"usual body of photographs": ON_PHOTOGRAPHS}
"""Methods with another usual body than that of drawn people."""
FOR_WIDTHS = Method(weight=0.3, widths_first=30, steps=0)
"""Widths are measured around the network's keypoints, which do not move."""
FOR_SIZE = Method(weight=0.3)
ANY_WIDTH = Template(spreads=(1.0,) * len(PARTS))
"""The usual body of people whose widths are hardly known before."""
OFF = 0.2
"""A height is far off from here on, natural logarithm."""
CHOICE_PEOPLE, REPORT_PEOPLE, REPEATED_PEOPLE, REPEATED_FRAMES = 200, 300, 20, 10
CHOICE_ROWS = 100
"""Of drawn people and of photographs, for the weights."""
FILM_EVERY, FILM_RUN = 4, 5
"""Every so many frames of the film are measured; so many of these are one for the bootstrap."""
CAMERAS = ("cam01", "cam02", "cam03", "cam04")
ROUGH = Template(radii=(0.2, 0.12, 0.2, 0.11, 0.09, 0.16, 0.11), crown=0.2, chin=0.15, hand=0.2, foot=0.1)
"""What the fit of a usual body begins with. The neck's radius and the chin stay: left free, one would cover the
head, the other the chest."""
LABELLED_SHARE = 0.7
"""A usual body is fitted to people of whom so many keypoints are labelled."""
NECK_SPREAD = 0.2
"""The renderer does not say how wide necks are."""
TEMPLATE_STEPS, TEMPLATE_RATE = 40, 0.04
TIE_STEPS, TIE_RATE, TIE_PRIOR = 400, 0.03, 1e-3


def film(net: Masked, data: Path, reference: Path) -> Views:
    """The person of the calibrated film in each camera, with the triangulated joints projected into it as truth; the
    boxes are of these."""
    frames = json.loads(reference.read_text())["frames"]
    folder = data / "real/calibrated_4cam_single"
    people, points, known, groups = [], [], [], []
    cameras = {c.name: c for c in read_cameras(folder / "Calib.qca.txt")}
    for number, name in enumerate(CAMERAS):
        for t, image in enumerate(read_video(folder / f"{name}.mp4", FILM_EVERY)):
            joints = frames[t * FILM_EVERY] if t * FILM_EVERY < len(frames) else []
            there = np.array([j is not None for j in joints])
            if there.sum() < KEYPOINTS - 2 or not there[[5, 6, 11, 12]].all():
                continue
            at = np.zeros((KEYPOINTS, 2))
            at[there] = cameras[name].project(np.array([j for j in joints if j is not None], np.float64))
            x0, y0, x1, y1 = box_of(at[there].astype(np.float32))
            people.append((image, (x0, y0, x1 - x0, y1 - y0)))
            points.append(at)
            known.append(there)
            groups.append(number * 1000 + t // FILM_RUN)
    k, labelled = np.stack(points), np.stack(known)
    torsos = np.array([torso_of(q, v, box[3]) for q, v, (_, box) in zip(k, labelled, people, strict=True)])
    return of_pictures(net, people, Subjects(people, k, labelled, labelled, torsos), np.array(groups))


def labelled(v: Views) -> Seen:
    """The true keypoints where they are known, the network's elsewhere, and the true mask where there is one."""
    inverse = np.linalg.inv(v.maps[:, :, :2])
    true = np.einsum("nij,nkj->nki", inverse, v.truth - v.maps[:, None, :, 2])
    k = np.where(v.counted[..., None], true, v.seen.keypoints.numpy())
    shown = np.where(v.counted, ~v.hidden, v.seen.visible.numpy() > 0.5)
    seen = v.seen if v.labels is None else v.with_true_mask()
    return replace(
        seen, keypoints=torch.from_numpy(k.astype(np.float32)), visible=torch.from_numpy(shown.astype(np.float32))
    )


def fitted_template(v: Views, usual: Template) -> Template:
    """The usual body of people: what agrees best with their masks around their labelled keypoints. Bones and spreads
    are those of `usual`."""
    seen = labelled(v).rows(torch.from_numpy(np.flatnonzero(v.counted.mean(1) >= LABELLED_SHARE)))
    radii = torch.log(torch.tensor(usual.radii)).requires_grad_()
    ends = torch.tensor([usual.crown, usual.hand, usual.foot]).requires_grad_()
    sizes = sizes_of(seen.keypoints, usual)
    opacity = torch.stack([seen.visible[:, e].mean(1) for e in ENDS], 1)
    adam = torch.optim.Adam([radii, ends], lr=TEMPLATE_RATE)
    for _ in range(TEMPLATE_STEPS):
        adam.zero_grad()
        now: Any = dict(zip(("crown", "hand", "foot"), ends, strict=True))
        body = Body2d(seen.keypoints, sizes[:, None] * torch.exp(radii), sizes)
        person, share = 1 - seen.mask[:, 0], torch.ones_like(opacity)
        disagreement(
            body, replace(usual, **now), Method().softness, person, seen.inside, share, opacity
        ).sum().backward()
        if radii.grad is not None:
            radii.grad[NECK] = 0
        adam.step()
    crown, hand, foot = rounded(ends.detach(), 3)
    return replace(usual, radii=tuple(rounded(torch.exp(radii).detach(), 3)), crown=crown, hand=hand, foot=foot)


def drawn_lengths(v: Views) -> Template:
    """Bones of drawn people, and how much their radii differ, measured by the network's idea of their size."""
    if v.drawn is None:
        raise ValueError("only drawn people have true bones")
    usual = replace(ROUGH, bones=tuple(rounded(np.median(v.drawn.bones, 0), 3)))
    whole = v.counted.mean(1) >= LABELLED_SHARE
    torsos_m = sizes_of(v.seen.keypoints, usual).numpy() / v.drawn.px_per_m
    low, high = np.quantile(np.log(v.drawn.radii_m / torsos_m[:, None])[whole], [0.16, 0.84], axis=0)
    spreads = dict(zip(MEASURED, (high - low) / 2, strict=True))
    return replace(usual, spreads=tuple(round(float(spreads.get(part, NECK_SPREAD)), 2) for part in range(len(PARTS))))


def fitted_tie(views: list[Views], template: Template) -> Tie:
    """The tie that makes the errors of the network's keypoints likeliest (both axes alike; errors over a torso count
    as one)."""
    errors = []
    for v in views:
        scale = np.hypot(v.maps[:, 0, 0], v.maps[:, 1, 0])
        sizes = sizes_of(v.seen.keypoints, template).numpy()
        errors.append(v.errors(v.seen.keypoints) * (v.torsos / scale / sizes)[:, None])
    e = torch.from_numpy(np.concatenate(errors).astype(np.float32))
    known = torch.isfinite(e)
    e = e.nan_to_num().clamp(max=ERROR_MAX)
    edge = 1e-3
    x, y = (
        torch.logit(torch.cat([getattr(v.seen, n) for v in views]).clamp(edge, 1 - edge)) for n in ("place", "visible")
    )
    line, biases = (
        torch.tensor([Tie.offset, Tie.place, Tie.visible]).requires_grad_(),
        torch.zeros(KEYPOINTS).requires_grad_(),
    )
    adam = torch.optim.Adam([line, biases], lr=TIE_RATE)
    for _ in range(TIE_STEPS):
        adam.zero_grad()
        logs = line[0] + biases + line[1] * x + line[2] * y
        cost = ((2 * logs + e.square() / 2 * torch.exp(-2 * logs)) * known).sum() / known.sum()
        (cost + TIE_PRIOR * biases.square().sum()).backward()
        adam.step()
    mean = biases.detach().mean()
    offset, place, visible = rounded(line.detach() + torch.tensor([mean, 0, 0]), 3)
    return Tie(offset, place, visible, tuple(rounded(biases.detach() - mean, 2)))


def mean_error(e: Floats) -> float:
    """Of errors with NaN where there is none."""
    return float(np.minimum(e[np.isfinite(e)], ERROR_MAX).mean())


def change(v: Views, seen: Seen, template: Template, tie: Tie, method: Method) -> float:
    """Of the mean error, as a share of it."""
    after = mean_error(v.errors(refine(seen, template, tie, method).keypoints))
    return after / mean_error(v.errors(v.seen.keypoints)) - 1


def first_rows(v: Views, count: int) -> Views:
    """The first people."""
    r = slice(0, count)
    labels = None if v.labels is None else v.labels[r]
    arrays = (v.maps[r], v.truth[r], v.counted[r], v.hidden[r], v.torsos[r], v.cut[r], v.groups[r])
    return Views(v.seen.rows(r), *arrays, labels)


def choose(people: Views, photos: Views) -> None:
    """Fits the constants and prints them."""
    template = fitted_template(people, drawn_lengths(people))
    tie = fitted_tie([people, photos], template)
    print(template, tie, sep="\n", flush=True)
    on_photographs = fitted_template(photos, drawn_lengths(people))
    print(on_photographs, flush=True)
    people, photos = first_rows(people, CHOICE_ROWS), first_rows(photos, CHOICE_ROWS)
    true = people.with_true_mask()
    for name, method in METHODS.items():
        body = on_photographs if name in BODIES else template
        for weight in WEIGHTS:
            w = replace(method, weight=weight)
            found = {
                "drawn": change(people, people.seen, body, tie, w),
                "photographs": change(photos, photos.seen, body, tie, w),
            }
            found["drawn, true mask"] = change(people, true, body, tie, w)
            print(f"{name}, weight {weight:g}:", *(f"{on} {100 * c:+.2f} %" for on, c in found.items()), flush=True)


def along(keypoints: torch.Tensor) -> torch.Tensor:
    """Directions [N,2] from the ankles to the face of keypoints [N,17,2]."""
    away = keypoints[:, :5].mean(1) - keypoints[:, 15:].mean(1)
    return away / away.norm(dim=1, keepdim=True).clamp(min=1.0)


def mask_extent(person: torch.Tensor, direction: torch.Tensor) -> torch.Tensor:
    """Pixels [N] from one end of masks [N,48,36] to the other along directions [N,2]; half a cell sticks out at
    both."""
    at = direction @ cells().T
    here = person.flatten(1) > 0.5
    high, low = at.masked_fill(~here, -math.inf).max(1).values, at.masked_fill(~here, math.inf).min(1).values
    return (high - low + STRIDE).clamp(min=1.0, max=float(CROP_H + CROP_W))


def heights(v: Views) -> dict[str, Floats]:
    """What could tell a person's height [N] in crop pixels, up to a factor."""
    k, true = v.seen.keypoints, torch.from_numpy(v.truth.astype(np.float32))
    up = along(k)
    usual = refine(v.seen, Template(), Tie(), replace(FOR_SIZE, widths_first=0, steps=0))
    fitted = refine(v.seen, Template(), Tie(), FOR_SIZE)
    person, true_mask = 1 - v.seen.mask[:, 0], 1 - v.with_true_mask().mask[:, 0]
    out = {
        "nose to ankles": (k[:, 0] - k[:, 15:].mean(1)).norm(dim=1),
        "long bones": sizes_of(k, Template()),
        "usual body around the keypoints": extent(usual, Template(), up),
        "capsules fitted to the mask": extent(fitted, Template(), up),
        "extent of the mask": mask_extent(person, up),
        "nose to ankles, true keypoints": (true[:, 0] - true[:, 15:].mean(1)).norm(dim=1),
        "extent of the true mask": mask_extent(true_mask, along(true)),
    }
    return {name: h.clamp(min=1.0).numpy().astype(np.float64) for name, h in out.items()}


def height_figures(choice: list[Views], report: list[Views]) -> dict[str, Any]:
    """Relative error of the standing height in pixels of people who stand whole in the picture: the factor is the
    choice's median."""

    def ratios(views: list[Views]) -> dict[str, Floats]:
        found: dict[str, list[Floats]] = {}
        for v in views:
            if v.drawn is None:
                raise ValueError("only drawn people have a known height")
            s = v.drawn.standing
            for name, h in heights(v).items():
                found.setdefault(name, []).append(np.log(h / (v.drawn.statures_m * v.drawn.px_per_m))[s])
        return {name: np.concatenate(r) for name, r in found.items()}

    factors = {name: float(np.median(r)) for name, r in ratios(choice).items()}
    logs = {name: r - factors[name] for name, r in ratios(report).items()}
    for first, second in (
        ("nose to ankles", "extent of the mask"),
        ("usual body around the keypoints", "extent of the mask"),
    ):
        logs[f"mean of {first}, {second}"] = (logs[first] + logs[second]) / 2
    rng = np.random.default_rng(SEED)
    rows = {}
    for name, e in logs.items():
        spread = [e[rng.integers(len(e), size=len(e))].std() for _ in range(SAMPLES)]
        middle = float((np.quantile(e, 0.84) - np.quantile(e, 0.16)) / 2)
        rows[name] = {
            "bias": round(float(e.mean()), 4),
            "sd": round(float(e.std()), 4),
            "sd_of_the_middle": round(middle, 4),
        }
        rows[name]["share_off"] = round(float((np.abs(e) > OFF).mean()), 3)
        rows[name]["sd_interval"] = rounded(np.quantile(spread, [0.025, 0.975]))  # type: ignore[assignment]
    return {
        "people_chosen_on": len(next(iter(ratios(choice).values()))),
        "people": len(logs["nose to ankles"]),
        "rows": rows,
    }


def correlation(a: Floats, b: Floats) -> float:
    """Pearson's."""
    return round(float(np.corrcoef(a, b)[0, 1]), 3)


def width_figures(v: Views) -> dict[str, Any]:
    """How well radii of people seen several times repeat and agree with the truth, in logarithms of metres: the true
    depth is given."""
    if v.drawn is None:
        raise ValueError("only drawn people have known widths")
    around = {"usual body": v.seen, "fitted to the mask": v.seen, "fitted to the mask, any width": v.seen}
    around["fitted to the true mask"] = v.with_true_mask()
    true_keypoints = torch.from_numpy(v.truth.astype(np.float32))
    around["fitted to the true mask around the true keypoints"] = replace(v.with_true_mask(), keypoints=true_keypoints)
    out: dict[str, Any] = {"people": len(np.unique(v.groups)), "frames": len(v.groups), "methods": {}}
    for name, seen in around.items():
        method = replace(FOR_WIDTHS, widths_first=0) if name == "usual body" else FOR_WIDTHS
        template = ANY_WIDTH if name == "fitted to the mask, any width" else Template()
        body = refine(seen, template, Tie(), method)
        rows = {}
        for column, part in enumerate(MEASURED):
            found = np.log(body.radii[:, part].numpy().astype(np.float64) / v.drawn.px_per_m)
            truth = np.log(v.drawn.radii_m[:, column])
            each = np.unique(v.groups)
            within = np.sqrt(np.mean([found[v.groups == g].var(ddof=1) for g in each if (v.groups == g).sum() > 1]))
            means, of = (np.array([x[v.groups == g].mean() for g in each]) for x in (found, truth))
            rows[PARTS[part]] = {
                "sd_within_a_person": round(float(within), 3),
                "sd_of_the_truth": round(float(of.std()), 3),
                "correlation_of_frames": correlation(found, truth),
                "correlation_of_people": correlation(means, of),
            }
        out["methods"][name] = rows
    return out


def pixel_errors(v: Views, body: Body2d) -> dict[str, Any]:
    """Median and mean distance in the film's pixels from the projected joints, by camera."""
    out = {}
    pairs = [(e * v.torsos[:, None]) for e in (v.errors(v.seen.keypoints), v.errors(body.keypoints))]
    for number, name in enumerate(CAMERAS):
        of = [e[v.groups // 1000 == number] for e in pairs]
        known = [e[np.isfinite(e)] for e in of]
        out[name] = {
            "mean_px": rounded([e.mean() for e in known], 2),
            "median_px": rounded([np.median(e) for e in known], 2),
        }
    return out


def reasons(v: Views) -> dict[str, float]:
    """Of drawn people: overlap of the network's mask with the true one, of the half of the people with the smaller and
    of that with the larger errors, and how many wrong keypoints of body and limbs lie in the true mask."""
    if v.labels is None:
        raise ValueError("people without true masks")
    true, found = v.labels > 0, (1 - v.seen.mask[:, 0] > 0.5).numpy()
    overlap = (true & found).sum((1, 2)) / np.maximum((true | found).sum((1, 2)), 1)
    errors = v.errors(v.seen.keypoints)
    by_person = np.nanmean(np.minimum(errors, ERROR_MAX), axis=1)
    worse = by_person > np.nanmedian(by_person)
    cell = np.round((v.seen.keypoints.numpy() - (STRIDE - 1) / 2) / STRIDE).astype(int)
    row, column = cell[..., 1].clip(0, ROWS - 1), cell[..., 0].clip(0, COLUMNS - 1)
    wrong = errors > LIMITS[-1]
    wrong[:, :5] = False
    covered = true[np.arange(len(true))[:, None], row, column]
    return {
        "mask_iou_median": round(float(np.median(overlap)), 3),
        "mask_iou_median_smaller_errors": round(float(np.median(overlap[~worse])), 3),
        "mask_iou_median_larger_errors": round(float(np.median(overlap[worse])), 3),
        "wrong_keypoints_in_the_true_mask": round(float(covered[wrong].mean()), 3),
    }


def measure(data: Path, network: Path, reference: Path, pictures: Path | None) -> dict[str, Any]:
    """All figures."""
    net = Masked(network)
    people = drawn(data, net, SEED_REPORT, HELD_OUT_SOURCES, REPORT_PEOPLE)
    repeated = drawn(data, net, SEED_REPEATED, HELD_OUT_SOURCES, REPEATED_PEOPLE, REPEATED_FRAMES)
    other = drawn(data, net, SEED_CHOICE, SOURCES, CHOICE_PEOPLE)
    photos, views = photographs(net, data / "people/eval"), film(net, data, reference)
    if pictures is not None:
        draw_pictures(pictures, {"drawn": people, "photographs": photos, "film": views})
    return measured(people, repeated, other, photos, views)


def measured(people: Views, repeated: Views, other: Views, photos: Views, views: Views) -> dict[str, Any]:
    """The figures of views."""
    methods: dict[str, Any] = {}
    for name, method in METHODS.items():
        body, row = BODIES.get(name, Template()), {}
        for on, v in (("photographs", photos), ("drawn", people), ("film", views)):
            row[on] = figures(v, refine(v.seen, body, Tie(), replace(method, weight=WEIGHT)), parts=name == PLAIN)
        found = refine(people.with_true_mask(), body, Tie(), replace(method, weight=WEIGHT_TRUE))
        row["drawn, true mask"] = figures(people, found, parts=name == PLAIN)
        methods[name] = row
        print(name, *(f"{on} {row[on]['error']['change']:+.4f}" for on in SETS), flush=True)
    by_weight: dict[str, Any] = {}
    shown = (people.counted & ~people.hidden).astype(np.float32)
    known = replace(people.with_true_mask(), visible=torch.from_numpy(shown))
    every = [("photographs", photos, photos.seen), ("drawn", people, people.seen), ("film", views, views.seen)]
    every += [("drawn, true mask", people, people.with_true_mask()), ("drawn, true mask and visibility", people, known)]
    for weight in OTHER_WEIGHTS:
        method = replace(METHODS[PLAIN], weight=weight)
        row = {on: figures(v, refine(seen, Template(), Tie(), method), parts=False) for on, v, seen in every}
        by_weight[f"{weight:g}"] = row
        print(weight, *(f"{on} {r['error']['change']:+.4f}" for on, r in row.items()), flush=True)
    template, tie = Template(), Tie()
    plain = replace(METHODS[PLAIN], weight=WEIGHT)
    return {
        "weight": WEIGHT,
        "weight_with_true_masks": WEIGHT_TRUE,
        "methods": methods,
        "by_weight": by_weight,
        "reasons": reasons(people),
        "heights": height_figures([other], [people, repeated]),
        "widths": width_figures(repeated),
        "film_px": pixel_errors(views, refine(views.seen, template, tie, plain)),
    }


PLAIN = "tied by confidence, widths fitted"
STRONG = 0.1
"""A weight at which the silhouette agrees with the mask, for pictures."""
OTHER_WEIGHTS = (0.003, 0.03, 0.1, 0.3)
"""Weights that are not chosen, to show what they would have given."""
SETS = ("photographs", "drawn", "drawn, true mask", "film")
TILES, ZOOM = 7, 2
"""Of pictures: crops side by side, and screen pixels of a crop's."""
FOUND, REFINED, TRUE = (255, 255, 0), (255, 0, 255), (0, 255, 0)
"""Colours of skeletons."""


def skeleton(shape: tuple[int, ...], k: Floats, colour: tuple[int, int, int]) -> Image:
    """`BONES` of keypoints [17,2] on black."""
    out = np.zeros((shape[0] * ZOOM, shape[1] * ZOOM, 3), np.uint8)
    for a, b in [*BONES, (5, 11), (6, 12)]:
        ends = [(int(ZOOM * k[j, 0]), int(ZOOM * k[j, 1])) for j in (a, b)]
        cv2.line(out, ends[0], ends[1], colour)
    return out


def draw_pictures(folder: Path, sets: dict[str, Views]) -> None:
    """Crops with the network's keypoints (yellow), refined ones (magenta) and the truth (green); the mask (skin red,
    clothes green); the silhouette before (red) and after (blue and green)."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, v in sets.items():
        rows = torch.linspace(0, len(v.truth) - 1, TILES).long()
        seen = v.seen.rows(rows)
        before, after = (
            refine(seen, Template(), Tie(), w) for w in (Method(widths_first=0, steps=0), Method(weight=STRONG))
        )
        covered = [silhouette(b, Template()).numpy() for b in (before, after)]
        tiles = []
        for i, row in enumerate(rows.tolist()):
            crop = np.zeros((CROP_H, CROP_W, 3), np.uint8) if v.images is None else v.images[row]
            tile = cv2.resize(crop, None, fx=ZOOM, fy=ZOOM)
            m = v.maps[row]
            true = (v.truth[row] - m[:, 2]) @ np.linalg.inv(m[:, :2]).T
            known = v.counted[row]
            lines = [(seen.keypoints[i].numpy(), FOUND), (after.keypoints[i].numpy(), REFINED)]
            for k, colour in lines + ([(true, TRUE)] if known[5:].all() else []):
                tile = np.maximum(tile, skeleton(crop.shape, k, colour))
            layers = [np.stack([seen.mask[i, 1], seen.mask[i, 2], 0 * seen.mask[i, 0]], -1)]
            layers.append(np.stack([covered[0][i], covered[1][i], covered[1][i]], -1))
            size = (tile.shape[1], tile.shape[0])
            shown = [cv2.resize((255 * x).astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) for x in layers]
            tiles.append(np.concatenate([tile, *shown], 0))
        cv2.imwrite(str(folder / f"{name}.png"), np.concatenate(tiles, 1)[..., ::-1])


def percent(row: dict[str, Any]) -> str:
    """A change with its interval, in hundredths."""
    low, high = row["interval"]
    return f"{100 * row['change']:+.1f} ({100 * low:+.1f} to {100 * high:+.1f})"


def markdown(found: dict[str, Any]) -> str:
    """The tables of the page."""
    first = found["methods"][PLAIN]
    head = [
        "what is descended",
        *(f"{on}: mean error, %" for on in SETS),
        "photographs: PCK@0.1",
        "photographs: PCK@0.2",
    ]
    before = ["before"] + [f"{first[on]['error']['before']:.3f}" for on in SETS]
    before += [f"{100 * first['photographs'][f'pck_{limit}']['before']:.1f}" for limit in LIMITS]
    rows = [before]
    for name, row in found["methods"].items():
        row_of = [percent(row[on]["error"]) for on in SETS]
        rows.append([name, *row_of, *(percent(row["photographs"][f"pck_{limit}"]) for limit in LIMITS)])
    lines = table(head, rows)
    by_weight = found["by_weight"]
    columns = list(next(iter(by_weight.values())))
    rows = [[f"{weight}", *(percent(row[on]["error"]) for on in columns)] for weight, row in by_weight.items()]
    lines += table([f"mean error, %, {PLAIN}, weight", *columns], rows)
    parts = {on: first[on]["parts"] for on in SETS}
    names = [n for n in parts["drawn"] if parts["drawn"][n]["keypoints"]]
    rows = []
    for name in names:
        row_of = [percent(parts[on][name]["error"]) if parts[on][name]["keypoints"] else "-" for on in SETS]
        rows.append([name, *row_of])
    lines += table([f"mean error, %, {PLAIN}", *SETS], rows)
    rows = []
    for name, row in found["heights"]["rows"].items():
        low, high = row["sd_interval"]
        sd = f"{100 * row['sd']:.1f} ({100 * low:.1f} to {100 * high:.1f})"
        rows.append(
            [
                name,
                f"{100 * row['bias']:+.1f}",
                sd,
                f"{100 * row['sd_of_the_middle']:.1f}",
                f"{100 * row['share_off']:.0f}",
            ]
        )
    lines += table(
        [
            "standing height from",
            "bias, %",
            "standard deviation, %",
            "of the middle 68 %",
            "off by more than a fifth, %",
        ],
        rows,
    )
    methods = found["widths"]["methods"]
    limbs = list(next(iter(methods.values())))
    rows = [
        [
            "the truth, between people",
            *(f"{100 * next(iter(methods.values()))[p]['sd_of_the_truth']:.0f} %" for p in limbs),
        ]
    ]
    for name, by in methods.items():
        row_of = [f"{100 * by[p]['sd_within_a_person']:.0f} %, {by[p]['correlation_of_frames']:.2f}" for p in limbs]
        rows.append([name, *(f"{c}, {by[p]['correlation_of_people']:.2f}" for c, p in zip(row_of, limbs, strict=True))])
    lines += table(["radius", *limbs], rows)
    return "\n".join(lines).rstrip() + "\n"


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("data", type=Path, nargs="?")
    p.add_argument("network", type=Path, nargs="?", help="person network (ONNX)")
    p.add_argument("--reference", type=Path, help="triangulated joints of the film, by ../evaluate_calibrated.py")
    p.add_argument("--json", type=Path, help="file of figures to write")
    p.add_argument("--pictures", type=Path, help="folder for pictures of some people")
    p.add_argument("--choose", action="store_true", help="fit the constants and print them")
    p.add_argument("--render", type=Path, help="print the tables of this file and stop")
    a = p.parse_args()
    if a.render is not None:
        print(markdown(json.loads(a.render.read_text())), end="")
        return
    if a.data is None or a.network is None or not (a.choose or (a.reference and a.json)):
        p.error("wanted DATA and the network with --choose, or with --reference and --json; or --render")
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    try:
        if a.choose:
            net = Masked(a.network)
            choose(drawn(a.data, net, SEED_CHOICE, SOURCES, CHOICE_PEOPLE), other_photographs(net, a.data / "people"))
            return
        found = {
            "made_by": made_by(),
            "network_sha256": sha256(a.network),
            **measure(a.data, a.network, a.reference, a.pictures),
        }
    except (IndexFault, NetworkFault, SilhouetteFault) as fault:
        raise SystemExit(str(fault)) from None
    a.json.write_text(json.dumps(found, indent=1) + "\n")
    print(markdown(found), end="")


if __name__ == "__main__":
    main()
