"""Training samples of the person network, written as raw shards."""

from __future__ import annotations

import argparse
import math
import time
from collections import deque
from pathlib import Path

import cv2
import numpy as np

from body import coco, h36m, load
from crop import facing
from looks import Look
from mocap import Motion
from pictures import F, background, camera_noise, texture
from shards import Writer
from view import SS, H, W, render, rotation

SOURCES = {"train_cmu": 0.5, "train_mhad": 0.2, "train_accad": 0.3}
"""Motion files and their shares: the largest source is the most uniform one."""
HELD_OUT_SOURCES = {"val_cmu": 0.5, "val_mhad": 0.5}
NOBODY = 0.03
"""Share of crops without anybody: nothing is seen there."""

THICK = np.array([0.03, 0.03, 0.03, 0.05, 0.05, 0.14, 0.14, 0.09, 0.09, 0.07, 0.07, 0.2, 0.2, 0.12, 0.12, 0.1, 0.1], F)


def turned(e: dict, centre: np.ndarray | None = None) -> dict:
    """The person seen by a camera turned towards (x, y) at z = 1, by default the middle of the outline."""
    if centre is None:
        xy = e["v"][e["look"].used]
        xy = xy[:, :2] / np.maximum(xy[:, 2:], 0.1)
        centre = 0.5 * (xy.min(0) + xy.max(0))
    r = facing(np.array([centre[0], centre[1], 1.0], F))
    return {**e, "v": e["v"] @ r.T, "n": e["n"] @ r.T, "k": e["k"] @ r.T, "j": e["j"] @ r.T}


