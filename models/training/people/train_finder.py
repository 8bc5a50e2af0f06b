"""Trains the finder on photographs and on rendered scenes.

    python train_finder.py --photos DATA/people/train RUN/more --cutouts RUN/cutouts --init finder.pt --minutes 60 --out finder.pt

What is written is the exponential moving average of the weights; `--resume` goes on from `--out`. With `--teacher` its maps also
learn to agree with those of a network that was trained on far more photographs (teacher.py). Batches are composed in a process
of their own.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from finder import SIZE, Finder, FrameAgreement
from photo_scenes import PhotoScenes
from photos import open_folders
from scenes import Drawn, Scenes
from teacher import FRAME_CHANNELS, FrameTeacher
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
AHEAD = 6
"""Batches composed before they are needed."""
MEASURED_FIRST = 12
"""Batches by which the spread of the teacher's channels is measured."""


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


class Batches(IterableDataset[dict[str, Any]]):
    """Batches of views of photographs and of rendered scenes, in that order, with what the teacher sees in them."""

    def __init__(self, photos: PhotoScenes | None, shown: int, scenes: Pool, teacher: Path | None) -> None:
        super().__init__()
        self.photos, self.shown, self.scenes, self.teacher = photos, shown, scenes, teacher

    def __iter__(self) -> Iterator[dict[str, Any]]:
        cv2.setNumThreads(1)
        teacher = FrameTeacher(self.teacher) if self.teacher else None
        while True:
            parts = [self.photos.batch(self.shown)] if self.photos else []
            parts += [self.scenes.batch()] if self.shown < BATCH else []
            t: dict[str, Any] = {k: torch.cat([part[k] for part in parts]) for k in parts[0]}
            yield t | {"maps": teacher(t["image"].permute(0, 2, 3, 1).numpy()) if teacher else []}


def unfolded(path: Path) -> Finder:
    """The finder of a shipped ONNX file, of the shape before where it is that one's. Raises ValueError for another shape."""
    for net in (Finder(deep=0), Finder()):
        try:
            unfold(net, path, torch.zeros(1, 3, SIZE, SIZE))
            return net
        except ValueError as error:
            fault = error
    raise fault


def losses(score: Tensor, box: Tensor, t: dict[str, Any]) -> tuple[Tensor, Tensor]:
    """Penalty-reduced focal loss on the score (CornerNet eq. 1) and generalised IoU of the boxes."""
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
    p.add_argument("--teacher", type=Path, help="MoveNet Lightning, ONNX, to agree with")
    p.add_argument("--agree", type=float, default=0.5, help="weight of agreeing with the teacher")
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
        before = unfolded(a.init)
        first = [scenes.batch()["image"], *([photos.batch(96)["image"]] if photos else [])]
        calibrate(before, torch.cat(first).float() / 255)
        net.load_state_dict(before.state_dict(), strict=False)
    elif a.init:
        net.load_state_dict(torch.load(a.init, map_location="cpu")["net"])
    agreement = FrameAgreement(FRAME_CHANNELS)
    net = net.to(memory_format=torch.channels_last)
    opt = torch.optim.AdamW([*net.parameters(), *agreement.parameters()], a.lr, weight_decay=0.02)
    ema = {k: v.clone() for k, v in net.state_dict().items()}
    step, spent, log = 0, 0.0, []
    if a.resume and a.out.exists():
        s = torch.load(a.out, map_location="cpu")
        net.load_state_dict(s["live"])
        opt.load_state_dict(s["opt"])
        agreement.load_state_dict(s["agreement"])
        ema, step, spent = s["net"], s["step"], s["seconds"]
    start = time.time() - spent

    def save() -> None:
        state = {"net": ema, "live": net.state_dict(), "opt": opt.state_dict(), "step": step}
        state["agreement"] = agreement.state_dict()
        part = a.out.with_suffix(".part")
        torch.save(state | {"seconds": time.time() - start}, part)
        part.replace(a.out)

    made = iter(DataLoader(Batches(photos, shown, scenes, a.teacher), None, num_workers=1, prefetch_factor=AHEAD))
    spread: list[Tensor] = []
    if a.teacher:
        measured = [next(made)["maps"] for _ in range(MEASURED_FIRST)]
        spread = [
            torch.cat(y).float().std((0, 2, 3))[:, None, None].clamp(min=1e-3) for y in zip(*measured, strict=True)
        ]
    while (f := (time.time() - start) / (a.minutes * 60)) < 1:
        for q in opt.param_groups:
            q["lr"] = a.lr * min(1, (step + 1) / 100) * (0.5 * (1 + math.cos(math.pi * f)) + 2e-3)
        t = next(made)
        maps = net.maps((t["image"].float() / 255).contiguous(memory_format=torch.channels_last))
        score, box = net.read(maps[-1])
        ls, lb = losses(score, box, t)
        pairs = zip(agreement(maps), t["maps"], spread, strict=True) if a.teacher else ()
        apart = [(y - m.float() / s).square().mean() for y, m, s in pairs]
        la = torch.stack(apart).mean() if apart else torch.zeros(())
        opt.zero_grad()
        (ls + lb + a.agree * la).backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 5.0)
        opt.step()
        step += 1
        d = min(0.997, step / (step + 20))
        with torch.no_grad():
            for k, v in net.state_dict().items():
                ema[k].lerp_(v, 1 - d) if v.dtype.is_floating_point else ema[k].copy_(v)
        log.append((float(ls.detach()), float(lb.detach()), float(la.detach())))
        if step % SAVE_EVERY == 0:
            e = Finder()
            e.load_state_dict(ema)
            e.eval()
            with torch.no_grad():
                score, box = e(held["image"].float() / 255)
                hs, hb = losses(score, box, held)
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
