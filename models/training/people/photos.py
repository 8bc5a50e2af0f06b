"""Photographs with keypoints: their index, and crops of their people with labels.

An index is a folder with photographs and `index.json`:

    {"frames": [{"file", "width", "height", "origin", "licence", "source",
                 "people": [{"box": [x, y, w, h], "keypoints": [17 x (x, y, trust)]}],
                 "other_boxes": [[x, y, w, h]], "maybe_boxes": [[x, y, w, h, ...]], "negative": bool}]}

in pixels, COCO order. Trust is 2 (sure), 1 (less sure) or 0 (unknown). `other_boxes` are people without keypoints,
`maybe_boxes` may or may not be people and are left out of a finder's loss, `negative` frames hold no person.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from shards import CROP_H, CROP_W

F = np.float32
Image = NDArray[np.uint8]
Floats = NDArray[np.float32]
Box = tuple[float, float, float, float]

MIRROR = [0, 2, 1, 4, 3, 6, 5, 8, 7, 10, 9, 12, 11, 14, 13, 16, 15]
MARGIN = 1.25
HELD_OUT_EVERY = 18
"""One photograph in so many is kept from training, chosen by its name: for choosing constants and calibrating confidence."""
EMPTY_HELD_OUT_EVERY = 3
"""Of photographs without people, one in so many: there are few of them."""
MEASURED_ON = ("intel_onebyone",)
"""Beginnings of the names of frames from films that figures are reported on: never trained on."""
BY_HAND = "COCO 2017"
"""Source of photographs whose keypoints were marked by hand (coco_labels.py)."""
UPRIGHT, LYING, TILT_DEG = 0.3, 0.07, 20.0
"""Shares of crops as they are and turned by any angle, and the standard deviation of the others' angle: the program turns
a crop upright whose trunk leans (detect/crop), so that large angles are rare."""
EDGE_PX = 24.0
"""Labels may lie this far outside the photograph (a teacher completes limbs that the border cuts)."""
TRUST = {0: 0.0, 1: 0.3, 2: 1.0}
"""Weight of a keypoint's place in the loss by its trust."""
MARKED_COVERED = 0.6
"""The same of a keypoint that people marked though it is covered."""
COVERED = 0.3
"""The same of a keypoint that an occluder pasted here covers."""
UNSURE = 0.3
"""Weight of "cannot be seen" for keypoints inside the crop of which the labels say nothing: most often they are hidden."""
FOUND_SHARE, FOUND_IOU = 0.3, 0.3
"""Share of a person's crops that are cut at a box of the person detector, where it made one that overlaps the person's by more than this."""
MISTAKEN_SHARE, MISTAKEN_IOU = 0.7, 0.1
"""Share of the crops without people that are cut at a box the person detector made by mistake: one that overlaps no person by more than
this. The others are cut anywhere."""


COCO_ID = re.compile(r"(?<!\d)\d{12}(?!\d)")


@dataclass(frozen=True)
class Person:
    """A person's box (x, y, width, height; pixels) and keypoints [17,3] (x, y, trust)."""

    box: Box
    keypoints: Floats


@dataclass(frozen=True)
class Photo:
    """An entry of an index."""

    file: str
    width: int
    height: int
    origin: str
    licence: str
    source: str
    people: list[Person] = field(default_factory=list)
    other_boxes: list[Box] = field(default_factory=list)
    maybe_boxes: list[Box] = field(default_factory=list)
    negative: bool = False

    @property
    def known_as(self) -> str:
        """What the photograph is, whatever a source calls its file: the id in COCO, else the file's name."""
        found = COCO_ID.search(self.file)
        return found[0] if found else self.file

    @property
    def number(self) -> int:
        """A number that depends on the name alone, to divide photographs by."""
        return int(hashlib.md5(self.file.encode()).hexdigest(), 16)

    @property
    def measured_on(self) -> bool:
        """Whether it is a frame of a film that figures are reported on."""
        return self.file.startswith(MEASURED_ON)

    @property
    def empty_held_out(self) -> bool:
        """Whether a photograph without people is kept from training."""
        return self.number % EMPTY_HELD_OUT_EVERY == 0

    @property
    def by_hand(self) -> bool:
        """Whether people marked its keypoints: then trust 1 means covered, not unsure."""
        return self.source == BY_HAND

    @property
    def held_out(self) -> bool:
        """Whether the photograph is kept from training."""
        return self.number % HELD_OUT_EVERY == 0


