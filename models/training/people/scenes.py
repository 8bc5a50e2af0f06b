"""Whole frames with boxes of people for the finder: rendered cut-outs in drawn rooms or before noise."""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from clutter import clutter
from finder import CELLS, SIZE, STRIDE
from pictures import background, camera_noise, texture
from sample import SOURCES, Studio, turned
from view import H, W, render

Box = tuple[float, float, float, float]
PERSON_ROW = 1030
"""Floats of a person in `people.f32` of a drawn folder."""
DRAWN = 0.6
"""Share of scenes in drawn rooms."""
CLUTTER = 0.6
"""Share of scenes into which things are painted before the people."""
EMPTY_ROOMS = 0.2
"""Share of drawn rooms that are cut where nobody stands, when there is such a place."""
TILTED = 0.3
"""Share of cut-outs that are turned in the picture: leaning people, tilted cameras."""
SEEN_SHARE = 0.15
"""A person of whom less than this share of the box is drawn has no box."""


def cutouts(studio: Studio, folder: Path, count: int) -> None:
    """Cut-outs of people [count,192,144,4] u8, colour not premultiplied."""
    out = np.zeros((count, H, W, 4), np.uint8)
    for k in range(count):
        e = turned(studio.person())
        look, v = e["look"], e["v"]
        xy = v[look.used, :2] / np.maximum(v[look.used, 2:], 0.1)
        lo, hi = xy.min(0), xy.max(0)
        f = 0.97 * min(W / (hi[0] - lo[0]), H / (hi[1] - lo[1]))
        c = 0.5 * (lo + hi)
        img, _, lab = render(look, v, e["n"], f, ((W - 1) / 2 - f * c[0], (H - 1) / 2 - f * c[1]), (H, W), studio.rng)
        a = cv2.resize((lab > 0).astype(np.float32), (W, H), interpolation=cv2.INTER_AREA)
        rgb = cv2.resize(img, (W, H), interpolation=cv2.INTER_AREA) / np.maximum(a, 1e-3)[..., None]
        out[k] = np.concatenate([np.clip(rgb, 0, 1) * 255, a[..., None] * 255], 2).astype(np.uint8)
        if k % 500 == 0:
            print(k, flush=True)
    np.save(folder / "cutouts.npy", out)


class Drawn:
    """Frames of the program's synthetic camera, as its example `draw_people` writes them."""

    def __init__(self, folder: Path) -> None:
        size = json.loads((folder / "frames.json").read_text())
        n, h, w = size["frames"], size["height"], size["width"]
        self.rgb = np.fromfile(folder / "frames.u8", np.uint8).reshape(n, h, w, 3)
        self.labels = np.fromfile(folder / "labels.u8", np.uint8).reshape(n, h, w)
        people = np.fromfile(folder / "people.f32", "<f4").reshape(-1, PERSON_ROW)
        self.people = [people[people[:, 0] == k, 1:6] for k in range(n)]

    def empty(self, size: tuple[int, int], rng: np.random.Generator, rows: range) -> np.ndarray | None:
        """A cut with nobody in it, scaled to `size`; None when a dozen tries show somebody each."""
        h, w = self.labels.shape[1:]
        for _ in range(12):
            k = rows[rng.integers(len(rows))]
            cw = rng.uniform(0.2, 0.7) * min(w, h * size[0] / size[1])
            ch = cw * size[1] / size[0]
            x0, y0 = int(rng.uniform(0, w - cw)), int(rng.uniform(0, h - ch))
            part = np.s_[y0 : y0 + int(ch), x0 : x0 + int(cw)]
            if not (self.labels[k][part] >> 2).any():
                return cv2.resize(self.rgb[k][part], size, interpolation=cv2.INTER_AREA).astype(np.float32) / 255
        return None

    def scene(self, k: int, size: tuple[int, int], rng: np.random.Generator) -> tuple[np.ndarray, list[Box]]:
        """A random cut of frame `k`, scaled to `size` (width, height), 0..1, and its boxes."""
        h, w = self.labels.shape[1:]
        width, height = size
        share = rng.uniform(0.35, 1) if rng.random() < 0.7 else 1.0
        cw = share * min(w, h * width / height)
        ch = cw * height / width
        x0, y0 = rng.uniform(0, w - cw), rng.uniform(0, h - ch)
        s = width / cw
        flip = rng.random() < 0.5
        m = np.array([[-s if flip else s, 0, s * (x0 + cw) - 1 if flip else -s * x0], [0, s, -s * y0]])
        pic = cv2.warpAffine(self.rgb[k], m, size, flags=cv2.INTER_AREA).astype(np.float32) / 255
        own = np.asarray(cv2.warpAffine(self.labels[k], m, size, flags=cv2.INTER_NEAREST), np.uint8)
        boxes: list[Box] = []
        for person, *outline in self.people[k]:
            xs = sorted(m[0, 0] * x + m[0, 2] for x in (outline[0], outline[2]))
            ys = [m[1, 1] * y + m[1, 2] for y in (outline[1], outline[3])]
            b = (max(xs[0], 0.0), max(ys[0], 0.0), min(xs[1], float(width)), min(ys[1], float(height)))
            area = (b[2] - b[0]) * (b[3] - b[1])
            if b[2] - b[0] > 3 and b[3] - b[1] > 7 and (own >> 2 == person + 1).sum() > SEEN_SHARE * area:
                boxes.append(b)
        return pic, boxes


