"""Trains the person network on shards."""

from __future__ import annotations

import argparse
import json
import math
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from net import Depth, PersonNet
from sample import SHAPES

MIRROR_K = [0, 2, 1, 4, 3, 6, 5, 8, 7, 10, 9, 12, 11, 14, 13, 16, 15]
MIRROR_J = [0, 4, 5, 6, 1, 2, 3, 7, 8, 9, 10, 14, 15, 16, 11, 12, 13]


class Shards:
    """Shard folders, read as they grow."""

    def __init__(self, folders: list[tuple[Path, float]]) -> None:
        self.folders = folders
        self.refresh()

    def refresh(self) -> None:
        self.arrays, self.count = [], []
        for folder, _ in self.folders:
            n = json.loads((folder / "count.json").read_text())["count"] if (folder / "count.json").exists() else 0
            self.count.append(n)
            self.arrays.append(
                {k: np.memmap(folder / f"{k}.bin", t, "r", shape=(n, *s)) for k, (s, t) in SHAPES.items()} if n else {}
            )

    def batch(self, rng: np.random.Generator, size: int) -> dict[str, np.ndarray]:
        share = np.array([w if n > 300 else 0 for (_, w), n in zip(self.folders, self.count, strict=True)])
        parts = rng.multinomial(size, share / share.sum())
        out: dict[str, list[np.ndarray]] = {k: [] for k in SHAPES}
        for arrays, n, k in zip(self.arrays, self.count, parts, strict=True):
            if k:
                ix = np.sort(rng.integers(250, n, k))  # the first 250 are held out
                for name in SHAPES:
                    out[name].append(arrays[name][ix])
        return {k: np.concatenate(v) for k, v in out.items()}


def tensors(b: dict[str, np.ndarray], rng: np.random.Generator, augment: bool) -> dict[str, Tensor]:
    """Numpy batch to tensors; mirrored, recoloured, cut out."""
    image = torch.from_numpy(b["image"]).permute(0, 3, 1, 2).float() / 255
    k, m, j = (torch.from_numpy(b[n].copy()) for n in ("keypoints", "mask", "joints"))
    if augment:
        n = len(image)
        flip = torch.from_numpy(rng.random(n) < 0.5)
        image = torch.where(flip[:, None, None, None], image.flip(3), image)
        m = torch.where(flip[:, None, None], m.flip(2), m)
        km = k[:, MIRROR_K].clone()
        km[..., 0] = 143 - km[..., 0]
        k = torch.where(flip[:, None, None], km, k)
        jm = j[:, MIRROR_J] * torch.tensor([-1.0, 1, 1])
        j = torch.where(flip[:, None, None], jm, j)
        g = torch.from_numpy(rng.uniform(0.75, 1.25, (n, 1, 1, 1)).astype(np.float32))
        c = torch.from_numpy(rng.uniform(0.9, 1.1, (n, 3, 1, 1)).astype(np.float32))
        image = (image * g * c).clamp(0, 1)
    return {"image": image, "keypoints": k, "mask": m.long(), "joints": j}


def losses(net: PersonNet, depth: Depth, t: dict[str, Tensor], bf16: bool) -> dict[str, Tensor]:
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        heat, visible, features, mask = net(t["image"].contiguous(memory_format=torch.channels_last))
    heat, visible, features, mask = heat.float(), visible.float(), features.float(), mask.float()
    k = t["keypoints"]
    gx = (torch.arange(36) * 4 + 1.5)[None, None]
    gy = (torch.arange(48) * 4 + 1.5)[None, None]
    ex = torch.exp(-((gx - k[..., 0:1]) ** 2) / (2 * 4.5**2))
    ey = torch.exp(-((gy - k[..., 1:2]) ** 2) / (2 * 4.5**2))
    target = (ey[..., :, None] * ex[..., None, :]).flatten(2)
    target = target / target.sum(-1, keepdim=True).clamp(min=1e-6)
    weight = k[..., 3] * (0.3 + 0.7 * k[..., 2])
    ce = -(target * F.log_softmax(heat.flatten(2), -1)).sum(-1)
    out = {"heat": (ce * weight).sum() / weight.sum()}
    out["visible"] = F.binary_cross_entropy_with_logits(visible, k[..., 2])
    out["mask"] = F.cross_entropy(mask, t["mask"])
    out["joints"] = (depth(features) - t["joints"]).norm(dim=-1).mean()
    return out