class IndexFault(ValueError):
    """An index that cannot be used: the message names file, entry, value and range."""


def box_of(raw: list[float], where: str, width: int, height: int) -> Box:
    """A checked box: it has an area and overlaps the photograph."""
    x, y, w, h = (float(v) for v in raw[:4])
    if not (w > 0 and h > 0 and x < width and y < height and x + w > 0 and y + h > 0):
        raise IndexFault(f"{where}: box {raw[:4]} lies outside the photograph of {width} x {height} pixels")
    return x, y, w, h


def read_index(folder: Path) -> list[Photo]:
    """The photographs of a folder.

    Raises IndexFault where the index is missing, is no JSON, or an entry does not fit its photograph.
    """
    path = folder / "index.json"
    try:
        raw = json.loads(path.read_text())["frames"]
    except FileNotFoundError:
        raise IndexFault(f"{path}: no such file; a folder of photographs needs an index") from None
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise IndexFault(f'{path}: {error}; wanted an object with "frames"') from None
    return [photo_of(entry, f"{path}: {entry.get('file', 'an entry without a file')}") for entry in raw]


def photo_of(entry: dict[str, Any], where: str) -> Photo:
    """One checked entry."""
    width, height = int(entry["width"]), int(entry["height"])
    people = []
    for person in entry.get("people", []):
        k = np.array(person["keypoints"], F)
        if k.size != 51:
            raise IndexFault(f"{where}: {k.size} numbers of keypoints, wanted 51")
        k = k.reshape(17, 3)
        xy = k[k[:, 2] > 0, :2]
        if len(xy) and not ((xy > -EDGE_PX).all() and (xy < [width + EDGE_PX, height + EDGE_PX]).all()):
            # A teacher sometimes completes a limb far outside: that keypoint says nothing.
            outside = ((k[:, :2] <= -EDGE_PX) | (k[:, :2] >= [width + EDGE_PX, height + EDGE_PX])).any(1)
            k[outside, 2] = 0
        people.append(Person(box_of(person["box"], where, width, height), k))
    rest = {n: [box_of(b, where, width, height) for b in entry.get(n, [])] for n in ("other_boxes", "maybe_boxes")}
    return Photo(
        entry["file"],
        width,
        height,
        str(entry.get("origin", "")),
        entry.get("licence", ""),
        entry.get("source", ""),
        people,
        rest["other_boxes"],
        rest["maybe_boxes"],
        bool(entry.get("negative", False)),
    )


def read_photo(folder: Path, photo: Photo) -> Image:
    """The RGB picture [height,width,3]. Raises IndexFault where it does not decode or has another size than the index says."""
    bgr = cv2.imread(str(folder / photo.file))
    if bgr is None:
        raise IndexFault(f"{folder / photo.file}: does not open as a picture")
    if bgr.shape[:2] != (photo.height, photo.width):
        size = f"{bgr.shape[1]} x {bgr.shape[0]}"
        raise IndexFault(f"{folder / photo.file}: is {size} pixels, the index says {photo.width} x {photo.height}")
    return np.ascontiguousarray(bgr[:, :, ::-1])


def with_labels(photos: list[Photo], path: Path) -> list[Photo]:
    """The photographs with further people: one JSON object a line with `file`, `box`, `keypoints`.

    A labelled box is taken out of `other_boxes`.
    """
    more: dict[str, list[dict[str, Any]]] = {}
    text = gzip.open(path, "rt").read() if path.suffix == ".gz" else path.read_text()
    for line in text.splitlines():
        row = json.loads(line)
        more.setdefault(row["file"], []).append(row)
    out = []
    for photo in photos:
        people, others = list(photo.people), list(photo.other_boxes)
        for row in more.get(photo.file, []):
            k = np.array(row["keypoints"], F).reshape(17, 3)
            if (k[:, 2] == 2).sum() < 4:
                continue
            people.append(Person(box_of(row["box"], f"{path}: {photo.file}", photo.width, photo.height), k))
            others = [b for b in others if not np.allclose(b, row["box"][:4], atol=0.6)]
        out.append(Photo(**{**photo.__dict__, "people": people, "other_boxes": others}))
    return out


def open_folders(arguments: list[str]) -> list[tuple[Path, list[Photo]]]:
    """The photographs of each `FOLDER` or `FOLDER:LABELS` (JSON lines, also gzipped).

    A photograph that several folders hold is taken from the last: better labels come later.
    """
    folders: list[tuple[Path, list[Photo]]] = []
    for argument in arguments:
        name, _, labels = argument.partition(":")
        photos = read_index(Path(name))
        if labels:
            photos = with_labels(photos, Path(labels))
        known = {photo.known_as for photo in photos}
        folders = [(path, [photo for photo in before if photo.known_as not in known]) for path, before in folders]
        folders.append((Path(name), photos))
    return folders


