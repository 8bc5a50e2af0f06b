"""Trains the finder on photographs and on rendered scenes.

    python train_finder.py --photos DATA/people/train RUN/more --cutouts RUN/cutouts --init finder.pt --minutes 60 --out finder.pt

What is written is the exponential moving average of the weights; `--resume` goes on from `--out`.
"""

from __future__ import annotations

import argparse
import math
import time
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from finder import SIZE, Finder
from photo_scenes import PhotoScenes
from photos import open_folders
from scenes import Drawn, Scenes
from unfold import calibrate, unfold

BATCH = 24
HELD_CUTOUTS, HELD_FRAMES = 200, 160
"""At the front of the cut-outs and of the drawn frames; neither looks nor rooms are trained on."""
FIRST = 150
"""Batches of scenes composed before the first is used again: few of them would be learnt by heart."""
POOL = 300
"""Batches of scenes kept to be used again: composing a scene costs more than learning from it."""
SAVE_EVERY = 200
"""Steps between two checkpoints."""


class Pool:
    """Batches of rendered scenes, each used a few times."""

    def __init__(self, scenes: Scenes, size: int, seed: int) -> None:
        self.scenes, self.size, self.kept = scenes, size, []  # type: tuple[Scenes, int, list[dict[str, Tensor]]]
        self.rng = np.random.default_rng(seed)
        self.asked = 0

    def batch(self) -> dict[str, Tensor]:
        """A new batch every second time, else one of those before."""
        self.asked += 1
        if self.asked % 2 == 0 and len(self.kept) >= FIRST:
            return self.kept[int(self.rng.integers(len(self.kept)))]
        made = self.scenes.batch(self.size)
        self.kept.append(made)
        if len(self.kept) > POOL:
            self.kept.pop(int(self.rng.integers(POOL)))
        return made


def losses(net: Finder, t: dict[str, Tensor], bf16: bool) -> tuple[Tensor, Tensor]:
    """Penalty-reduced focal loss on the score (CornerNet eq. 1) and generalised IoU of the boxes."""
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        score, box = net((t["image"].float() / 255).contiguous(memory_format=torch.channels_last))
    s, b = score.float()[:, 0], box.float()
    p = torch.sigmoid(s).clamp(1e-4, 1 - 1e-4)
    pos = t["score"] > 0.999
    focal = -torch.where(pos, (1 - p) ** 2 * p.log(), (1 - t["score"]) ** 4 * p**2 * (1 - p).log()) * t["known"]
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
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--cutouts", type=Path, required=True)
    p.add_argument("--drawn", type=Path, help="folder written by draw_people")
    p.add_argument("--photos", nargs="*", default=[], help="folder of photographs with an index, or folder:labels")
    p.add_argument("--photo-share", type=float, default=0.7, help="share of each batch that is views of photographs")
    p.add_argument("--minutes", type=float, required=True)
    p.add_argument("--out", type=Path, required=True)
    p.add_argument("--init", type=Path, help="a checkpoint or a shipped ONNX file to go on from")
    p.add_argument("--resume", action="store_true", help="go on from --out where a run was stopped")
    p.add_argument("--lr", type=float, default=2e-3)
    p.add_argument("--bf16", action="store_true", help="convolutions in bfloat16, where the machine is quicker so")
    p.add_argument("--seed", type=int, default=1, help="of the scenes; another one when going on from --init")
    a = p.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    torch.manual_seed(a.seed)
    cut = np.load(a.cutouts / "cutouts.npy", mmap_mode="r")
    drawn = Drawn(a.drawn) if a.drawn else None
    frames = len(drawn.people) if drawn else 0
    photos = PhotoScenes(open_folders(a.photos), a.seed) if a.photos else None
    shown = round(a.photo_share * BATCH) if photos else 0
    scenes = Pool(Scenes(cut[HELD_CUTOUTS:], a.seed, drawn, range(HELD_FRAMES, frames)), BATCH - shown, a.seed)
    held = Scenes(cut[:HELD_CUTOUTS], 2, drawn, range(min(HELD_FRAMES, frames))).batch(96)
    net = Finder()
    if a.init and a.init.suffix == ".onnx":
        unfold(net, a.init, torch.zeros(1, 3, SIZE, SIZE))
        first = [scenes.batch()["image"], *([photos.batch(96)["image"]] if photos else [])]
        calibrate(net, torch.cat(first).float() / 255)
    elif a.init:
        net.load_state_dict(torch.load(a.init, map_location="cpu")["net"])
    net = net.to(memory_format=torch.channels_last)
    opt = torch.optim.AdamW(net.parameters(), a.lr, weight_decay=0.02)
    ema = {k: v.clone() for k, v in net.state_dict().items()}
    step, before, log = 0, 0.0, []
    if a.resume and a.out.exists():
        s = torch.load(a.out, map_location="cpu")
        net.load_state_dict(s["live"])
        opt.load_state_dict(s["opt"])
        ema, step, before = s["net"], s["step"], s["seconds"]
    start = time.time() - before

    def save() -> None:
        state = {"net": ema, "live": net.state_dict(), "opt": opt.state_dict(), "step": step}
        part = a.out.with_suffix(".part")
        torch.save(state | {"seconds": time.time() - start}, part)
        part.replace(a.out)

    while (f := (time.time() - start) / (a.minutes * 60)) < 1:
        for q in opt.param_groups:
            q["lr"] = a.lr * min(1, (step + 1) / 100) * (0.5 * (1 + math.cos(math.pi * f)) + 2e-3)
        t = scenes.batch() if shown < BATCH else {}
        if photos:
            own = photos.batch(shown)
            t = {k: torch.cat([t[k], own[k]]) if t else own[k] for k in own}
        ls, lb = losses(net, t, a.bf16)
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
        if step % SAVE_EVERY == 0:
            e = Finder()
            e.load_state_dict(ema)
            e.eval()
            with torch.no_grad():
                hs, hb = losses(e, held, False)
            ms = (time.time() - start) / step * 1000 / BATCH
            mean = np.array(log[-SAVE_EVERY:]).mean(0).round(3)
            print(
                step,
                f"{f:.3f} {ms:.1f} ms/sample",
                mean,
                "held out",
                round(float(hs), 3),
                round(float(hb), 3),
                flush=True,
            )
            save()
    save()
    print("done", step, flush=True)


if __name__ == "__main__":
    main()
