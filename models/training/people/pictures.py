"""Pictures of nothing in particular: colours, textures, backgrounds; and what a camera does to a picture."""

from __future__ import annotations

import cv2
import numpy as np

F = np.float32


def hsv(rng: np.random.Generator) -> np.ndarray:
    """A random colour [3], 0..1; greyish ones are frequent, as in clothes and rooms."""
    c = np.array([rng.random() * 360, rng.random() ** 2.5, rng.random() ** 0.7], F).reshape(1, 1, 3)
    return cv2.cvtColor(c, cv2.COLOR_HSV2RGB).reshape(3)


def cloudy(h: int, w: int, rng: np.random.Generator) -> np.ndarray:
    """Noise with the spectrum of photographs [h,w,3], about -0.5..0.5: amplitude falls with frequency."""
    fy, fx = np.fft.fftfreq(h)[:, None], np.fft.rfftfreq(w)[None]
    amplitude = 1 / np.maximum(np.hypot(fy, fx), 1 / max(h, w)) ** rng.uniform(0.9, 1.8)
    planes = []
    for _ in range(3):
        spectrum = amplitude * np.exp(2j * np.pi * rng.random(amplitude.shape))
        plane = np.fft.irfft2(spectrum, (h, w))
        planes.append(plane / (4 * plane.std() + 1e-9))
    grey = np.float32(rng.uniform(0.3, 1))
    noise = np.stack(planes, -1).astype(F)
    return grey * noise[..., :1] + (1 - grey) * noise


def texture(h: int, w: int, rng: np.random.Generator) -> np.ndarray:
    """A random picture of nothing [h,w,3], 0..1."""
    img = np.zeros((h, w, 3), F) + hsv(rng)
    kind = rng.random()
    if kind < 0.35:
        img = img + cloudy(h, w, rng) * F(rng.uniform(0.1, 1.2))
    elif kind < 0.6:  # a painted wall: hardly any texture, some light across it
        g = cv2.resize(rng.uniform(0.7, 1.2, (3, 3, 1)).astype(F), (w, h), interpolation=cv2.INTER_CUBIC)
        img = img * g[..., None]
    else:
        for _ in range(rng.integers(1, 4)):
            n = int(2 ** rng.uniform(1, 5.5))
            coloured = rng.random() < 0.3
            small = rng.random((n, n, 3)).astype(F) if coloured else np.repeat(rng.random((n, n, 1)).astype(F), 3, 2)
            how = cv2.INTER_CUBIC if rng.random() < 0.7 else cv2.INTER_NEAREST
            img = img + (cv2.resize(small, (w, h), interpolation=how) - 0.5) * F(rng.uniform(0.05, 0.5))
    if rng.random() < 0.25:  # wood, tiles, blinds
        x = np.arange(w, dtype=F)[None] * F(rng.normal()) + np.arange(h, dtype=F)[:, None] * F(rng.normal())
        s = np.sin(x * F(rng.uniform(0.05, 0.8)))
        img *= (1 + F(rng.uniform(0.1, 0.5)) * (s if rng.random() < 0.5 else np.sign(s)))[..., None]
    return np.clip(img, 0, 1)


def background(h: int, w: int, rng: np.random.Generator) -> np.ndarray:
    img = texture(h, w, rng)
    if rng.random() < 0.7:  # floor or table line
        y = int(rng.uniform(0.3, 1.0) * h)
        img[y:] = texture(h, w, rng)[y:]
    for _ in range(rng.integers(0, 9)):
        c = [float(x) for x in hsv(rng)]
        k = rng.random()
        x0, y0 = rng.uniform(-0.2, 1) * w, rng.uniform(-0.2, 1) * h
        x1, y1 = x0 + rng.exponential(0.3) * w, y0 + rng.exponential(0.3) * h
        if k < 0.45:
            cv2.rectangle(img, (int(x0), int(y0)), (int(x1), int(y1)), c, -1)
            if rng.random() < 0.5:
                cv2.rectangle(
                    img, (int(x0), int(y0)), (int(x1), int(y1)), [float(x) for x in hsv(rng)], int(rng.integers(1, 4))
                )
        elif k < 0.6:
            cv2.ellipse(
                img,
                (int(x0), int(y0)),
                (int(abs(x1 - x0)) + 1, int(abs(y1 - y0)) + 1),
                rng.uniform(0, 180),
                0,
                360,
                c,
                -1,
            )
        elif k < 0.8:
            cv2.line(
                img,
                (int(x0), int(y0)),
                (int(rng.uniform(0, w)), int(rng.uniform(0, h))),
                c,
                int(rng.integers(1, 14)),
                cv2.LINE_AA,
            )
        else:
            pts = (rng.random((int(rng.integers(3, 7)), 2)) * [w, h] * 0.6 + [x0 * 0.7, y0 * 0.7]).astype(np.int32)
            cv2.fillPoly(img, [pts], c, cv2.LINE_AA)
    if rng.random() < 0.5:
        img = cv2.GaussianBlur(img, (0, 0), rng.uniform(0.5, 4))
    return img


def camera_noise(img: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """float 0..1 -> uint8, as a camera and a codec would hand it over."""
    h, w = img.shape[:2]
    k = rng.random()
    if k < 0.3:
        img = cv2.GaussianBlur(img, (0, 0), rng.uniform(0.3, 1.6))
    elif k < 0.45:
        n = int(rng.integers(2, 9))
        ker = np.zeros((n, n), F)
        cv2.line(ker, (int(rng.integers(n)), int(rng.integers(n))), (int(rng.integers(n)), int(rng.integers(n))), 1.0)
        img = cv2.filter2D(img, -1, ker / ker.sum())
    elif k < 0.65:
        s = rng.uniform(0.25, 0.8)
        img = cv2.resize(
            cv2.resize(img, (max(8, int(w * s)), max(8, int(h * s))), interpolation=cv2.INTER_AREA),
            (w, h),
            interpolation=cv2.INTER_LINEAR,
        )
    img = np.clip(img, 0, None) ** F(rng.uniform(0.65, 1.35)) * F(rng.uniform(0.7, 1.3))
    img = (img - 0.5) * F(rng.uniform(0.6, 1.25)) + 0.5 + F(rng.normal() * 0.05)
    img = img * (1 + rng.normal(size=3).astype(F) * F(0.07))
    if rng.random() < 0.06:
        img = np.repeat(img.mean(2, keepdims=True), 3, 2)
    img = img + rng.normal(size=img.shape).astype(F) * F(rng.exponential(0.015))
    u8 = np.clip(img * 255, 0, 255).astype(np.uint8)
    if rng.random() < 0.4:
        u8 = cv2.imdecode(cv2.imencode(".jpg", u8, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(25, 90))])[1], 1)
    return u8
