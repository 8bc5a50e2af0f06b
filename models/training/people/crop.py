"""The crop that the person network sees, and its way back to the image.

A virtual camera is turned so that its axis passes through the middle of a person's box
("perspective crop"): rotated ray r' = R r, with R the closed form of the smallest rotation
that takes the ray of the middle to +z. Pixel centres are at whole numbers.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

CROP_W, CROP_H = 144, 192
MARGIN = 1.25
ASSUMED_FOV_DEG = 60.0

Array = NDArray[np.float32]


class Crop(NamedTuple):
    """Maps between image pixels and crop pixels."""

    k: Array
    """Pinhole matrix of the image [3,3]."""
    r: Array
    """Rotation of the virtual camera [3,3]: X' = R X."""
    f: float
    """Focal length of the virtual camera in crop pixels; its principal point is the crop's middle."""

    def homography(self) -> Array:
        """Image pixel (homogeneous) to crop pixel [3,3]."""
        kc = np.array([[self.f, 0, (CROP_W - 1) / 2], [0, self.f, (CROP_H - 1) / 2], [0, 0, 1]])
        return (kc @ self.r @ np.linalg.inv(self.k)).astype(np.float32)

    def cut(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The crop [192,144,3] of an image [H,W,3]; black outside the image."""
        return np.asarray(cv2.warpPerspective(image, self.homography(), (CROP_W, CROP_H)), np.uint8)

    def to_image(self, xy: Array) -> Array:
        """Crop pixels [...,2] to image pixels [...,2]."""
        h = np.linalg.inv(self.homography().astype(np.float64))
        p = np.concatenate([xy, np.ones_like(xy[..., :1])], -1) @ h.T
        return (p[..., :2] / p[..., 2:]).astype(np.float32)


def assumed_camera(width: int, height: int) -> Array:
    """Pinhole of a camera nobody has calibrated: 60 degrees across the longer side."""
    f = max(width, height) / 2 / math.tan(math.radians(ASSUMED_FOV_DEG / 2))
    return np.array([[f, 0, (width - 1) / 2], [0, f, (height - 1) / 2], [0, 0, 1]], np.float32)


def facing(ray: Array) -> Array:
    """The smallest rotation that takes direction `ray` [3] to +z."""
    x, y, z = ray / np.linalg.norm(ray)
    q = 1 / (1 + z)
    return np.array([[1 - q * x * x, -q * x * y, -x], [-q * x * y, 1 - q * y * y, -y], [x, y, z]], np.float32)


def person_crop(box: tuple[float, float, float, float], k: Array) -> Crop:
    """The crop of a person's box (left, top, right, bottom; image pixels) in a camera `k` [3,3]."""
    x0, y0, x1, y1 = box
    corners = np.array([[x0, y0, 1], [x1, y0, 1], [x1, y1, 1], [x0, y1, 1], [(x0 + x1) / 2, (y0 + y1) / 2, 1]])
    rays = corners @ np.linalg.inv(k.astype(np.float64)).T
    r = facing(rays[4])
    turned = rays[:4] @ r.T.astype(np.float64)
    half = np.abs(turned[:, :2] / turned[:, 2:]).max(0)
    f = min(CROP_W / 2 / (MARGIN * half[0]), CROP_H / 2 / (MARGIN * half[1]))
    return Crop(k, r, float(f))