def recoloured(crop: Image, rng: np.random.Generator) -> Image:
    """The crop as another camera would have it: resolution, blur, light, colour, low light, noise, JPEG."""
    h, w = crop.shape[:2]
    u = rng.random()
    if u < 0.3:
        k = rng.uniform(1.5, 4)
        small = cv2.resize(crop, (max(8, int(w / k)), max(8, int(h / k))), interpolation=cv2.INTER_AREA)
        crop = np.asarray(cv2.resize(small, (w, h), interpolation=cv2.INTER_LINEAR), np.uint8)
    elif u < 0.42:
        crop = np.asarray(cv2.GaussianBlur(crop, (0, 0), rng.uniform(0.5, 1.8)), np.uint8)
    elif u < 0.5:  # motion
        n = int(rng.integers(3, 9))
        kernel = np.zeros((n, n), F)
        ends = [tuple(int(v) for v in rng.integers(0, n, 2)) for _ in range(2)]
        cv2.line(kernel, ends[0], ends[1], 1.0)
        crop = np.asarray(cv2.filter2D(crop, -1, kernel / max(float(kernel.sum()), 1.0)), np.uint8)
    x = crop.astype(F) / 255
    x *= (rng.uniform(0.6, 1.35) * rng.uniform(0.85, 1.15, 3)).astype(F)
    if rng.random() < 0.3:
        mean = x.mean()
        x = (x - mean) * F(rng.uniform(0.5, 1.5)) + mean
    x = x.clip(0, 1)
    if rng.random() < 0.3:
        x = x ** F(math.exp(rng.uniform(-0.6, 0.6)))
    if rng.random() < 0.15:
        mix = np.eye(3) + rng.normal(0, 0.2, (3, 3))
        x = x @ (mix / mix.sum(0)).astype(F)
    if rng.random() < 0.08:
        x = np.repeat(x.mean(-1, keepdims=True), 3, -1)
    if rng.random() < 0.04:  # low light: few photons
        dark = F(rng.uniform(0.1, 0.4))
        photons = F(rng.uniform(100, 500))
        x = (rng.poisson(np.clip(x * dark, 0, 1) * photons) / (photons * dark * F(rng.uniform(1, 2)))).astype(F)
    elif rng.random() < 0.2:
        channels = 1 if rng.random() < 0.5 else 3
        x = x + rng.normal(0, rng.uniform(0.005, 0.04), (h, w, channels)).astype(F)
    out = np.asarray(x.clip(0, 1) * 255, np.uint8)
    if rng.random() < 0.15:
        quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(30, 90))]
        out = np.asarray(cv2.imdecode(cv2.imencode(".jpg", out, quality)[1], cv2.IMREAD_COLOR), np.uint8)
    return out


def overlap(a: Box, b: Box) -> float:
    """Intersection over union of boxes (x, y, width, height)."""
    w = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    h = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    return w * h / (a[2] * a[3] + b[2] * b[3] - w * h) if w > 0 and h > 0 else 0.0


def covered(box: Box, by: Box) -> bool:
    """Whether half of a box lies in another."""
    w = min(box[0] + box[2], by[0] + by[2]) - max(box[0], by[0])
    h = min(box[1] + box[3], by[1] + by[3]) - max(box[1], by[1])
    return w > 0 and h > 0 and w * h >= 0.5 * box[2] * box[3]


class Boxed(Protocol):
    """What a person detector makes of a picture: `Detection` of evaluate_finder.py."""

    @property
    def box(self) -> Box:
        """Where."""
        ...


Finds = Callable[[Image], Sequence[Boxed]]
"""A person detector."""


