"""Trains the finder."""

from __future__ import annotations

import argparse
import math
import time
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from finder import Finder
from scenes import Drawn, Scenes

BATCH = 32
HELD_CUTOUTS, HELD_FRAMES = 200, 160
"""At the front of the cut-outs and of the drawn frames; neither looks nor rooms are trained on."""
FIRST = 150
"""Batches composed before the first is used again: few of them would be learnt by heart."""
POOL = 300
"""Batches kept to be used again: composing a scene costs more than learning from it."""


def losses(net: Finder, t: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Penalty-reduced focal loss on the score (CornerNet eq. 1) and generalised IoU of the boxes."""
    with torch.autocast("cpu", torch.bfloat16):
        score, box = net((t["image"].float() / 255).contiguous(memory_format=torch.channels_last))
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
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--cutouts", type=Path, required=True)
    p.add_argument("--drawn", type=Path, help="folder written by draw_people")
    p.add_argument("--minutes", type=float, required=True)
    p.add_argument("--out", type=Path, required=True)
    p.add_argument("--init", type=Path)
    p.add_argument("--lr", type=float, default=2e-3)
    p.add_argument("--seed", type=int, default=1, help="of the scenes; another one when going on from --init")
    a = p.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    torch.manual_seed(1)
    cut = np.load(a.cutouts / "cutouts.npy", mmap_mode="r")
    drawn = Drawn(a.drawn) if a.drawn else None
    frames = len(drawn.people) if drawn else 0
    scenes = Scenes(cut[HELD_CUTOUTS:], a.seed, drawn, range(HELD_FRAMES, frames))
    held = Scenes(cut[:HELD_CUTOUTS], 2, drawn, range(min(HELD_FRAMES, frames))).batch(128)
    net = Finder()
    if a.init:
        net.load_state_dict(torch.load(a.init))
    net = net.to(memory_format=torch.channels_last)
    opt = torch.optim.AdamW(net.parameters(), a.lr, weight_decay=0.02)
    ema = {k: v.clone() for k, v in net.state_dict().items()}
    pool: list[dict[str, Tensor]] = []
    rng = np.random.default_rng(0)
    start, step, log = time.time(), 0, []
    while (f := (time.time() - start) / (a.minutes * 60)) < 1:
        for q in opt.param_groups:
            q["lr"] = a.lr * min(1, (step + 1) / 100) * (0.5 * (1 + math.cos(math.pi * f)) + 2e-3)
        if step % 2 == 0 or len(pool) < FIRST:
            t = scenes.batch(BATCH)
            pool.append(t)
            if len(pool) > POOL:
                pool.pop(int(rng.integers(POOL)))
        else:
            t = pool[int(rng.integers(len(pool)))]
        ls, lb = losses(net, t)
        opt.zero_grad()
        (ls + lb).backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 5.0)
        opt.step()
        step += 1
        d = min(0.997, step / (step + 20))
        with torch.no_grad():
            for k, v in net.state_dict().items():
                ema[k].lerp_(v, 1 - d) if v.dtype.is_floating_point else ema[k].copy_(v)
        log.append((float(ls.detach()), float(lb.detach())))
        if step % 100 == 0:
            e = Finder()
            e.load_state_dict(ema)
            e.eval()
            with torch.no_grad():
                hs, hb = losses(e, held)
            ms = (time.time() - start) / step * 1000 / BATCH
            mean = np.array(log[-100:]).mean(0).round(3)
            print(step, f"{ms:.1f} ms/sample", mean, "held out", round(float(hs), 3), round(float(hb), 3), flush=True)
            torch.save(ema, a.out)
    torch.save(ema, a.out)


if __name__ == "__main__":
    main()
