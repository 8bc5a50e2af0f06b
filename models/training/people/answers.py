"""Networks that place keypoints, behind one call: a crop of a person's box in, COCO keypoints in the photograph's pixels out.

Crops are cut in the image plane, as the program cuts them for networks that were made for that, and may be turned by the lean of the
person (`cut`). Pixel centres are at whole numbers.
"""

from __future__ import annotations

import hashlib
import math
import subprocess
import sys
import tempfile
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from evaluate_people import BLAZEPOSE_TO_COCO, session
from photos import MARGIN, MIRROR, Box, Image

Floats = NDArray[np.float64]
CHANCE_EDGE = 1e-3
"""Chances nearer to 0 and 1 than this are taken for this, as the program does (src/detect/decode/mod.rs)."""
REACH = 2
"""The program refines a place in the cells so far to each side of the peak."""
APART_MAX = 0.1
"""As in src/detect/merge.rs: places further apart, in sizes of the person, are two opinions."""
TRUNK_MIN, PLACE_GATE = 0.12, 0.3
"""As in src/detect/regions.rs: a shorter trunk, or one with a less likely place, has no direction."""


class NetworkFault(ValueError):
    """A file that is not the network wanted: the message names the file and what is wrong."""


def opened(path: Path, inputs: int, outputs: tuple[str, ...]) -> Any:
    """A network of ONNX Runtime whose input has so many axes. Raises NetworkFault where the file is another or does not open."""
    try:
        net = session(path)
    except Exception as error:  # ONNX Runtime has a type of its own for each way to fail
        raise NetworkFault(f"{path}: does not open as an ONNX network: {str(error).splitlines()[0]}") from None
    lacking = [name for name in outputs if name not in {o.name for o in net.get_outputs()}]
    shape = net.get_inputs()[0].shape
    if lacking or len(shape) != inputs:
        raise NetworkFault(
            f"{path}: input {shape}, outputs {', '.join(o.name for o in net.get_outputs())};"
            f" wanted {inputs} axes and {', '.join(outputs) or 'any output'}"
        )
    return net


def sigmoid(logit: Floats) -> Floats:
    """The logistic function."""
    return np.asarray(1 / (1 + np.exp(-np.clip(logit, -60, 60))), np.float64)


def logit(chance: Floats) -> Floats:
    """Its inverse, of chances kept `CHANCE_EDGE` away from 0 and 1."""
    kept = np.clip(chance, CHANCE_EDGE, 1 - CHANCE_EDGE)
    return np.asarray(np.log(kept / (1 - kept)), np.float64)


@dataclass(frozen=True)
class Fit:
    """How a published confidence follows from a heatmap network's numbers: `ConfidenceFit` of src/engine/models/describe.rs."""

    seen: float
    place: float
    bias: tuple[float, ...]

    def confidence(self, visible: Floats, place: Floats) -> Floats:
        """Confidences [N,17] of logits of being seen and chances of the place."""
        return sigmoid(self.seen * visible + self.place * logit(place) + np.array(self.bias))


UNFITTED = Fit(1.0, 0.0, (0.0,) * 17)
"""Of a network without a fit: the chance of being seen is published."""


def fit_beside(network: Path) -> Fit:
    """The fit in the `model.toml` beside a network, `UNFITTED` where there is none, or where it belongs to another network."""
    toml = network.with_name("model.toml")
    if not toml.exists():
        return UNFITTED
    described = tomllib.loads(toml.read_text())
    raw = described.get("decoder", {}).get("confidence")
    if raw is None or described.get("network", {}).get("sha256") != sha256(network):
        return UNFITTED
    return Fit(float(raw["seen"]), float(raw["place"]), tuple(float(b) for b in raw["bias"]))


