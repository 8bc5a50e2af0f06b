"""Rendered people: looks, clothes, light, camera, background, occluders, labels."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import cv2
import numpy as np
from body import Body, Rig, coco, h36m, load, shaped
from raster import draw, skin
from safetensors.numpy import load_file

F = np.float32
W, H, SS = 144, 192, 2
SKIN = [(0.98, 0.83, 0.74), (0.93, 0.75, 0.62), (0.82, 0.62, 0.48), (0.66, 0.46, 0.33), (0.45, 0.30, 0.21), (0.28, 0.18, 0.13)]
HAIR = [(0.06, 0.05, 0.05), (0.18, 0.11, 0.07), (0.35, 0.22, 0.12), (0.72, 0.55, 0.30), (0.55, 0.55, 0.55), (0.45, 0.16, 0.08), (0.85, 0.83, 0.8)]


class Motion:
    """Frames of motion capture; weights by source and the square root of the trial's length."""

    def __init__(self, folder: Path, sources: dict[str, float], rng: np.random.Generator, hold_out: float = 0.0) -> None:
        self.rng, self.parts, self.p = rng, [], []
        for name, weight in sources.items():
            t = load_file(str(folder / f"motion_{name}.safetensors"))
            length = np.diff(t["starts"])
            p = np.sqrt(length) / np.sqrt(length).sum()
            self.parts.append((t["rot6d"], t["starts"], p))
            self.p.append(weight)
        self.p = np.array(self.p) / sum(self.p)

    def window(self, frames: int = 27) -> np.ndarray:
        """Rotations [frames,22,3,3], newest last."""
        r6, st, p = self.parts[self.rng.choice(len(self.parts), p=self.p)]
        k = self.rng.choice(len(p), p=p)
        t = self.rng.integers(st[k], st[k + 1])
        ix = np.maximum(np.arange(t - frames + 1, t + 1), st[k])
        a = r6[ix].astype(F).reshape(frames, 22, 2, 3)
        x = a[..., 0, :] / np.linalg.norm(a[..., 0, :], axis=-1, keepdims=True)
        y = a[..., 1, :] - (a[..., 1, :] * x).sum(-1, keepdims=True) * x
        y /= np.maximum(np.linalg.norm(y, axis=-1, keepdims=True), 1e-6)
        return np.stack([x, y, np.cross(x, y)], -1)


def hsv(rng: np.random.Generator) -> np.ndarray:
    c = np.array([rng.random() * 360, rng.random() ** 2.5, rng.random() ** 0.7], F).reshape(1, 1, 3)
    return cv2.cvtColor(c, cv2.COLOR_HSV2RGB).reshape(3)


def noise3(x: np.ndarray, rng: np.random.Generator, scale: float, n: int = 5) -> np.ndarray:
    """Smooth noise of rest positions [V,3], about -1..1."""
    out = np.zeros(len(x), F)
    for _ in range(n):
        d = rng.normal(size=3).astype(F)
        out += np.sin(x @ (d * F(scale * (0.5 + rng.random()))) + F(rng.random() * 6.28))
    return out / n * F(1.6)