class PersonCrops:
    """Crops of the people of photographs, with labels in the form of a shard's rows.

    With a person detector, some are cut at its boxes: of people, as unsure as they are in the program, and of what it takes for people.
    """

    def __init__(
        self, folders: list[tuple[Path, list[Photo]]], held_out: bool = False, finds: Finds | None = None
    ) -> None:
        self.pictures: list[Image] = []
        self.rows: list[tuple[int, Person, bool]] = []
        self.found: list[list[Box]] = []
        self.empty: list[Image] = []
        self.mistaken: list[tuple[Image, Box]] = []
        for folder, photos in folders:
            for photo in photos:
                empty = photo.negative and not held_out and not photo.empty_held_out
                with_people = not photo.measured_on and photo.held_out == held_out and bool(photo.people)
                if not (empty or with_people):
                    continue
                picture = read_photo(folder, photo)
                boxes = [d.box for d in finds(picture)] if finds else []
                if empty:
                    self.empty.append(picture)
                if with_people:
                    self.pictures.append(picture)
                    self.rows += [(len(self.pictures) - 1, person, photo.by_hand) for person in photo.people]
                    self.found += [[b for b in boxes if overlap(b, person.box) >= FOUND_IOU] for person in photo.people]
                # Not all people of the photographs that were marked by hand are known.
                if not photo.by_hand:
                    self.mistaken += [(picture, b) for b in boxes if is_mistaken(b, photo)]

    def sample(self, rng: np.random.Generator) -> tuple[Image, Floats]:
        """A crop u8 [192,144,3], and keypoints [17,5]: x, y in crop pixels, the place's weight in the loss, 1 where it is seen, and
        the weight of that.

        Any rotation, since people lie and cameras hang askew; mirrored; squeezed by up to a quarter; boxes as unsure as a finder's.
        """
        row = int(rng.integers(len(self.rows)))
        index, person, by_hand = self.rows[row]
        picture, found = self.pictures[index], self.found[row]
        x, y, w, h = person.box
        unsure = 1.0
        if found and rng.random() < FOUND_SHARE:
            x, y, w, h = found[int(rng.integers(len(found)))]
            unsure = 0.3  # for it has its own errors already
        cx, cy = x + w / 2, y + h / 2
        if unsure == 1 and rng.random() < 0.12:  # the box ends above the feet or the knees
            part = rng.uniform(0.4, 1)
            cy, h = y + h * part / 2, h * part
            w = max(w * rng.uniform(0.8, 1), h * 0.4)
        aspect = math.exp(rng.uniform(-0.22, 0.22))
        height = max(h, w * aspect * CROP_H / CROP_W) * MARGIN * math.exp(unsure * rng.normal(0, 0.14))
        cx += unsure * rng.normal(0, 0.05) * height * CROP_W / CROP_H
        cy += unsure * rng.normal(0, 0.05) * height
        u = rng.random()
        angle = (
            0.0
            if u < UPRIGHT
            else math.radians(rng.normal(0, TILT_DEG))
            if u < 1 - LYING
            else rng.uniform(-math.pi, math.pi)
        )
        scale = height / CROP_H
        c, s = scale * math.cos(angle), scale * math.sin(angle)
        mirrored = rng.random() < 0.5
        a = np.diag([1 / aspect, 1.0]) @ np.array([[c, -s], [s, c]]) @ np.diag([-1.0 if mirrored else 1.0, 1.0])
        middle = np.array([(CROP_W - 1) / 2, (CROP_H - 1) / 2])
        m = np.concatenate([a, (np.array([cx, cy]) - a @ middle)[:, None]], 1)
        shrink = np.sqrt(abs(np.linalg.det(a)))
        if shrink > 1.5:  # bilinear sampling alone would alias
            picture = np.asarray(cv2.GaussianBlur(picture, (0, 0), 0.35 * shrink), np.uint8)
        border = cv2.BORDER_CONSTANT if rng.random() < 0.6 else cv2.BORDER_REPLICATE
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        crop = np.asarray(cv2.warpAffine(picture, m, (CROP_W, CROP_H), flags=flags, borderMode=border), np.uint8)
        k = person.keypoints.astype(np.float64)
        k[:, :2] = (k[:, :2] - [cx, cy]) @ np.linalg.inv(a).T + middle
        if mirrored:
            k = k[MIRROR]
        inside = np.asarray(((k[:, :2] > -0.5) & (k[:, :2] < [CROP_W - 0.5, CROP_H - 0.5])).all(1))
        trust = k[:, 2]
        weight = np.array([TRUST[int(v)] for v in trust]) * inside
        weight[(trust == 1) & inside] = MARKED_COVERED if by_hand else TRUST[1]
        # What the labels call less sure may be seen or not; what is marked as covered is not.
        known = np.where(trust == 1, float(by_hand), np.where((trust == 0) & inside, UNSURE, 1.0))
        known[~inside] = 1.0
        if rng.random() < 0.4:
            for _ in range(int(rng.integers(1, 3))):
                self.cover(crop, k[:, :2], weight, rng)
        # Covered above: no longer seen, and that is known.
        seen = (trust == 2) & inside & (weight == TRUST[2])
        out = np.concatenate([k[:, :2], weight[:, None], seen[:, None], known[:, None]], 1).astype(F)
        return recoloured(crop, rng), out

    def nobody(self, rng: np.random.Generator) -> tuple[Image, Floats]:
        """As `sample`, of a part of a photograph without people, as a finder that is wrong would cut it out."""
        if self.mistaken and rng.random() < MISTAKEN_SHARE:
            picture, (x, y, w, h) = self.mistaken[int(rng.integers(len(self.mistaken)))]
            height = max(h, w * CROP_H / CROP_W) * MARGIN * math.exp(rng.normal(0, 0.08))
            at = np.array([x + w / 2, y + h / 2]) + rng.normal(0, 0.03, 2) * height
        else:
            picture = self.empty[int(rng.integers(len(self.empty)))]
            ph, pw = picture.shape[:2]
            height = rng.uniform(0.25, 1.3) * ph
            at = np.array([rng.uniform(0.1, 0.9) * pw, rng.uniform(0.1, 0.9) * ph])
        scale = height / CROP_H
        angle = math.radians(rng.normal(0, 8))
        c, s = scale * math.cos(angle), scale * math.sin(angle)
        a = np.array([[c, -s], [s, c]]) @ np.diag([rng.choice([-1.0, 1.0]), 1.0])
        m = np.concatenate([a, (at - a @ [(CROP_W - 1) / 2, (CROP_H - 1) / 2])[:, None]], 1)
        crop = cv2.warpAffine(picture, m, (CROP_W, CROP_H), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
        return recoloured(np.asarray(crop, np.uint8), rng), np.tile(np.array([0, 0, 0, 0, 1], F), (17, 1))

    def cover(self, crop: Image, k: NDArray[np.float64], weight: NDArray[np.float64], rng: np.random.Generator) -> None:
        """Pastes a piece of another photograph over the crop; keypoints under it weigh less."""
        other = self.pictures[rng.integers(len(self.pictures))]
        w = min(int(rng.uniform(12, 80)), other.shape[1] - 1)
        h = min(int(rng.uniform(12, 90)), other.shape[0] - 1)
        sx, sy = rng.integers(other.shape[1] - w), rng.integers(other.shape[0] - h)
        shape = np.ones((h, w), np.uint8)
        if rng.random() < 0.5:
            shape[:] = 0
            cv2.ellipse(shape, (w // 2, h // 2), (w // 2, h // 2), 0, 0, 360, 1, -1)
        x, y = int(rng.uniform(-w / 2, CROP_W - w / 2)), int(rng.uniform(-h / 2, CROP_H - h / 2))
        x0, y0, x1, y1 = max(x, 0), max(y, 0), min(x + w, CROP_W), min(y + h, CROP_H)
        part: NDArray[np.bool_] = np.greater(shape[y0 - y : y1 - y, x0 - x : x1 - x], 0)
        piece = other[sy + y0 - y : sy + y1 - y, sx + x0 - x : sx + x1 - x]
        crop[y0:y1, x0:x1][part] = piece[part]
        at = np.round(k).astype(int)
        for j, (kx, ky) in enumerate(at):
            if x0 <= kx < x1 and y0 <= ky < y1 and part[ky - y0, kx - x0]:
                weight[j] *= COVERED


def is_mistaken(box: Box, photo: Photo) -> bool:
    """Whether there is no person in a box, as far as the index knows."""
    people = [*(p.box for p in photo.people), *photo.other_boxes]
    return all(overlap(box, b) < MISTAKEN_IOU for b in people) and not any(covered(box, b) for b in photo.maybe_boxes)


def plain_crop(picture: Image, box: Box) -> tuple[Image, Floats]:
    """The upright crop u8 [192,144,3] of a box, as for measuring, and the map [2,3] from crop pixels to picture pixels."""
    x, y, w, h = box
    height = max(h, w * CROP_H / CROP_W) * MARGIN
    width = height * CROP_W / CROP_H
    s = height / CROP_H
    m = np.array([[s, 0, x + w / 2 - width / 2 + 0.5 * s - 0.5], [0, s, y + h / 2 - height / 2 + 0.5 * s - 0.5]], F)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return np.asarray(cv2.warpAffine(picture, m, (CROP_W, CROP_H), flags=flags), np.uint8), m
