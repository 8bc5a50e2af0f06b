"""The finder: whole frames with boxes, composed from rendered people; its network and training."""

from __future__ import annotations

import argparse
import math
import time
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from net import Block, conv
from people import H, W, background, camera_noise, render, texture
from sample import Studio

SIZE, CELLS = 192, 24


class Finder(nn.Module):
    """[N,3,192,192] RGB 0..1 -> score [N,1,24,24] logits, box [N,4,24,24] distances / 8 (left, top, right, bottom)."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(conv(3, 12, 2), conv(12, 24, 2), conv(24, 24))
        self.s8 = nn.Sequential(conv(24, 48, 2), Block(48))
        self.s16 = nn.Sequential(conv(48, 72, 2), Block(72))
        self.s32 = nn.Sequential(conv(72, 96, 2), Block(96))
        self.up16 = nn.ConvTranspose2d(96, 72, 2, 2)
        self.mix16 = conv(72, 72)
        self.up8 = nn.ConvTranspose2d(72, 48, 2, 2)
        self.mix8 = nn.Sequential(conv(48, 48), conv(48, 48))
        self.out = nn.Conv2d(48, 5, 1)
        nn.init.constant_(self.out.bias, -2.0)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        s8 = self.s8(self.stem(image * 4.0 - 2.0))
        s16 = self.s16(s8)
        y = self.mix16(torch.relu(self.up16(self.s32(s16)) + s16))
        y = self.out(self.mix8(torch.relu(self.up8(y) + s8)))
        return y[:, :1], torch.exp(y[:, 1:].clamp(-4.0, 4.0) + 1.0)


def library(studio: Studio, folder: Path, count: int) -> None:
    """Cut-outs of people [count,192,144,4] u8, colour not premultiplied."""
    out = np.zeros((count, H, W, 4), np.uint8)
    for k in range(count):
        e = studio.person()
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
    np.save(folder / "library.npy", out)


class Scenes:
    """Whole frames with people, composed as they are asked for."""

    def __init__(self, cutouts: np.ndarray, seed: int) -> None:
        self.cut, self.rng = cutouts, np.random.default_rng(seed)
        self.boxes = []
        for c in cutouts:
            ys, xs = np.nonzero(c[..., 3] > 100)
            self.boxes.append((xs.min(), ys.min(), xs.max() + 1, ys.max() + 1) if len(xs) else (0, 0, 1, 1))

    def scene(self) -> tuple[np.ndarray, list[tuple[float, float, float, float]]]:
        rng = self.rng
        aspect = rng.choice([4 / 3, 16 / 9, 1.0, 9 / 16, 3 / 4])
        w, h = (SIZE, int(SIZE / aspect)) if aspect >= 1 else (int(SIZE * aspect), SIZE)
        pic = background(h, w, rng)
        n = rng.choice([0, 1, 2, 3, 4, 5, 6], p=[0.12, 0.4, 0.2, 0.12, 0.08, 0.05, 0.03])
        near = math.exp(rng.uniform(math.log(0.12), math.log(1.25)))
        people = []
        for _ in range(n):
            k = rng.integers(len(self.cut))
            x0, y0, x1, y1 = self.boxes[k]
            s = h * near * math.exp(rng.normal(0, 0.25)) / 192
            cx, cy = rng.uniform(0.02, 0.98) * w, rng.normal(0.55, 0.15) * h
            people.append((s, k, cx, cy, rng.random() < 0.5))
        people.sort()
        boxes = []
        for s, k, cx, cy, flip in people:
            x0, y0, x1, y1 = self.boxes[k]
            m = np.array([[-s if flip else s, 0, 0], [0, s, 0]], np.float32)
            mid = np.array([(x0 + x1) / 2, (y0 + y1) / 2])
            m[:, 2] = np.array([cx, cy]) - m[:, :2] @ mid
            src = self.cut[k]
            if s < 0.6:
                src = cv2.GaussianBlur(src, (0, 0), 0.4 / s)
            q = cv2.warpAffine(src, m, (w, h)).astype(np.float32) / 255
            a = q[..., 3:]
            pic = pic * (1 - a) + q[..., :3] * np.float32(rng.uniform(0.8, 1.1)) * a
            hw, hh = (x1 - x0) * s / 2, (y1 - y0) * s / 2
            b = (max(cx - hw, 0), max(cy - hh, 0), min(cx + hw, w), min(cy + hh, h))
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
        u8 = camera_noise(pic, rng)
        out = np.full((SIZE, SIZE, 3), 114, np.uint8)
        dx, dy = (SIZE - w) // 2, (SIZE - h) // 2
        out[dy : dy + h, dx : dx + w] = u8
        return out, [(b[0] + dx - 0.5, b[1] + dy - 0.5, b[2] + dx - 0.5, b[3] + dy - 0.5) for b in boxes]

    def batch(self, n: int) -> dict[str, Tensor]:
        """Images and targets: score [n,24,24] Gaussian peaks, box [n,4,24,24], weight [n,24,24]."""
        image = np.zeros((n, SIZE, SIZE, 3), np.uint8)
        score, weight = np.zeros((n, CELLS, CELLS), np.float32), np.zeros((n, CELLS, CELLS), np.float32)
        box = np.zeros((n, 4, CELLS, CELLS), np.float32)
        g = np.arange(CELLS, dtype=np.float32) * 8 + 3.5
        for i in range(n):
            image[i], boxes = self.scene()
            for b in sorted(boxes, key=lambda b: -(b[2] - b[0]) * (b[3] - b[1])):
                cx, cy = (b[0] + b[2]) / 2, (b[1] + b[3]) / 2
                sx, sy = max((b[2] - b[0]) / 6, 5.0), max((b[3] - b[1]) / 6, 5.0)
                peak = np.exp(-((g[None, :] - cx) ** 2) / (2 * sx**2) - ((g[:, None] - cy) ** 2) / (2 * sy**2))
                iy, ix = (
                    int(np.clip(round((cy - 3.5) / 8), 0, CELLS - 1)),
                    int(np.clip(round((cx - 3.5) / 8), 0, CELLS - 1)),
                )
                peak[iy, ix] = 1.0
                score[i] = np.maximum(score[i], peak)
                near = peak > 0.55
                weight[i][near] = peak[near]
                for c, v in enumerate((g[None, :] - b[0], g[:, None] - b[1], b[2] - g[None, :], b[3] - g[:, None])):
                    box[i, c][near] = np.broadcast_to(np.maximum(v, 0.5) / 8, (CELLS, CELLS))[near]
        return {
            "image": torch.from_numpy(image).permute(0, 3, 1, 2).float() / 255,
            "score": torch.from_numpy(score),
            "box": torch.from_numpy(box),
            "weight": torch.from_numpy(weight),
        }


def losses(net: Finder, t: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Penalty-reduced focal loss on the score (CornerNet eq. 1) and generalised IoU of the boxes."""
    with torch.autocast("cpu", torch.bfloat16):
        score, box = net(t["image"].contiguous(memory_format=torch.channels_last))
    s, b = score.float()[:, 0], box.float()
    p = torch.sigmoid(s).clamp(1e-4, 1 - 1e-4)
    pos = t["score"] > 0.999
    focal = -torch.where(pos, (1 - p) ** 2 * p.log(), (1 - t["score"]) ** 4 * p**2 * (1 - p).log())
    n = pos.sum().clamp(min=1)
    q = t["box"]
    inter = (torch.minimum(b[:, 0], q[:, 0]) + torch.minimum(b[:, 2], q[:, 2])) * (
        torch.minimum(b[:, 1], q[:, 1]) + torch.minimum(b[:, 3], q[:, 3])
    )
    hull = (torch.maximum(b[:, 0], q[:, 0]) + torch.maximum(b[:, 2], q[:, 2])) * (
        torch.maximum(b[:, 1], q[:, 1]) + torch.maximum(b[:, 3], q[:, 3])
    )
    union = (b[:, 0] + b[:, 2]) * (b[:, 1] + b[:, 3]) + (q[:, 0] + q[:, 2]) * (q[:, 1] + q[:, 3]) - inter
    giou = inter / union.clamp(min=1e-4) - (hull - union) / hull.clamp(min=1e-4)
    return focal.sum() / n, ((1 - giou) * t["weight"]).sum() / t["weight"].sum().clamp(min=1)


