"""Measures exported networks on the real files and draws what they find.

PCK@0.2: share of reference keypoints within 0.2 torso lengths (middle of shoulders to middle of
hips, of the reference, at least a quarter of the box's height).
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from crop import Array, assumed_camera, person_crop
from shards import CROP_H, CROP_W, HELD_OUT, open_shard

Image = NDArray[np.uint8]
Box = tuple[float, float, float, float]
BLAZEPOSE_TO_COCO = [0, 2, 5, 7, 8, 11, 12, 13, 14, 15, 16, 23, 24, 25, 26, 27, 28]
BONES = [
    (5, 7), (7, 9), (6, 8), (8, 10), (5, 6), (11, 12), (5, 11), (6, 12), (11, 13), (13, 15), (12, 14), (14, 16),
    (0, 1), (0, 2), (1, 3), (2, 4),
]  # fmt: skip
SEEN = 0.3


def session(path: Path) -> ort.InferenceSession:
    """ONNX Runtime on one thread."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    return ort.InferenceSession(str(path), options)


def decode_heatmaps(heat: Array) -> Array:
    """Logits [17,48,36] to crop pixels [17,2]: mean of the distribution in 5x5 cells around its peak."""
    out = np.zeros((len(heat), 2), np.float32)
    for j, h in enumerate(heat):
        cy, cx = np.unravel_index(int(h.argmax()), h.shape)
        y0, y1, x0, x1 = max(cy - 2, 0), min(cy + 3, h.shape[0]), max(cx - 2, 0), min(cx + 3, h.shape[1])
        p = np.exp(h[y0:y1, x0:x1] - h[cy, cx])
        ys, xs = np.mgrid[y0:y1, x0:x1]
        out[j] = 4 * (p * xs).sum() / p.sum() + 1.5, 4 * (p * ys).sum() / p.sum() + 1.5
    return out


class Person:
    """The person network behind its crop."""

    def __init__(self, path: Path) -> None:
        self.net = session(path)

    def __call__(self, image: Image, box: Box, k: Array | None = None) -> Array:
        """Keypoints [17,3] (image pixels, probability of being seen) of the person in `box` (RGB image)."""
        crop = person_crop(box, assumed_camera(image.shape[1], image.shape[0]) if k is None else k)
        x = crop.cut(image).transpose(2, 0, 1)[None].astype(np.float32) / 255
        heat, visible, _, _ = self.net.run(None, {"image": x})
        xy = crop.to_image(decode_heatmaps(heat[0]))
        return np.concatenate([xy, 1 / (1 + np.exp(-visible[0, :, None]))], 1).astype(np.float32)


class MoveNet:
    """MoveNet Lightning on a square around the box."""

    def __init__(self, path: Path) -> None:
        self.net = session(path)

    def __call__(self, image: Image, box: Box, k: Array | None = None) -> Array:
        """As `Person`."""
        del k
        side = 1.25 * max(box[2] - box[0], box[3] - box[1])
        x0, y0 = (box[0] + box[2] - side) / 2, (box[1] + box[3] - side) / 2
        m = np.array([[192 / side, 0, -x0 * 192 / side], [0, 192 / side, -y0 * 192 / side]])
        x = cv2.warpAffine(image, m, (192, 192), flags=cv2.INTER_AREA)
        y = self.net.run(None, {self.net.get_inputs()[0].name: x[None]})[0].reshape(17, 3)
        return np.stack([y[:, 1] * side + x0, y[:, 0] * side + y0, y[:, 2]], 1).astype(np.float32)


class Finder:
    """The finder behind its letterbox."""

    def __init__(self, path: Path) -> None:
        self.net = session(path)
        self.side = int(self.net.get_inputs()[0].shape[2])

    def __call__(self, image: Image, threshold: float = 0.4) -> list[tuple[float, Box]]:
        """Boxes of people with their scores, best first (non-maximum suppression at IoU 0.5)."""
        h, w = image.shape[:2]
        side = self.side
        s = side / max(h, w)
        nw, nh = round(w * s), round(h * s)
        dx, dy = (side - nw) // 2, (side - nh) // 2
        x = np.full((side, side, 3), 114, np.uint8)
        x[dy : dy + nh, dx : dx + nw] = cv2.resize(image, (nw, nh), interpolation=cv2.INTER_AREA)
        score, dist = self.net.run(None, {"image": x.transpose(2, 0, 1)[None].astype(np.float32) / 255})
        p, d = 1 / (1 + np.exp(-score[0, 0])), dist[0] * 8
        found: list[tuple[float, Box]] = []
        for i in np.argsort(-p, axis=None):
            cy, cx = np.unravel_index(int(i), p.shape)
            if p[cy, cx] < threshold:
                break
            gx, gy = 8 * cx + 3.5, 8 * cy + 3.5
            left, t, r, b = d[:, cy, cx]
            box = tuple(
                float(v) for v in ((gx - left - dx) / s, (gy - t - dy) / s, (gx + r - dx) / s, (gy + b - dy) / s)
            )
            if all(iou(box, other) < 0.5 for _, other in found):  # type: ignore[arg-type]
                found.append((float(p[cy, cx]), box))  # type: ignore[arg-type]
        return found