class Studio:
    """Makes samples; looks are kept for a while, cut-outs are used again as other people."""

    def __init__(self, data: Path, seed: int, sources: dict[str, float]) -> None:
        self.rng = np.random.default_rng(seed)
        self.body = load(data / "human_assets_cc0")
        self.motion = Motion(data / "motion", sources, self.rng)
        self.looks: list[Look] = []
        self.cutouts: deque = deque(maxlen=40)

    def look(self) -> Look:
        if len(self.looks) < 24:
            self.looks.append(Look(self.body, self.rng))
            return self.looks[-1]
        k = self.rng.integers(24)
        if self.rng.random() < 0.06:
            self.looks[k] = Look(self.body, self.rng)
        return self.looks[k]

    def person(self) -> dict:
        """A posed person in front of a camera that looks at it: vertices, keypoints, joints, in camera metres."""
        rng = self.rng
        look = self.look()
        rot = self.motion.window()
        p, m, marks = look.rig.window(rot)
        vert, norm = look.posed(p[-1], m)
        pitch = rng.normal(-8, 12) if rng.random() < 0.75 else rng.uniform(-60, 20)
        cam = rotation(rng.uniform(-math.pi, math.pi), math.radians(pitch), math.radians(rng.normal(0, 6)))
        v = vert[look.used] @ cam.T
        lo, hi = v.min(0), v.max(0)
        dist = max(math.exp(rng.uniform(math.log(1.0), math.log(9.0))), 0.35 - lo[2] + 0.5 * (lo[2] + hi[2]))
        t = -0.5 * (lo + hi) + np.array([0, 0, dist], F)
        full = np.full_like(vert, 10.0)
        full[look.used] = v + t
        nrm = norm @ cam.T
        k2, j3 = coco(p, marks) @ cam.T + t, h36m(p, marks) @ cam.T + t
        return {"look": look, "v": full, "n": nrm, "k": k2, "j": j3}

    def cut(self, alpha: np.ndarray, rgb: np.ndarray) -> None:
        if self.rng.random() < 0.25:
            self.cutouts.append((rgb.copy(), alpha.copy()))

    def paste(self, img: np.ndarray, cover: np.ndarray | None, front: bool) -> None:
        """Another person, behind or in front; `cover` [h,w] grows where it hides."""
        if not self.cutouts:
            return
        rng = self.rng
        rgb, al = self.cutouts[rng.integers(len(self.cutouts))]
        s = rng.uniform(0.5, 1.3)
        h, w = img.shape[:2]
        dx = rng.uniform(0.25, 0.8) * w * rng.choice([-1, 1]) if front else rng.uniform(-0.8, 0.8) * w
        m = np.array([[s * rng.choice([-1, 1]), 0, 0], [0, s, 0]], F)
        m[:, 2] = np.array([w / 2 + dx, h / 2 + rng.normal(0, 0.1) * h]) - m[:, :2] @ [w / 2, h / 2]
        a = cv2.warpAffine(al, m, (w, h))
        img[:] = img * (1 - a[..., None]) + cv2.warpAffine(rgb, m, (w, h)) * a[..., None]
        if cover is not None:
            np.maximum(cover, a, out=cover)

    def occluders(self, img: np.ndarray, cover: np.ndarray) -> None:
        rng = self.rng
        h, w = img.shape[:2]
        k = rng.random()
        m = np.zeros((h, w), F)
        if k < 0.35:  # a table or counter that hides what is below
            y = int(rng.uniform(0.4, 0.95) * h)
            x0, x1 = (0, w) if rng.random() < 0.5 else sorted(rng.uniform(-0.2, 1.2, 2) * w)
            cv2.rectangle(
                m, (int(x0), y), (int(x1), h if rng.random() < 0.7 else int(y + rng.uniform(0.03, 0.2) * h)), 1.0, -1
            )
        elif k < 0.6:
            x = rng.uniform(0, w)
            cv2.rectangle(
                m,
                (int(x), int(rng.uniform(-0.3, 0.6) * h)),
                (int(x + rng.uniform(0.04, 0.35) * w), int(rng.uniform(0.5, 1.2) * h)),
                1.0,
                -1,
            )
        elif k < 0.8:
            cv2.ellipse(
                m,
                (int(rng.uniform(0, w)), int(rng.uniform(0.2, 1.1) * h)),
                (int(rng.uniform(0.05, 0.3) * w), int(rng.uniform(0.05, 0.25) * h)),
                rng.uniform(0, 180),
                0,
                360,
                1.0,
                -1,
            )
        else:
            pts = (
                rng.random((int(rng.integers(3, 6)), 2)) * [w * 0.6, h * 0.5]
                + [rng.uniform(-0.2, 0.7) * w, rng.uniform(0, 0.8) * h]
            ).astype(np.int32)
            cv2.fillPoly(m, [pts], 1.0)
        tex = texture(h, w, rng)
        img[:] = img * (1 - m[..., None]) + tex * m[..., None]
        np.maximum(cover, m, out=cover)

    def sample(self) -> dict[str, np.ndarray]:
        """One crop with labels; see README for the arrays."""
        rng = self.rng
        e = turned(self.person())
        look, v, k3 = e["look"], e["v"], e["k"]
        xy = v[look.used, :2] / np.maximum(v[look.used, 2:], 0.1)
        lo, hi = xy.min(0), xy.max(0)
        if rng.random() < 0.35:  # box of the keypoints rather than of the outline
            kk = k3[-1, :, :2] / k3[-1, :, 2:]
            lo, hi = kk.min(0), kk.max(0)
            g = 0.1 * (hi - lo)
            lo, hi = lo - g, hi + g
        border = [-1e9, -1e9, 1e9, 1e9]
        if rng.random() < 0.35:
            for _ in range(rng.integers(1, 3)):
                side = rng.choice(4, p=[0.17, 0.08, 0.17, 0.58])
                size = hi - lo
                if side == 3:
                    border[3] = hi[1] - rng.uniform(0, 0.6) * size[1]
                elif side == 1:
                    border[1] = lo[1] + rng.uniform(0, 0.25) * size[1]
                elif side == 0:
                    border[0] = lo[0] + rng.uniform(0, 0.45) * size[0]
                else:
                    border[2] = hi[0] - rng.uniform(0, 0.45) * size[0]
        lo, hi = np.maximum(lo, border[:2]), np.minimum(hi, border[2:])
        c, size = 0.5 * (lo + hi), np.maximum(hi - lo, 0.02)
        c = c + rng.normal(0, 0.05, 2).clip(-0.14, 0.14) * size
        scale = math.exp(rng.uniform(math.log(0.78), math.log(1.22)))
        f = min(W / (1.25 * size[0]), H / (1.25 * size[1])) * scale
        # The axis of the crop's camera goes through the middle of the crop.
        corners = np.array([[border[0], border[1]], [border[2], border[3]]], np.float32)
        e = turned(e, c)
        look, v, k3 = e["look"], e["v"], e["k"]
        border = [*(corners[0] - c), *(corners[1] - c)]
        cx, cy = (W - 1) / 2, (H - 1) / 2
        img, z, lab = render(look, v, e["n"], f, (cx, cy), (H, W), rng)
        alpha = cv2.resize((lab > 0).astype(F), (W, H), interpolation=cv2.INTER_AREA)
        rgb = cv2.resize(img, (W, H), interpolation=cv2.INTER_AREA) / np.maximum(alpha, 1e-3)[..., None]
        self.cut(alpha, rgb)
        pic = background(H, W, rng)
        for _ in range(rng.poisson(0.35)):
            self.paste(pic, None, False)
        if rng.random() < 0.5:  # soft shadow behind
            sh = cv2.GaussianBlur(
                np.roll(alpha, (rng.integers(-6, 7), rng.integers(-12, 13)), (0, 1)), (0, 0), rng.uniform(2, 8)
            )
            pic *= 1 - F(rng.uniform(0.1, 0.5)) * sh[..., None]
        nobody = rng.random() < NOBODY
        if nobody:
            lab[:] = 0
        else:
            pic = pic * (1 - alpha[..., None]) + rgb * alpha[..., None]
        cover = np.zeros((H, W), F)
        if rng.random() < 0.2:
            self.paste(pic, cover, True)
        for _ in range(rng.choice(3, p=[0.55, 0.35, 0.1])):
            self.occluders(pic, cover)
        if rng.random() < 0.3:  # light that changes over the image
            g = cv2.resize(rng.uniform(0.5, 1.3, (3, 2, 1)).astype(F), (W, H), interpolation=cv2.INTER_CUBIC)
            pic *= g[..., None]
        u8 = camera_noise(pic, rng)
        x0, y0 = f * border[0] + cx, f * border[1] + cy
        x1, y1 = f * border[2] + cx, f * border[3] + cy
        xs, ys = np.arange(W), np.arange(H)
        out = ((xs < x0) | (xs > x1))[None, :] | ((ys < y0) | (ys > y1))[:, None]
        u8[out] = 0
        kp = k3[-1]
        px = np.stack([f * kp[:, 0] / kp[:, 2] + cx, f * kp[:, 1] / kp[:, 2] + cy], 1)
        ix, iy = np.round(px).astype(int).T
        inside = (ix >= 0) & (iy >= 0) & (ix < W) & (iy < H)
        ixc, iyc = ix.clip(0, W - 1), iy.clip(0, H - 1)
        zb = z[(iyc * SS).clip(0, H * SS - 1), (ixc * SS).clip(0, W * SS - 1)]
        inside &= not nobody
        visible = inside & ~out[iyc, ixc] & (cover[iyc, ixc] < 0.5) & (zb > kp[:, 2] - THICK)
        labs = lab[::SS, ::SS].copy()
        labs[(cover > 0.5) | out] = 0
        mask = labs[1::4, 1::4]
        rays = k3[:, :, :2] / np.maximum(k3[:, :, 2:], 0.1)
        j = e["j"][-1]
        return {
            "image": u8,
            "keypoints": np.concatenate([px, visible[:, None], inside[:, None]], 1).astype(F),
            "mask": mask.astype(np.uint8),
            "joints": (j - j[:1]).astype(F) if not nobody else np.full((17, 3), np.nan, F),
            "rays": rays.astype(F),
            "camera": np.array([f, cx, cy, j[0, 2]], F),
        }


def main() -> None:
    """Draws crops until there are `count`."""
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("data", type=Path, help="folder with human_assets_cc0/ and motion/")
    p.add_argument("out", type=Path)
    p.add_argument("--seed", type=int, default=101)
    p.add_argument("--count", type=int, default=120000)
    p.add_argument("--held-out", action="store_true", help="poses of the validation subjects, for measuring only")
    a = p.parse_args()
    cv2.setNumThreads(1)
    studio, start = Studio(a.data, a.seed, HELD_OUT_SOURCES if a.held_out else SOURCES), time.time()
    with Writer(a.out) as out:
        while out.count < a.count:
            out.add(studio.sample())
            if out.count % 1000 == 0:
                print(out.count, f"{out.count / (time.time() - start):.1f}/s", flush=True)


if __name__ == "__main__":
    main()