def main() -> None:
    p = argparse.ArgumentParser()
    p.add_argument("--library", type=Path, required=True)
    p.add_argument("--minutes", type=float, required=True)
    p.add_argument("--out", type=Path, required=True)
    a = p.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    torch.manual_seed(1)
    cut = np.concatenate([np.load(f) for f in sorted(a.library.glob("*.npy"))])
    scenes, held = Scenes(cut[200:], 1), Scenes(cut[:200], 2).batch(128)
    net = Finder().to(memory_format=torch.channels_last)
    opt = torch.optim.AdamW(net.parameters(), 2e-3, weight_decay=0.02)
    ema = {k: v.clone() for k, v in net.state_dict().items()}
    pool: list[dict[str, Tensor]] = []
    rng = np.random.default_rng(0)
    start, step, log = time.time(), 0, []
    while (f := (time.time() - start) / (a.minutes * 60)) < 1:
        for q in opt.param_groups:
            q["lr"] = 2e-3 * min(1, (step + 1) / 200) * (0.5 * (1 + math.cos(math.pi * f)) + 2e-3)
        if step % 2 == 0 or len(pool) < 20:  # composing costs more than a step: use each batch about twice
            t = scenes.batch(32)
            pool.append(t)
            if len(pool) > 200:
                pool.pop(int(rng.integers(200)))
        else:
            t = pool[int(rng.integers(len(pool)))]
        ls, lb = losses(net, t)
        opt.zero_grad()
        (ls + lb).backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 5.0)
        opt.step()
        step += 1
        d = min(0.998, step / (step + 20))
        with torch.no_grad():
            for k, v in net.state_dict().items():
                ema[k].lerp_(v, 1 - d) if v.dtype.is_floating_point else ema[k].copy_(v)
        log.append((float(ls.detach()), float(lb.detach())))
        if step % 200 == 0:
            e = Finder()
            e.load_state_dict(ema)
            e.eval()
            with torch.no_grad():
                hs, hb = losses(e, held)
            print(
                step,
                f"{(time.time() - start) / step * 1000 / 32:.1f} ms/sample",
                np.array(log[-200:]).mean(0).round(3),
                "held out",
                round(float(hs), 3),
                round(float(hb), 3),
                flush=True,
            )
            torch.save(ema, a.out)
    torch.save(ema, a.out)


if __name__ == "__main__":
    main()
