"""Things that finders take for people: posts, racks, boxes, mats, chairs, coats, blobs in the colours of clothes."""

from __future__ import annotations

import cv2
import numpy as np

from pictures import F, hsv, texture


def _colour(rng: np.random.Generator) -> list[float]:
    if rng.random() < 0.15:  # like skin or wood
        c = np.array([rng.uniform(12, 38), rng.uniform(0.2, 0.65), rng.uniform(0.2, 0.95)], F).reshape(1, 1, 3)
        return [float(x) for x in cv2.cvtColor(c, cv2.COLOR_HSV2RGB).reshape(3)]
    if rng.random() < 0.3:  # dark
        return [float(x) for x in hsv(rng) * F(0.25)]
    return [float(x) for x in hsv(rng)]


def _fill(img: np.ndarray, mask: np.ndarray, rng: np.random.Generator, round_: bool) -> None:
    """Paint where `mask` [h,w] u8 is set: one colour or a texture, darker to one side as light makes it."""
    h, w = mask.shape
    rows, cols = np.nonzero(mask)
    if not len(rows):
        return
    y0, y1, x0, x1 = rows.min(), rows.max() + 1, cols.min(), cols.max() + 1
    part = img[y0:y1, x0:x1]
    paint = (
        texture(part.shape[0], part.shape[1], rng)
        if rng.random() < 0.4
        else np.zeros_like(part) + np.array(_colour(rng), F)
    )
    t = np.linspace(-1, 1, part.shape[1], dtype=F)[None, :, None]
    slope = F(rng.uniform(-0.5, 0.5))
    shade = 1 + slope * t - (F(rng.uniform(0, 0.6)) * t**2 if round_ else 0)
    if rng.random() < 0.5:
        shade = shade * (1 + F(rng.uniform(-0.4, 0.2)) * np.linspace(0, 1, part.shape[0], dtype=F)[:, None, None])
    inside = (mask[y0:y1, x0:x1] > 0)[..., None]
    img[y0:y1, x0:x1] = np.where(inside, np.clip(paint * shade, 0, 1), part)


