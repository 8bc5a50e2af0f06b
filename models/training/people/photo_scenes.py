"""Views of photographs with boxes of people for the finder: zoomed, turned, mirrored, covered, side by side; and empty ones."""

from __future__ import annotations

import math
from pathlib import Path

import cv2
import numpy as np
from torch import Tensor

from finder import SIZE
from photos import Box, Image, Photo, read_photo, recoloured
from scenes import Box as Corners
from scenes import collate

KEPT = 0.75
"""Photographs are kept this much smaller: memory, and the network's input is smaller still."""
EMPTY = 0.3
"""Share of views of photographs without people."""
MINED = 0.35
"""Share of those empty views that are cut beside the people of other photographs: streets, kitchens, trees."""
BESIDE = 0.2
"""Share of views that are two, side by side: more people, and edges that are no people."""
TURNED, ASKEW_DEG = 0.4, 20.0
LYING = 0.08
"""Share of views turned by a quarter: people who lie, cameras on their side."""
SEEN_SHARE = 0.2
"""A person of whom less than this share of the box is in the view is left out of the loss."""
HEIGHT_PX_MIN, WIDTH_PX_MIN = 8.0, 3.0

none: list[Box] = []


class PhotoScenes:
    """Views of photographs, composed as they are asked for."""

    def __init__(self, folders: list[tuple[Path, list[Photo]]], seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.people: list[tuple[Image, list[Box], list[Box]]] = []
        self.empty: list[Image] = []
        for folder, photos in folders:
            for photo in photos:
                if photo.measured_on or (photo.empty_held_out if photo.negative else photo.held_out):
                    continue
                picture = cv2.resize(read_photo(folder, photo), None, fx=KEPT, fy=KEPT, interpolation=cv2.INTER_AREA)
                picture = np.asarray(picture, np.uint8)
                if photo.negative:
                    self.empty.append(picture)
                    continue
                boxes = [person.box for person in photo.people] + photo.other_boxes
                scaled = [[tuple(KEPT * v for v in b) for b in part] for part in (boxes, photo.maybe_boxes)]
                self.people.append((picture, scaled[0], scaled[1]))  # type: ignore[arg-type]

    def mined(self, w: int, h: int) -> tuple[Image, list[Corners], list[Corners]] | None:
        """A view of a photograph with people that holds none of them; None when a few tries show a person each."""
        rng = self.rng
        for _ in range(6):
            picture, boxes, maybe = self.people[rng.integers(len(self.people))]
            ph, pw = picture.shape[:2]
            cw = rng.uniform(0.3, 0.8) * min(pw, ph * w / h)
            ch = cw * h / w
            x0, y0 = rng.uniform(0, pw - cw), rng.uniform(0, ph - ch)
            clear = all(x > x0 + cw or x + bw < x0 or y > y0 + ch or y + bh < y0 for x, y, bw, bh in [*boxes, *maybe])
            if clear:
                part = picture[int(y0) : int(y0 + ch), int(x0) : int(x0 + cw)]
                return np.asarray(cv2.resize(part, (w, h), interpolation=cv2.INTER_AREA), np.uint8), [], []
        return None

    def view(
        self, picture: Image, boxes: list[Box], maybe: list[Box], w: int, h: int
    ) -> tuple[Image, list[Corners], list[Corners]]:
        """A random view [h,w,3] of a photograph; corners of the people in it, and of regions of which nothing is known."""
        rng = self.rng
        ph, pw = picture.shape[:2]
        aspect, near = math.exp(rng.uniform(-0.22, 0.22)), rng.random() < 0.5
        s = max(w / pw / aspect, h / ph) if near else min(w / pw / aspect, h / ph)
        s *= math.exp(rng.uniform(-0.1, 0.9)) if near else math.exp(rng.uniform(-0.7, 0.1))
        sx, sy = s * aspect, s
        fx, fy = pw / 2, ph / 2
        if boxes and near:
            x, y, bw, bh = boxes[rng.integers(len(boxes))]
            fx, fy = x + bw * rng.uniform(0.2, 0.8), y + bh * rng.uniform(0.1, 0.9)
        tx, ty = w / 2 - sx * fx + rng.normal(0, 0.1) * w, h / 2 - sy * fy + rng.normal(0, 0.1) * h
        if sx * pw >= w:
            tx = min(0, max(w - sx * pw, tx))
        if sy * ph >= h:
            ty = min(0, max(h - sy * ph, ty))
        m = np.array([[sx, 0, tx], [0, sy, ty], [0, 0, 1]])
        if rng.random() < 0.5:
            m = np.array([[-1.0, 0, w - 1], [0, 1, 0], [0, 0, 1]]) @ m
        u, degrees = rng.random(), 0.0
        if u < LYING:
            degrees = float(rng.choice([-90.0, 90.0])) + rng.normal(0, 10)
        elif u < LYING + TURNED:
            degrees = rng.normal(0, ASKEW_DEG)
        m = np.concatenate([cv2.getRotationMatrix2D((w / 2, h / 2), degrees, 1), [[0, 0, 1]]]) @ m
        source = cv2.GaussianBlur(picture, (0, 0), 0.4 / min(sx, sy)) if min(sx, sy) < 0.7 else picture
        border = cv2.BORDER_REFLECT_101 if not boxes and rng.random() < 0.3 else cv2.BORDER_CONSTANT
        grey = (114, 114, 114) if rng.random() < 0.5 else (0, 0, 0)
        out = np.asarray(cv2.warpAffine(source, m[:2], (w, h), borderMode=border, borderValue=grey), np.uint8)
        keep: list[Corners] = []
        unknown: list[Corners] = []
        sine = abs(math.sin(math.radians(degrees)))
        for part, known in ((boxes, True), (maybe, False)):
            for x, y, bw, bh in part:
                # The hull of a turned box is too large for what it holds: an ellipse touches it less.
                across = np.array([bw / 2, 0]) @ m[:2, :2].T
                down = np.array([0, bh / 2]) @ m[:2, :2].T
                hull = np.abs(across) + np.abs(down)
                ellipse = np.hypot(across, down)
                half = hull * (1 - sine) + ellipse * sine
                middle = np.array([x + bw / 2, y + bh / 2]) @ m[:2, :2].T + m[:2, 2]
                lo, hi = middle - half, middle + half
                inner_lo, inner_hi = np.maximum(lo, 0), np.minimum(hi, [w, h])
                if (inner_hi <= inner_lo).any():
                    continue
                size = inner_hi - inner_lo
                corners = (float(inner_lo[0]), float(inner_lo[1]), float(inner_hi[0]), float(inner_hi[1]))
                small = size[1] < HEIGHT_PX_MIN or size[0] < WIDTH_PX_MIN
                if known and not small and np.prod(size) >= SEEN_SHARE * np.prod(hi - lo):
                    keep.append(corners)
                else:
                    unknown.append(corners)
        return out, keep, unknown

    def any_view(self, w: int, h: int, empty: bool) -> tuple[Image, list[Corners], list[Corners]]:
        """A view with or without people."""
        rng = self.rng
        if empty:
            found = self.mined(w, h) if rng.random() < MINED or not self.empty else None
            return found or self.view(self.empty[rng.integers(len(self.empty))], none, none, w, h)
        return self.view(*self.people[rng.integers(len(self.people))], w, h)

    def scene(self) -> tuple[np.ndarray, list[Corners], list[Corners]]:
        """A letterboxed frame u8 [256,256,3], corners of its people, and of regions of which nothing is known."""
        rng = self.rng
        aspect = rng.choice([4 / 3, 16 / 9, 1.0, 3 / 4, 9 / 16, 3 / 2])
        w, h = (SIZE, round(SIZE / aspect)) if aspect >= 1 else (round(SIZE * aspect), SIZE)
        empty = rng.random() < EMPTY
        if rng.random() < BESIDE:
            left = int(w * rng.uniform(0.35, 0.65))
            a, keep, unknown = self.any_view(left, h, empty)
            b, keep_b, unknown_b = self.any_view(w - left, h, rng.random() < 0.4)
            out = np.concatenate([a, b], 1)
            keep = keep + [(c[0] + left, c[1], c[2] + left, c[3]) for c in keep_b]
            unknown = unknown + [(c[0] + left, c[1], c[2] + left, c[3]) for c in unknown_b]
        else:
            out, keep, unknown = self.any_view(w, h, empty)
        if keep and self.empty and rng.random() < 0.2:  # a thing before the people, from an empty photograph
            thing = self.empty[rng.integers(len(self.empty))]
            tw, th = int(w * rng.uniform(0.05, 0.35)), int(h * rng.uniform(0.1, 0.5))
            x0, y0 = int(rng.integers(w - tw)), int(rng.integers(h - th))
            half = thing[: thing.shape[0] // 2, : thing.shape[1] // 2]
            out[y0 : y0 + th, x0 : x0 + tw] = cv2.resize(half, (tw, th), interpolation=cv2.INTER_AREA)

            def hidden(c: Corners) -> bool:
                across = max(0.0, min(c[2], x0 + tw) - max(c[0], x0))
                down = max(0.0, min(c[3], y0 + th) - max(c[1], y0))
                return across * down / ((c[2] - c[0]) * (c[3] - c[1])) > 0.6

            unknown = unknown + [c for c in keep if hidden(c)]
            keep = [c for c in keep if not hidden(c)]
        out = recoloured(out, rng)
        frame = np.full((SIZE, SIZE, 3), 114, np.uint8)
        dx, dy = (SIZE - w) // 2, (SIZE - h) // 2
        frame[dy : dy + h, dx : dx + w] = out
        shift = np.array([dx, dy, dx, dy]) - 0.5
        moved = [[tuple(float(v) for v in np.array(c) + shift) for c in part] for part in (keep, unknown)]
        return frame, moved[0], moved[1]  # type: ignore[return-value]

    def batch(self, n: int) -> dict[str, Tensor]:
        """As `Scenes.batch`."""
        return collate([self.scene() for _ in range(n)])