def iou(a: Box, b: Box) -> float:
    """Intersection over union."""
    w = min(a[2], b[2]) - max(a[0], b[0])
    h = min(a[3], b[3]) - max(a[1], b[1])
    if w <= 0 or h <= 0:
        return 0.0
    return w * h / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - w * h)


def box_of(points: Array, margin: float = 0.1) -> Box:
    """Box of keypoints [N,2], grown on every side by `margin` of its size (heads and feet stick out)."""
    lo, hi = points.min(0), points.max(0)
    g = margin * (hi - lo)
    return float(lo[0] - g[0]), float(lo[1] - g[1]), float(hi[0] + g[0]), float(hi[1] + g[1])


@dataclass
class Frame:
    """A picture with reference keypoints."""

    image: Image
    box: Box
    points: Array
    counts: NDArray[np.bool_]


def read_video(path: Path, every: int = 1) -> list[Image]:
    """RGB frames."""
    video, n = cv2.VideoCapture(str(path)), 0
    frames: list[Image] = []
    while True:
        ok, bgr = video.read()
        if not ok:
            return frames
        if n % every == 0:
            frames.append(np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8))
        n += 1


def read_image(path: Path) -> Image:
    """RGB picture."""
    bgr = cv2.imread(str(path))
    if bgr is None:
        raise FileNotFoundError(path)
    return np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8)


def squats(real: Path) -> list[Frame]:
    """The squats clip with the reference network's keypoints."""
    reference = json.loads((real / "video/squats.keypoints2d.json").read_text())
    frames = []
    for image, rows in zip(read_video(real / "video/squats.mp4"), reference, strict=False):
        points = np.array(rows, np.float32)[BLAZEPOSE_TO_COCO, :2]
        frames.append(Frame(image, box_of(points), points, np.ones(17, bool)))
    return frames


def coco_photo(real: Path) -> list[Frame]:
    """The hand-labelled photo."""
    label = json.loads((real / "images/coco_000000000785.json").read_text())["annotations"][0]
    k = np.array(label["keypoints"], np.float32).reshape(17, 3)
    x, y, w, h = label["bbox"]
    return [Frame(read_image(real / "images/coco_000000000785.jpg"), (x, y, x + w, y + h), k[:, :2], k[:, 2] > 0)]


def pck(found: Array, frame: Frame) -> NDArray[np.bool_]:
    """Which counted reference keypoints were met, [count]."""
    p = frame.points
    torso = float(np.linalg.norm((p[5] + p[6]) / 2 - (p[11] + p[12]) / 2))
    limit = 0.2 * max(torso, 0.25 * (frame.box[3] - frame.box[1]))
    return np.asarray((np.linalg.norm(found[:, :2] - p, axis=1) < limit)[frame.counts])