class Scenes:
    """Whole frames with people, composed as they are asked for."""

    def __init__(self, cutouts: np.ndarray, seed: int, drawn: Drawn | None = None, rows: range = range(0)) -> None:
        self.cut, self.rng = cutouts, np.random.default_rng(seed)
        self.drawn, self.rows = drawn, rows
        self.hulls = []
        for c in cutouts:
            ys, xs = np.nonzero(c[..., 3] > 100)
            points = np.stack([xs, ys], 1).astype(np.float32) if len(xs) else np.zeros((1, 2), np.float32)
            self.hulls.append(cv2.convexHull(points)[:, 0] + 0.5)

    def scene(self) -> tuple[np.ndarray, list[Box]]:
        rng = self.rng
        aspect = rng.choice([4 / 3, 16 / 9, 1.0, 9 / 16, 3 / 4])
        w, h = (SIZE, int(SIZE / aspect)) if aspect >= 1 else (int(SIZE * aspect), SIZE)
        boxes: list[Box] = []
        pic = None
        p = [0.2, 0.4, 0.17, 0.1, 0.06, 0.04, 0.03]
        if self.drawn and rng.random() < DRAWN:
            if rng.random() < EMPTY_ROOMS:
                pic = self.drawn.empty((w, h), rng, self.rows)
            if pic is None:
                pic, boxes = self.drawn.scene(self.rows[rng.integers(len(self.rows))], (w, h), rng)
                p = [0.5, 0.35, 0.15, 0, 0, 0, 0]
        if pic is None:
            pic = background(h, w, rng)
        n = rng.choice(7, p=p)
        if rng.random() < CLUTTER:
            before = pic.copy()
            clutter(pic, rng, self.cut)
            for b in boxes:  # nobody is painted over
                at = np.s_[max(int(b[1]) - 2, 0) : int(b[3]) + 3, max(int(b[0]) - 2, 0) : int(b[2]) + 3]
                pic[at] = before[at]
        near = math.exp(rng.uniform(math.log(0.09), math.log(2.8)))
        people = []
        for _ in range(n):
            k = rng.integers(len(self.cut))
            s = h * near * math.exp(rng.normal(0, 0.25)) / 192
            cx, cy = rng.uniform(0.02, 0.98) * w, rng.normal(0.55, 0.15) * h
            if 192 * s > h:  # too near to fit: the head is in the picture, the legs are not
                half = float(np.ptp(self.hulls[k][:, 1])) * s / 2
                cy = rng.uniform(-0.03, 0.45) * h + half
            tilt = 0.0
            if rng.random() < TILTED:
                tilt = math.radians(rng.normal(0, 25) if rng.random() < 0.8 else rng.uniform(-100, 100))
            people.append((s, k, cx, cy, rng.random() < 0.5, tilt))
        people.sort()
        for s, k, cx, cy, flip, tilt in people:
            m = np.zeros((2, 3), np.float32)
            c, t = s * math.cos(tilt), s * math.sin(tilt)
            m[:, :2] = np.array([[c, -t], [t, c]]) @ np.diag([-1.0 if flip else 1.0, 1.0])
            outline = self.hulls[k] @ m[:, :2].T
            lo, hi = outline.min(0), outline.max(0)
            m[:, 2] = np.array([cx, cy]) - 0.5 * (lo + hi)
            src = self.cut[k]
            if s < 0.6:
                src = cv2.GaussianBlur(src, (0, 0), 0.4 / s)
            q = cv2.warpAffine(src, m, (w, h)).astype(np.float32) / 255
            a = q[..., 3:]
            pic = pic * (1 - a) + q[..., :3] * np.float32(rng.uniform(0.8, 1.1)) * a
            hw, hh = (hi - lo) / 2
            b = (max(cx - hw, 0), max(cy - hh, 0), min(cx + hw, w), min(cy + hh, h))
            boxes = [o for o in boxes if (a[int(o[1]) : int(o[3]) + 1, int(o[0]) : int(o[2]) + 1] > 0.5).mean() < 0.45]
            if (b[2] - b[0]) * (b[3] - b[1]) > 0.2 * 4 * hw * hh and b[3] - b[1] > 7 and b[2] - b[0] > 3:
                boxes.append(b)
        if rng.random() < 0.4:  # furniture before everybody
            m = np.zeros((h, w), np.float32)
            if rng.random() < 0.5:
                y = int(rng.uniform(0.55, 0.95) * h)
                a0, a1 = sorted(rng.uniform(-0.2, 1.2, 2) * w)
                cv2.rectangle(m, (int(a0), y), (int(a1), h), 1.0, -1)
            else:
                x = int(rng.uniform(0, w))
                cv2.rectangle(
                    m, (x, int(rng.uniform(-0.2, 0.8) * h)), (x + int(rng.uniform(0.02, 0.15) * w), h), 1.0, -1
                )
            pic = pic * (1 - m[..., None]) + texture(h, w, rng) * m[..., None]
            boxes = [b for b in boxes if (m[int(b[1]) : int(b[3]) + 1, int(b[0]) : int(b[2]) + 1] > 0.5).mean() < 0.7]
        u8 = camera_noise(pic, rng) if rng.random() < 0.7 else (pic.clip(0, 1) * 255).astype(np.uint8)
        out = np.full((SIZE, SIZE, 3), 114, np.uint8)
        dx, dy = (SIZE - w) // 2, (SIZE - h) // 2
        out[dy : dy + h, dx : dx + w] = u8
        return out, [(b[0] + dx - 0.5, b[1] + dy - 0.5, b[2] + dx - 0.5, b[3] + dy - 0.5) for b in boxes]

    def batch(self, n: int) -> dict[str, Tensor]:
        """Images and targets of `n` scenes, as `collate` gives them."""
        return collate([(*self.scene(), []) for _ in range(n)])