def sha256(path: Path) -> str:
    """The file's hash."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


@dataclass
class Answer:
    """Keypoints of N people: `xy` [N,17,2], `confidence` as published and chance of the `place` [N,17]."""

    xy: Floats
    confidence: Floats
    place: Floats
    visible: Floats | None = None
    """Logits of being seen [N,17], of networks that have them."""

    @property
    def visibility(self) -> Floats:
        """Chance that each keypoint can be seen [N,17], as published: the confidence of networks that tell nothing else."""
        return self.confidence if self.visible is None else sigmoid(self.visible)

    def mapped(self, maps: Floats) -> Answer:
        """The same with places taken through the maps [N,2,3]."""
        xy = np.einsum("nij,nkj->nki", maps[:, :, :2], self.xy) + maps[:, None, :, 2]
        return Answer(xy, self.confidence, self.place, self.visible)


class Network(Protocol):
    """A network that places the keypoints of a person in a crop."""

    size: tuple[int, int]
    """Width and height of its crops."""

    def __call__(self, crops: NDArray[np.uint8]) -> Answer:
        """The answer, in crop pixels, to RGB crops [N,height,width,3]."""
        ...


def cut(picture: Image, box: Box, size: tuple[int, int], lean: float = 0.0) -> tuple[Image, Floats]:
    """The crop of a person's box, turned by the `lean` (radians clockwise from upright), and the map [2,3] from its pixels to the picture's.

    Along the trunk a person fills the diagonal of the box, across it an ellipse in the box (src/detect/crop.rs).
    """
    x, y, w, h = box
    c, s = math.cos(lean), math.sin(lean)
    across, along = math.hypot(w * c, h * s), abs(w * s) + abs(h * c)
    scale = MARGIN * max(across / size[0], along / size[1])
    a = scale * np.array([[c, -s], [s, c]])
    middle = np.array([(size[0] - 1) / 2, (size[1] - 1) / 2])
    shift = np.array([x + w / 2 - 0.5, y + h / 2 - 0.5]) - a @ middle
    m = np.concatenate([a, shift[:, None]], 1)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return np.asarray(cv2.warpAffine(picture, m.astype(np.float32), size, flags=flags), np.uint8), m


def lean_of(answer: Answer) -> Floats:
    """How far each person leans [N], radians clockwise from upright; 0 where the trunk has no direction."""
    xy = answer.xy
    trunk = (xy[:, 5] + xy[:, 6] - xy[:, 11] - xy[:, 12]) / 2
    side = (xy.max(1) - xy.min(1)).max(-1)
    placed = (answer.place[:, [5, 6, 11, 12]] >= PLACE_GATE).all(1) & (np.hypot(*trunk.T) > TRUNK_MIN * side)
    return np.where(placed, np.arctan2(trunk[:, 0], -trunk[:, 1]), 0.0)


def decode(chance: Floats, stride: float, reach: int = REACH) -> tuple[Floats, Floats]:
    """Places [N,17,2] in crop pixels and the chances [N,17] around their peaks, of distributions [N,17,rows,columns].

    A place is the mean of the distribution in the cells up to `reach` to each side of its peak.
    """
    n, k, rows, columns = chance.shape
    peaks = chance.reshape(n, k, -1).argmax(-1)
    steps = np.arange(-reach, reach + 1)
    row, column = (peaks // columns)[..., None] + steps, (peaks % columns)[..., None] + steps
    inside = ((row >= 0) & (row < rows))[..., :, None] & ((column >= 0) & (column < columns))[..., None, :]
    at = (row.clip(0, rows - 1) * columns)[..., :, None] + column.clip(0, columns - 1)[..., None, :]
    part = np.take_along_axis(chance.reshape(n, k, -1), at.reshape(n, k, -1), -1).reshape(at.shape) * inside
    place = part.sum((-1, -2))
    x = (part.sum(-2) * column).sum(-1) / place
    y = (part.sum(-1) * row).sum(-1) / place
    return stride * np.stack([x, y], -1) + 0.5 * (stride - 1), place.clip(0, 1)


class Person:
    """A person network of this project: heatmaps, and logits of being seen."""

    def __init__(self, path: Path, mirror: bool = False, reach: int = REACH) -> None:
        self.net = opened(path, 4, ("heatmaps", "visible"))
        _, _, height, width = self.net.get_inputs()[0].shape
        self.size = (int(width), int(height))
        self.mirror, self.reach = mirror, reach
        self.fit = fit_beside(path)

    def maps(self, crop: Image) -> tuple[Floats, Floats]:
        """Distributions [17,rows,columns] and logits of being seen [17] of one crop."""
        image = crop.transpose(2, 0, 1)[None].astype(np.float32) / 255
        heat, visible = self.net.run(["heatmaps", "visible"], {"image": image})
        chance = np.exp(heat[0].astype(np.float64) - heat[0].max((1, 2), keepdims=True))
        return chance / chance.sum((1, 2), keepdims=True), visible[0].astype(np.float64)

    def __call__(self, crops: NDArray[np.uint8]) -> Answer:
        """As `Network`. With `mirror`, the mean of the distributions of a crop and of its mirror, turned back."""
        chances, logits = [], []
        for crop in crops:
            chance, seen = self.maps(crop)
            if self.mirror:
                other, other_seen = self.maps(np.ascontiguousarray(crop[:, ::-1]))
                chance = (chance + other[MIRROR, :, ::-1]) / 2
                seen = (seen + other_seen[MIRROR]) / 2
            chances.append(chance)
            logits.append(seen)
        chance, visible = np.stack(chances), np.stack(logits)
        xy, place = decode(chance, self.size[0] / chance.shape[-1], self.reach)
        return Answer(xy, self.fit.confidence(visible, place), place, visible)


class Merged:
    """A network and its answer on the mirrored crop, merged as the program does for quality = "high" (src/detect/merge.rs)."""

    def __init__(self, net: Network) -> None:
        self.net, self.size = net, net.size

    def __call__(self, crops: NDArray[np.uint8]) -> Answer:
        """As `Network`."""
        a, b = self.net(crops), self.net(np.ascontiguousarray(crops[:, :, ::-1]))
        b = Answer(b.xy[:, MIRROR], b.confidence[:, MIRROR], b.place[:, MIRROR])
        b.xy[..., 0] = self.size[0] - 1 - b.xy[..., 0]
        limit = APART_MAX * (a.xy.max(1) - a.xy.min(1)).max(-1)[:, None]
        two = np.hypot(*np.moveaxis(a.xy - b.xy, -1, 0)) > limit
        share = b.place / np.maximum(a.place + b.place, 1e-12)
        mixed = a.xy + (b.xy - a.xy) * share[..., None]
        surer = b.place > a.place
        xy = np.where(two[..., None], np.where(surer[..., None], b.xy, a.xy), mixed)
        place = np.where(two, np.where(surer, b.place, a.place), a.place + b.place) / 2
        confidence = np.where(two, np.where(surer, b.confidence, a.confidence), a.confidence + b.confidence) / 2
        return Answer(xy, confidence, place)


class MoveNet:
    """MoveNet SinglePose, Lightning or Thunder."""

    size = (256, 256)
    """Crops are cut at Thunder's size; Lightning's are made smaller by area, since a bilinear cut alone would alias."""

    def __init__(self, path: Path) -> None:
        self.net = opened(path, 4, ())
        self.input = self.net.get_inputs()[0]
        self.side = int(self.input.shape[1])
        self.kind: Any = np.int32 if "int32" in self.input.type else np.uint8

    def __call__(self, crops: NDArray[np.uint8]) -> Answer:
        """As `Network`."""
        out = []
        for crop in crops:
            if self.side != crop.shape[0]:
                crop = np.asarray(cv2.resize(crop, (self.side, self.side), interpolation=cv2.INTER_AREA), np.uint8)
            out.append(self.net.run(None, {self.input.name: crop[None].astype(self.kind)})[0].reshape(17, 3))
        y = np.stack(out).astype(np.float64)
        return Answer(y[..., 1::-1] * self.size[0] - 0.5, y[..., 2], y[..., 2])


def keypoint_network(path: Path) -> Person | MoveNet:
    """A person network of this project, or MoveNet, by its outputs. Raises NetworkFault where the file does not open."""
    outputs = {output.name for output in opened(path, 4, ()).get_outputs()}
    return Person(path) if "heatmaps" in outputs else MoveNet(path)


class BlazePose:
    """The landmark network of MediaPipe's BlazePose, run by another Python that has `ai-edge-litert` (blazepose.py)."""

    size = (256, 256)

    def __init__(self, path: Path, python: str = sys.executable) -> None:
        self.path, self.python = path, python

    def __call__(self, crops: NDArray[np.uint8]) -> Answer:
        """As `Network`."""
        with tempfile.TemporaryDirectory() as folder:
            given, made = Path(folder, "crops.npy"), Path(folder, "landmarks.npy")
            np.save(given, crops)
            script = Path(__file__).with_name("blazepose.py")
            command = [self.python, str(script), str(self.path), str(given), str(made)]
            try:
                ended = subprocess.run(command, stderr=subprocess.PIPE, text=True)
            except OSError as error:
                raise NetworkFault(
                    f"{self.python}: does not start: {error.strerror}; blazepose.py says what it needs"
                ) from None
            if ended.returncode != 0:
                said = (ended.stderr.strip().splitlines() or ["no message"])[-1]
                raise NetworkFault(f"{self.path}: blazepose.py with {self.python} failed: {said}")
            y = np.load(made)[:, BLAZEPOSE_TO_COCO].astype(np.float64)
        chance = sigmoid(y[..., 3])
        return Answer(y[..., :2] - 0.5, chance, chance)


def answers(net: Network, people: list[tuple[Image, Box]], turn_from: float | None = None) -> Answer:
    """The network's answers in the photographs' pixels.

    With `turn_from`, a person who leans by more than that (radians) in a first answer is looked at again in a crop that is
    turned so that the trunk is upright.
    """
    cuts = [cut(picture, box, net.size) for picture, box in people]
    first = net(np.stack([crop for crop, _ in cuts])).mapped(np.stack([m for _, m in cuts]))
    if turn_from is None:
        return first
    leans = lean_of(first)
    which = np.flatnonzero(np.abs(leans) > turn_from)
    if len(which) == 0:
        return first
    cuts = [cut(*people[i], net.size, leans[i]) for i in which]
    second = net(np.stack([crop for crop, _ in cuts])).mapped(np.stack([m for _, m in cuts]))
    for name in ("xy", "confidence", "place", "visible"):
        if (to := getattr(first, name)) is not None:
            to[which] = getattr(second, name)
    return first