def overlay(image: Image, points: Array, box: Box) -> Image:
    """The picture with bones; what cannot be seen is thin and dark."""
    out = image.copy()
    t = max(1, image.shape[0] // 300)
    cv2.rectangle(out, (int(box[0]), int(box[1])), (int(box[2]), int(box[3])), (255, 255, 0), t)
    for a, b in BONES:
        seen = min(points[a, 2], points[b, 2]) > SEEN
        colour = ((255, 60, 60) if b % 2 else (60, 120, 255)) if seen else (90, 90, 90)
        cv2.line(out, tuple(int(v) for v in points[a, :2]), tuple(int(v) for v in points[b, :2]), colour, t)
    for x, y, c in points:
        cv2.circle(out, (int(x), int(y)), 2 * t, (0, 255, 0) if c > SEEN else (255, 0, 0), -1)
    return out


def shard_frames(folder: Path, first: int, count: int) -> list[Frame]:
    """Crops of a shard as pictures that are crops already; only keypoints that can be seen count."""
    arrays, total = open_shard(folder)
    frames = []
    for i in range(first, min(first + count, total)):
        k = np.array(arrays["keypoints"][i])
        if np.isfinite(arrays["joints"][i]).all():
            whole = (0.0, 0.0, float(CROP_W), float(CROP_H))
            frames.append(Frame(np.array(arrays["image"][i]), whole, k[:, :2], k[:, 2] > 0.5))
    return frames


def measure_shard(person: Person, folder: Path, first: int, count: int) -> str:
    """Figures on rendered crops: PCK of what can be seen, and whether the network knows what can be seen."""
    met, right, known = [], 0, 0
    for f in shard_frames(folder, first, count):
        heat, visible, _, _ = person.net.run(None, {"image": f.image.transpose(2, 0, 1)[None].astype(np.float32) / 255})
        torso = np.linalg.norm(f.points[[5, 6]].mean(0) - f.points[[11, 12]].mean(0))
        away = np.linalg.norm(decode_heatmaps(heat[0]) - f.points, axis=1)
        met.append((away < 0.2 * max(float(torso), 10.0))[f.counts])
        right += int(((visible[0] > 0) == f.counts).sum())
        known += 17
    hits = np.concatenate(met)
    return f"PCK@0.2 {hits.mean():.3f} of {len(hits)} seen keypoints, seen or not right in {right / known:.3f}"


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("data", type=Path, help="folder with real/ and weights/")
    p.add_argument("--person", type=Path, required=True)
    p.add_argument("--finder", type=Path)
    p.add_argument("--movenet", action="store_true", help="the same figures for MoveNet")
    p.add_argument("--shards", type=Path, nargs="*", default=[], help="held-out rows of these are measured as well")
    p.add_argument("--pictures", type=Path, help="write overlays here")
    a = p.parse_args()
    real = a.data / "real"
    movenet = MoveNet(a.data / "weights/movenet_lightning_fp32_from_int8.onnx")
    person = Person(a.person)
    finder = Finder(a.finder) if a.finder else None
    nets: dict[str, Any] = {"person": person, **({"movenet": movenet} if a.movenet else {})}
    for folder in a.shards:
        print(f"{folder.name}: {measure_shard(person, folder, 0, 2 * HELD_OUT if 'held' in folder.name else HELD_OUT)}")
    sets = {"squats": squats(real), "coco 785": coco_photo(real)}
    calibrated = []
    for camera in range(1, 5):
        box: Box | None = None
        for image in read_video(real / f"calibrated_4cam_single/cam0{camera}.mp4", 10):
            h, w = image.shape[:2]
            points = movenet(image, box or (0.0, 0.0, float(w), float(h)))
            for _ in range(2):
                box = box_of(points[points[:, 2] > 0.2, :2]) if (points[:, 2] > 0.2).sum() > 5 else None
                points = movenet(image, box or (0.0, 0.0, float(w), float(h)))
            calibrated.append(Frame(image, box_of(points[:, :2]), points[:, :2], points[:, 2] > 0.3))
    sets["calibrated, against MoveNet"] = calibrated
    for name, frames in sets.items():
        for kind, net in nets.items():
            found = [net(f.image, f.box) for f in frames]
            met = np.concatenate([pck(q, f) for q, f in zip(found, frames, strict=True)])
            joint = np.zeros(17)
            for j in range(17):
                only = [Frame(f.image, f.box, f.points, f.counts & (np.arange(17) == j)) for f in frames]
                hits = np.concatenate([pck(q, f) for q, f in zip(found, only, strict=True)])
                joint[j] = hits.mean() if len(hits) else np.nan
            seen = np.mean([(q[:, 2] > SEEN).mean() for q in found])
            print(f"{name}: {kind} PCK@0.2 {met.mean():.3f} of {len(met)}, seen {seen:.2f}; by joint", joint.round(2))
        if finder:
            overlaps = [max((iou(b, f.box) for _, b in finder(f.image)), default=0.0) for f in frames]
            extra = np.mean([len(finder(f.image)) for f in frames])
            print(
                f"  finder: IoU > 0.5 in {np.mean(np.array(overlaps) > 0.5):.2f}, mean {np.mean(overlaps):.2f}, boxes {extra:.1f}"
            )
    if a.pictures:
        a.pictures.mkdir(parents=True, exist_ok=True)
        for name, frames in sets.items():
            step = max(1, len(frames) // 8)
            tiles = []
            for f in frames[::step][:8]:
                pic = overlay(f.image, person(f.image, f.box), f.box)
                for _, b in finder(f.image) if finder else []:
                    cv2.rectangle(pic, (int(b[0]), int(b[1])), (int(b[2]), int(b[3])), (255, 0, 255), 2)
                tiles.append(
                    cv2.resize(pic, (int(480 * pic.shape[1] / pic.shape[0]), 480), interpolation=cv2.INTER_AREA)
                )
            sheet = cv2.hconcat(tiles)
            cv2.imwrite(str(a.pictures / f"{name.split(',')[0].replace(' ', '_')}.png"), sheet[..., ::-1])


if __name__ == "__main__":
    main()