def collate(scenes: list[tuple[np.ndarray, list[Box], list[Box]]]) -> dict[str, Tensor]:
    """Images u8 [n,3,256,256] and targets: score [n,32,32] Gaussian peaks, box [n,4,32,32], weight [n,32,32] of the boxes,
    known [n,32,32], which is 0 where nothing is said about people: in the third entry's boxes (left, top, right, bottom)."""
    n = len(scenes)
    score, weight = np.zeros((n, CELLS, CELLS), np.float32), np.zeros((n, CELLS, CELLS), np.float32)
    box, known = np.zeros((n, 4, CELLS, CELLS), np.float32), np.ones((n, CELLS, CELLS), np.float32)
    g = np.arange(CELLS, dtype=np.float32) * STRIDE + (STRIDE - 1) / 2
    for i, (_, boxes, unknown) in enumerate(scenes):
        for b in unknown:
            rows, columns = (
                (g > b[1] - STRIDE / 2) & (g < b[3] + STRIDE / 2),
                (g > b[0] - STRIDE / 2) & (g < b[2] + STRIDE / 2),
            )
            known[i][np.ix_(rows, columns)] = 0
        for b in sorted(boxes, key=lambda b: -(b[2] - b[0]) * (b[3] - b[1])):
            cx, cy = (b[0] + b[2]) / 2, (b[1] + b[3]) / 2
            sx, sy = max((b[2] - b[0]) / 6, 5.0), max((b[3] - b[1]) / 6, 5.0)
            peak = np.exp(-((g[None, :] - cx) ** 2) / (2 * sx**2) - ((g[:, None] - cy) ** 2) / (2 * sy**2))
            iy, ix = (int(np.clip(round((v - g[0]) / STRIDE), 0, CELLS - 1)) for v in (cy, cx))
            peak[iy, ix] = 1.0
            known[i, iy, ix] = 1.0
            score[i] = np.maximum(score[i], peak)
            near = peak > 0.55
            weight[i][near] = peak[near]
            for c, v in enumerate((g[None, :] - b[0], g[:, None] - b[1], b[2] - g[None, :], b[3] - g[:, None])):
                box[i, c][near] = np.broadcast_to(np.maximum(v, 0.5) / 8, (CELLS, CELLS))[near]
    return {
        "image": torch.from_numpy(np.stack([image for image, _, _ in scenes])).permute(0, 3, 1, 2),
        "score": torch.from_numpy(score),
        "box": torch.from_numpy(box),
        "weight": torch.from_numpy(weight),
        "known": torch.from_numpy(known),
    }


def main() -> None:
    """Renders the cut-outs."""
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("data", type=Path)
    p.add_argument("out", type=Path)
    p.add_argument("--seed", type=int, default=77)
    p.add_argument("--count", type=int, default=3000)
    a = p.parse_args()
    cv2.setNumThreads(1)
    a.out.mkdir(parents=True, exist_ok=True)
    cutouts(Studio(a.data, a.seed, SOURCES), a.out, a.count)


if __name__ == "__main__":
    main()
