"""A camera's view of a person: rotation, light, rasterising."""

from __future__ import annotations

import math

import numpy as np

from looks import Look
from raster import draw

F = np.float32
W, H, SS = 144, 192, 2
"""Columns and rows of a crop; samples across a pixel."""


def rotation(yaw: float, pitch: float, roll: float) -> np.ndarray:
    """World (y up) to camera (x right, y down, z forward)."""
    cy, sy, cx, sx, cz, sz = (
        math.cos(yaw),
        math.sin(yaw),
        math.cos(-pitch),
        math.sin(-pitch),
        math.cos(roll),
        math.sin(roll),
    )
    ry = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    rx = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    rz = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    return (np.diag([1.0, -1, -1]) @ rz @ rx @ ry).astype(F)


def render(
    look: Look,
    vert: np.ndarray,
    norm: np.ndarray,
    f: float,
    c: tuple[float, float],
    size: tuple[int, int],
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Camera-frame vertices [V,3] -> image, zbuf, labels at supersampling SS."""
    h, w = size[0] * SS, size[1] * SS
    img = np.zeros((h, w, 3), F)
    z = np.full((h, w), 1e9, F)
    lab = np.zeros((h, w), np.int8)
    px = np.empty((len(vert), 2), F)
    depth = vert[:, 2].copy()
    inv = 1 / np.maximum(depth, 0.05)
    px[:, 0] = ((f * vert[:, 0] * inv + c[0]) + 0.5) * SS - 0.5
    px[:, 1] = ((f * vert[:, 1] * inv + c[1]) + 0.5) * SS - 0.5
    shade = np.full(len(vert), rng.uniform(0.25, 0.7), F)
    for _ in range(rng.integers(1, 3)):
        d = rng.normal(size=3)
        d[1] = -abs(d[1]) * 1.2
        d /= np.linalg.norm(d)
        shade += F(rng.uniform(0.2, 0.7)) * np.maximum(norm @ d.astype(F), 0)
    view = -vert * inv[:, None]
    rim = F(1) - F(rng.uniform(0, 0.25)) * (1 - np.abs((norm * view).sum(1)))
    tint = 1 + rng.normal(size=3).astype(F) * F(0.04)
    colour = np.clip(look.colour * (shade * rim)[:, None] * tint, 0, 1.3).astype(F)
    draw(px, depth, colour, look.label, look.faces, img, z, lab)
    return img, z, lab