def _posts(img: np.ndarray, rng: np.random.Generator, x: float, y: float, s: float) -> None:
    """One to four upright posts, with cross bars, or a lamp's or coat stand's head."""
    n, wide = int(rng.integers(1, 5)), max(1, int(s * rng.uniform(0.01, 0.12)))
    colour = _colour(rng)
    tops = []
    for k in range(n):
        px = x + s * (0.45 * k + rng.normal(0, 0.04)) * (1 if n > 1 else 0)
        top, bottom = (px + s * rng.normal(0, 0.04), y - s * rng.uniform(0.85, 1.1)), (px, y)
        tops.append(top)
        shade = rng.uniform(0.8, 1.1)
        a, b = (int(top[0]), int(top[1])), (int(bottom[0]), int(bottom[1]))
        cv2.line(img, a, b, [c * shade for c in colour], wide, cv2.LINE_AA)
        cv2.line(
            img,
            (a[0] + wide // 4, a[1]),
            (b[0] + wide // 4, b[1]),
            [min(1, c * 1.3) for c in colour],
            max(1, wide // 3),
        )
    if n > 1:
        for share in rng.uniform(0, 1, int(rng.integers(1, 4))):
            p, q = tops[0], tops[-1]
            yy = share * y + (1 - share) * p[1]
            cv2.line(
                img,
                (int(p[0]), int(yy)),
                (int(q[0]), int(yy + rng.normal(0, 0.05) * s)),
                colour,
                max(1, int(wide * rng.uniform(0.4, 1.3))),
                cv2.LINE_AA,
            )
    elif rng.random() < 0.6:
        mask = np.zeros(img.shape[:2], np.uint8)
        size = (int(s * rng.uniform(0.05, 0.2)) + 1, int(s * rng.uniform(0.05, 0.2)) + 1)
        cv2.ellipse(mask, (int(tops[0][0]), int(tops[0][1])), size, rng.uniform(-20, 20), 0, 360, 1, -1)
        if rng.random() < 0.5:  # a coat below it
            drop = [(-0.14, 0.1), (0.14, 0.1), (0.2, 0.6), (-0.2, 0.6)]
            pts = np.array([[tops[0][0] + s * (dx + rng.normal(0, 0.03)), tops[0][1] + s * dy] for dx, dy in drop])
            cv2.fillPoly(mask, [pts.astype(np.int32)], 1)
        _fill(img, mask, rng, True)


def _box(img: np.ndarray, rng: np.random.Generator, x: float, y: float, s: float) -> None:
    """A cuboid: front, side and top in three shades."""
    w, h = s * rng.uniform(0.2, 0.9), s * rng.uniform(0.2, 1.0)
    dx, dy = s * rng.uniform(-0.35, 0.35), -s * rng.uniform(0.02, 0.3)
    front = np.array([[x, y], [x + w, y], [x + w, y - h], [x, y - h]])
    side = front[[1, 2]] if dx > 0 else front[[0, 3]]
    for pts in (
        np.array([*side, side[1] + [dx, dy], side[0] + [dx, dy]]),
        np.array([front[3], front[2], front[2] + [dx, dy], front[3] + [dx, dy]]),
        front,
    ):
        mask = np.zeros(img.shape[:2], np.uint8)
        cv2.fillPoly(mask, [pts.astype(np.int32)], 1)
        _fill(img, mask, rng, False)


def _mat(img: np.ndarray, rng: np.random.Generator, x: float, y: float, s: float) -> None:
    """A flat thing on the floor in perspective, with stripes: carpet, mat, platform."""
    w, h, far = s * rng.uniform(0.6, 2.2), s * rng.uniform(0.15, 0.6), rng.uniform(0.4, 0.95)
    lean = rng.normal(0, 0.4) * w
    a, b = np.array([x - w / 2, y]), np.array([x + w / 2, y + rng.normal(0, 0.15) * h])
    c, d = np.array([x + lean + w * far / 2, y - h]), np.array([x + lean - w * far / 2, y - h])
    mask = np.zeros(img.shape[:2], np.uint8)
    cv2.fillPoly(mask, [np.array([a, b, c, d]).astype(np.int32)], 1)
    _fill(img, mask, rng, False)
    colour = _colour(rng)
    for t in rng.uniform(0, 1, int(rng.integers(0, 5))):
        p, q = (1 - t) * a + t * b, (1 - t) * d + t * c
        cv2.line(img, p.astype(int).tolist(), q.astype(int).tolist(), colour, int(rng.integers(1, 4)), cv2.LINE_AA)


def _blobs(img: np.ndarray, rng: np.random.Generator, x: float, y: float, s: float) -> None:
    """A heap of rounded shapes: bags, cushions, plants, bushes."""
    for _ in range(int(rng.integers(1, 7))):
        mask = np.zeros(img.shape[:2], np.uint8)
        at = (int(x + rng.normal(0, 0.22) * s), int(y - rng.uniform(0, 0.8) * s))
        size = (int(s * rng.uniform(0.04, 0.3)) + 1, int(s * rng.uniform(0.04, 0.3)) + 1)
        cv2.ellipse(mask, at, size, rng.uniform(0, 180), 0, 360, 1, -1)
        _fill(img, mask, rng, True)


def _chair(img: np.ndarray, rng: np.random.Generator, x: float, y: float, s: float) -> None:
    w, seat, back = s * rng.uniform(0.3, 0.6), y - s * rng.uniform(0.3, 0.5), y - s * rng.uniform(0.7, 1.0)
    lean, colour, thick = s * rng.normal(0, 0.12), _colour(rng), max(1, int(s * rng.uniform(0.01, 0.06)))
    for px in (x, x + w, x + 0.25 * w, x + 0.8 * w):
        cv2.line(img, (int(px), int(seat)), (int(px + lean * 0.3), int(y)), colour, thick, cv2.LINE_AA)
    for quad in (
        [[x, seat], [x + w, seat], [x + w + lean, seat - 0.1 * s], [x + lean, seat - 0.1 * s]],
        [
            [x + lean, seat - 0.08 * s],
            [x + w + lean, seat - 0.08 * s],
            [x + w + 1.2 * lean, back],
            [x + 1.2 * lean, back],
        ],
    ):
        mask = np.zeros(img.shape[:2], np.uint8)
        cv2.fillPoly(mask, [np.array(quad).astype(np.int32)], 1)
        _fill(img, mask, rng, False)


def _scraps(img: np.ndarray, rng: np.random.Generator, x: float, y: float, s: float, cut: np.ndarray) -> None:
    """Bands of a person's cut-out in a wrong order, or one band: its colours and folds without its shape."""
    bands = np.array_split(np.arange(cut.shape[0]), int(rng.integers(5, 9)))
    order = rng.permutation(len(bands))[: int(rng.integers(1, len(bands) + 1))]
    src = np.concatenate([np.roll(cut[bands[k]], int(rng.integers(-30, 31)), 1) for k in order])
    if rng.random() < 0.5:
        src = np.rot90(src, int(rng.integers(1, 4)))
    scale = s / cut.shape[0]
    m = np.array([[scale, 0, x - scale * src.shape[1] / 2], [0, scale, y - scale * src.shape[0]]])
    q = cv2.warpAffine(np.ascontiguousarray(src), m, img.shape[1::-1]).astype(F) / 255
    img[:] = img * (1 - q[..., 3:]) + q[..., :3] * q[..., 3:]


def clutter(img: np.ndarray, rng: np.random.Generator, cutouts: np.ndarray) -> None:
    """Paint some of these things into `img` [h,w,3] 0..1, in place."""
    h, w = img.shape[:2]
    for _ in range(int(rng.integers(1, 8))):
        x, y = rng.uniform(-0.1, 1.1) * w, rng.uniform(0.3, 1.15) * h
        s = h * float(np.exp(rng.uniform(np.log(0.1), np.log(1.1))))
        kind = rng.choice(7, p=[0.24, 0.16, 0.14, 0.16, 0.12, 0.1, 0.08])
        if kind == 6:  # rails and beams across the picture
            y0 = rng.uniform(0, 1) * h
            thick = int(rng.integers(1, max(2, h // 12)))
            cv2.line(
                img,
                (int(rng.uniform(-0.3, 0.5) * w), int(y0)),
                (int(rng.uniform(0.5, 1.3) * w), int(y0 + rng.normal(0, 0.2) * h)),
                _colour(rng),
                thick,
                cv2.LINE_AA,
            )
        elif kind == 5:
            _scraps(img, rng, x, y, s, cutouts[rng.integers(len(cutouts))])
        else:
            (_posts, _box, _mat, _blobs, _chair)[kind](img, rng, x, y, s)