def score(net: PersonNet, b: dict[str, np.ndarray]) -> tuple[float, float]:
    """Share of visible keypoints within 0.2 torso, and accuracy of what can be seen."""
    net.eval()
    with torch.no_grad():
        heat, visible, _, _ = net(torch.from_numpy(b["image"]).permute(0, 3, 1, 2).float() / 255)
    net.train()
    k = b["keypoints"]
    ix = heat.flatten(2).argmax(-1).numpy()
    xy = np.stack([ix % 36 * 4 + 1.5, ix // 36 * 4 + 1.5], -1)
    torso = np.linalg.norm(k[:, [5, 6], :2].mean(1) - k[:, [11, 12], :2].mean(1), axis=-1).clip(10)
    good = np.linalg.norm(xy - k[..., :2], axis=-1) < 0.2 * torso[:, None]
    v = k[..., 2] > 0.5
    return float(good[v].mean()), float(((visible.numpy() > 0) == v).mean())


def main() -> None:
    p = argparse.ArgumentParser()
    p.add_argument("--shards", nargs="+", required=True)
    p.add_argument("--minutes", type=float, required=True)
    p.add_argument("--out", type=Path, required=True)
    p.add_argument("--init", type=Path)
    p.add_argument("--lr", type=float, default=2e-3)
    p.add_argument("--batch", type=int, default=32)
    p.add_argument("--bf16", action="store_true")
    a = p.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(1)
    rng = np.random.default_rng(1)
    shards = Shards([(Path(s.split(":")[0]), float(s.split(":")[1]) if ":" in s else 1.0) for s in a.shards])
    net, depth = PersonNet().to(memory_format=torch.channels_last), Depth()
    if a.init:
        s = torch.load(a.init)
        net.load_state_dict(s["net"])
        depth.load_state_dict(s["depth"])
    print(sum(q.numel() for q in net.parameters()), "parameters")
    ps = [*net.parameters(), *depth.parameters()]
    opt = torch.optim.AdamW(ps, a.lr, weight_decay=0.02)
    ema = {k: v.clone() for k, v in net.state_dict().items()}
    start, step, log = time.time(), 0, []
    while (f := (time.time() - start) / (a.minutes * 60)) < 1:
        for q in opt.param_groups:
            q["lr"] = a.lr * min(1, (step + 1) / 200) * (0.5 * (1 + math.cos(math.pi * f)) + 2e-3)
        parts = losses(net, depth, tensors(shards.batch(rng, a.batch), rng, True), a.bf16)
        loss = parts["heat"] + 0.5 * parts["visible"] + 0.3 * parts["mask"] + 3 * parts["joints"]
        opt.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(ps, 5.0)
        opt.step()
        step += 1
        d = min(0.998, step / (step + 20))
        with torch.no_grad():
            for k, v in net.state_dict().items():
                if v.dtype.is_floating_point:
                    ema[k].lerp_(v, 1 - d)
                else:
                    ema[k].copy_(v)
        log.append([float(v) for v in parts.values()])
        if step % 100 == 0:
            print(
                step,
                f"{(time.time() - start) / step * 1000 / a.batch:.1f} ms/sample",
                np.array(log[-100:]).mean(0).round(3),
                shards.count,
                flush=True,
            )
            shards.refresh()
        if step % 500 == 0 or step == 100:
            e = PersonNet()
            e.load_state_dict(ema)
            for (folder, _), arrays in zip(shards.folders, shards.arrays, strict=True):
                if arrays:
                    print("   held out", folder.name, score(e, {k: arrays[k][:250] for k in SHAPES}), flush=True)
            torch.save({"net": ema, "depth": depth.state_dict(), "step": step}, a.out)
    torch.save({"net": ema, "depth": depth.state_dict(), "step": step}, a.out)


if __name__ == "__main__":
    main()