def cloth(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A textile's colour at rest positions [V,3] -> [V,3]."""
    base, other = hsv(rng), hsv(rng)
    kind = rng.random()
    if kind < 0.45:
        k = np.zeros(len(x), F)
    elif kind < 0.6:
        d = np.array([(0, 1, 0), (1, 0, 0), (0.7, 0.7, 0)][rng.integers(3)], F)
        k = (np.sin(x @ d * F(rng.uniform(30, 120))) > rng.uniform(-0.5, 0.7)).astype(F)
    elif kind < 0.7:
        s = F(rng.uniform(30, 80))
        k = ((np.sin(x[:, 0] * s) > 0) ^ (np.sin(x[:, 1] * s) > 0)).astype(F)
    elif kind < 0.85:
        k = (noise3(x, rng, rng.uniform(15, 60)) > rng.uniform(-0.2, 0.4)).astype(F)
    else:
        k = (np.hypot(x[:, 0], x[:, 1] - rng.uniform(0.2, 0.5)) < rng.uniform(0.05, 0.15)).astype(F) * (x[:, 2] > 0)
    c = base + (other - base) * k[:, None]
    return np.clip(c * (1 + F(0.12) * noise3(x, rng, 40)[:, None]), 0, 1)


class Look:
    """One person with clothes: rest mesh, colours, which faces are drawn, their mask class."""

    def __init__(self, body: Body, rng: np.random.Generator) -> None:
        rest = shaped(body, rng)
        rig = Rig(body, rest)
        w, joint = body.weights, rig.joint
        dom = w.argmax(1)
        v = rest.copy()
        along = np.zeros(len(v), F)
        for s, (a, b, c, bones) in enumerate(((16, 18, 20, (16, 18, 20)), (17, 19, 21, (17, 19, 21)))):
            d1, d2 = joint[b] - joint[a], joint[c] - joint[b]
            l1, l2 = np.linalg.norm(d1), np.linalg.norm(d2)
            m1, m2, m3 = dom == bones[0], dom == bones[1], dom == bones[2]
            along[m1] = np.clip((v[m1] - joint[a]) @ (d1 / l1) / l1, 0, 1.05)
            along[m2] = 1 + np.clip((v[m2] - joint[b]) @ (d2 / l2) / l2, -0.1, 1.05)
            along[m3] = 2.1
            del s
        leg = np.zeros(len(v), F)
        for a, b, c, bones in ((1, 4, 7, (1, 4)), (2, 5, 8, (2, 5))):
            d1, d2 = joint[b] - joint[a], joint[c] - joint[b]
            l1, l2 = np.linalg.norm(d1), np.linalg.norm(d2)
            m1, m2 = dom == bones[0], dom == bones[1]
            leg[m1] = np.clip((v[m1] - joint[a]) @ (d1 / l1) / l1, 0, 1.05)
            leg[m2] = 1 + np.clip((v[m2] - joint[b]) @ (d2 / l2) / l2, -0.1, 1.05)
        torso = np.isin(dom, (0, 3, 6, 9, 13, 14))
        arm = np.isin(dom, (16, 17, 18, 19))
        thigh = np.isin(dom, (1, 2, 4, 5))
        foot = np.isin(dom, (7, 8, 10, 11))
        head = dom == 15
        skin_c = np.array(SKIN[rng.integers(len(SKIN))], F) * F(rng.uniform(0.85, 1.1))
        colour = np.tile(skin_c, (len(v), 1)) * (1 + F(0.05) * noise3(v, rng, 30)[:, None])
        worn = np.zeros(len(v), bool)
        hem = joint[1, 1] + rng.uniform(-0.15, 0.08)
        sleeve = rng.choice([0.02, 0.45, 0.6, 1.0, 1.6, 2.0], p=[0.1, 0.25, 0.25, 0.05, 0.05, 0.3])
        shirt = (torso & (v[:, 1] > hem) & (v[:, 1] < joint[12, 1] - rng.uniform(0, 0.05))) | (arm & (along < sleeve))
        if rng.random() < 0.95:
            colour[shirt] = cloth(v[shirt], rng)
            worn |= shirt
        short = rng.choice([0.15, 0.45, 0.8, 1.5, 1.95], p=[0.08, 0.2, 0.12, 0.1, 0.5])
        pants = ((torso & (v[:, 1] <= hem)) | (thigh & (leg < short))) & ~shirt
        colour[pants] = cloth(v[pants], rng)
        worn |= pants
        shoe = foot | (thigh & (leg > rng.uniform(1.8, 2.05)))
        if rng.random() < 0.9:
            colour[shoe] = cloth(v[shoe], rng)
            worn |= shoe
        hair_c = np.array(HAIR[rng.integers(len(HAIR))], F)
        hair = np.zeros(len(v), bool)
        if rng.random() < 0.92:
            eye = 0.5 * (rig.marks[1] + rig.marks[2])
            rel = v - eye
            line = rng.uniform(0.03, 0.06)
            hair = head & ((rel[:, 1] > line - 0.25 * np.minimum(rel[:, 2] + 0.03, 0) * 0) & (rel[:, 1] > line) | ((rel[:, 2] < -0.07) & (rel[:, 1] > rng.uniform(-0.12, -0.03))))
            colour[hair] = hair_c * (1 + F(0.25) * noise3(v[hair], rng, 150)[:, None])
        if rng.random() < 0.15:  # beard
            beard = head & (v[:, 1] < rig.marks[0][1] - 0.025) & (v[:, 2] > rig.marks[0][2] - 0.09)
            colour[beard] = hair_c
        face = head & ~hair
        for e in (rig.marks[1], rig.marks[2]):
            d = np.linalg.norm(v - e, axis=1)
            colour[face & (d < 0.014)] = (0.12, 0.1, 0.1)
            brow = face & (np.abs(v[:, 1] - e[1] - 0.022) < 0.006) & (np.abs(v[:, 0] - e[0]) < 0.022)
            colour[brow] = hair_c * 0.7
        mouth = face & (np.abs(v[:, 1] - rig.marks[0][1] + 0.038) < 0.008) & (np.abs(v[:, 0]) < 0.025) & (v[:, 2] > rig.marks[0][2] - 0.05)
        colour[mouth] = skin_c * np.array([0.8, 0.5, 0.5], F)
        if rng.random() < 0.08:  # glasses or mask
            m = face & (np.abs(v[:, 1] - rig.marks[1][1]) < 0.018) & (v[:, 2] > rig.marks[1][2] - 0.04)
            colour[m] = hsv(rng) * 0.4
        loose = np.zeros(len(v), F)
        loose[shirt] = rng.uniform(0, 0.03)
        loose[pants] = rng.uniform(0, 0.03)
        loose[shoe] = 0.006
        loose[hair] = rng.uniform(0.004, 0.03)
        v = v + rig.normals * (loose * (1 + F(0.4) * noise3(v, rng, 25)))[:, None]
        rig.rest = v.astype(F)
        wrinkle = np.where(worn, F(rng.uniform(0, 0.5)), F(0.05))
        bump = np.stack([noise3(v, rng, 45) for _ in range(3)], 1)
        rig.normals = rig.normals + bump * wrinkle[:, None]
        rig.normals /= np.linalg.norm(rig.normals, axis=1, keepdims=True)
        keep = body.part == 0
        if rng.random() < 0.25:
            keep |= body.part == 1
            colour[np.unique(body.faces[body.part == 1])] = hair_c
        if rng.random() < 0.1:
            keep |= body.part == 2
            ix = np.unique(body.faces[body.part == 2])
            colour[ix] = cloth(v[ix], rng)
            worn[ix] = True
        self.faces = np.ascontiguousarray(body.faces[keep])
        self.colour = np.clip(colour, 0, 1).astype(F)
        f0 = self.faces[:, 0]
        cls = np.where(worn[f0], 2, 1).astype(np.int8)
        self.label = cls
        order = np.argsort(-w, axis=1)[:, :4]
        self.w_ix = order.astype(np.int32)
        ww = np.take_along_axis(w, order, 1)
        self.w = (ww / ww.sum(1, keepdims=True)).astype(F)
        self.rig = rig
        self.used = np.unique(self.faces)
        self.out, self.out_n = np.empty_like(rig.rest), np.empty_like(rig.rest)

    def posed(self, p: np.ndarray, m: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        t = p - np.einsum("kij,kj->ki", m, self.rig.joint)
        a = np.concatenate([m.reshape(22, 9), t], 1).astype(F)
        skin(a, self.w_ix, self.w, self.rig.rest, self.rig.normals, self.out, self.out_n)
        return self.out, self.out_n


def fk_window(rig: Rig, rot: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """rot [T,22,3,3] -> joints [T,22,3], bone matrices of the newest [22,3,3], marks [T,6,3]."""
    from body import TREE

    n = len(rot)
    g = np.zeros((n, 22, 3, 3), F)
    p = np.zeros((n, 22, 3), F)
    for k, parent in enumerate(TREE):
        if parent < 0:
            g[:, k] = rot[:, k]
        else:
            g[:, k] = g[:, parent] @ rot[:, k]
            p[:, k] = p[:, parent] + g[:, parent] @ (rig.to_t[parent] @ (rig.joint[k] - rig.joint[parent]))
    m15 = g[:, 15] @ rig.to_t[15]
    marks = p[:, 15, None] + (rig.marks - rig.joint[15]) @ m15.transpose(0, 2, 1)
    return p, g[-1] @ rig.to_t, marks


def rotation(yaw: float, pitch: float, roll: float) -> np.ndarray:
    """World (y up) to camera (x right, y down, z forward)."""
    cy, sy, cx, sx, cz, sz = math.cos(yaw), math.sin(yaw), math.cos(-pitch), math.sin(-pitch), math.cos(roll), math.sin(roll)
    ry = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    rx = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    rz = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    return (np.diag([1.0, -1, -1]) @ rz @ rx @ ry).astype(F)


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
                cv2.rectangle(img, (int(x0), int(y0)), (int(x1), int(y1)), [float(x) for x in hsv(rng)], int(rng.integers(1, 4)))
        elif k < 0.6:
            cv2.ellipse(img, (int(x0), int(y0)), (int(abs(x1 - x0)) + 1, int(abs(y1 - y0)) + 1), rng.uniform(0, 180), 0, 360, c, -1)
        elif k < 0.8:
            cv2.line(img, (int(x0), int(y0)), (int(rng.uniform(0, w)), int(rng.uniform(0, h))), c, int(rng.integers(1, 14)), cv2.LINE_AA)
        else:
            pts = (rng.random((int(rng.integers(3, 7)), 2)) * [w, h] * 0.6 + [x0 * 0.7, y0 * 0.7]).astype(np.int32)
            cv2.fillPoly(img, [pts], c, cv2.LINE_AA)
    if rng.random() < 0.5:
        img = cv2.GaussianBlur(img, (0, 0), rng.uniform(0.5, 4))
    return img


def render(look: Look, vert: np.ndarray, norm: np.ndarray, f: float, c: tuple[float, float], size: tuple[int, int], rng: np.random.Generator, buffers: tuple | None = None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
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
        img = cv2.resize(cv2.resize(img, (max(8, int(w * s)), max(8, int(h * s))), interpolation=cv2.INTER_AREA), (w, h), interpolation=cv2.INTER_LINEAR)
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
