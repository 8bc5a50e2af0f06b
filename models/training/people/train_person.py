"""Trains the person network on shards of renders and on photographs.

    python train_person.py --photos DATA/people/train:other_labels.jsonl.gz RUN/more --shards A:0.4 B:0.6 \\
        --init ../../person/person.onnx --minutes 60 --out RUN/person.pt

Shards are mixed by weight and read again as they grow; `--photo-share` of each batch comes from photographs. Learning follows a
cosine over the given time; what is written is the exponential moving average of the weights. `--resume` goes on from `--out`.
`--features` keeps the image features what they are in a network that the lifter's head was trained with, so that the head need
not be trained again.
"""

from __future__ import annotations

import argparse
import math
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnxruntime as ort
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from evaluate_finder import Finder
from net import Agreement, Depth, PersonNet
from photos import MIRROR, PersonCrops, open_folders, plain_crop
from presence import LEAST, PEOPLE_MAX
from shards import CROP_H, CROP_W, HELD_OUT, open_shard
from unfold import calibrate, unfold

MIRROR_J = [0, 4, 5, 6, 1, 2, 3, 7, 8, 9, 10, 14, 15, 16, 11, 12, 13]
USED = ("image", "mask", "keypoints", "joints")
TARGET_PX = 4.5
"""Standard deviation of a heatmap's target, crop pixels."""
HIDDEN = 0.3
"""Weight of keypoints inside the crop that cannot be seen."""
TURNED = 0.35
"""Share of crops turned and scaled again: people who lean and cameras that are tilted are rare in the renders."""
TURN_DEG, ZOOM = 25.0, 0.18
"""Standard deviation of the angle; largest change of the logarithm of the size."""
GREY, SWAP = 0.05, 0.1
"""Shares of pictures without colour, and with their colour channels swapped."""
GAMMA, MIXED = 0.3, 0.15
"""Shares of pictures with another gamma, and with their colours mixed."""
MAP = (24, 48, 36)
"""A teacher's feature map (teacher.py)."""
NOBODY, NOBODY_FOUND = 0.08, 0.16
"""Share of the crops of photographs that show no person, where nothing is seen; and of those with a person detector, whose mistakes
are harder to tell."""
NO_MASK = 255
"""Mask of a photograph's cells: unknown."""
KEEP = 1.0
"""Weight of keeping the image features, which are of about unit variance."""
KEPT_EVERY = 4
"""Steps between two that keep them: another network has to run for it, and they hardly move in a step."""
SAVE_EVERY = 400
"""Steps between two checkpoints."""
SHAPES: dict[str, dict[str, Any]] = {
    "as-was": {"reach": 0},
    "reach": {"reach": 2},
    "wide": {"c": (24, 48, 104, 200), "reach": 2},
}

Batch = dict[str, NDArray[Any]]


class Shards:
    """Shard folders, read as they grow."""

    def __init__(self, folders: list[tuple[Path, float]]) -> None:
        self.folders = folders
        self.teacher = [np.load(p, "r") if (p := f / "teacher.npy").exists() else None for f, _ in folders]
        self.refresh()

    def refresh(self) -> None:
        """Takes what has been written since."""
        opened = [open_shard(folder) for folder, _ in self.folders]
        self.arrays, self.count = [a for a, _ in opened], [n for _, n in opened]

    def batch(self, rng: np.random.Generator, size: int) -> Batch:
        """Random rows of all folders by weight."""
        share = np.array([w if n > 2 * HELD_OUT else 0 for (_, w), n in zip(self.folders, self.count, strict=True)])
        out: dict[str, list[NDArray[Any]]] = {k: [] for k in (*USED, "flip", "teacher", "taught")}
        counts = rng.multinomial(size, share / share.sum())
        for arrays, teacher, n, k in zip(self.arrays, self.teacher, self.count, counts, strict=True):
            if k:
                rows = np.sort(rng.integers(HELD_OUT, n, k))
                for name in USED:
                    out[name].append(arrays[name][rows])
                flip = rng.random(k) < 0.5
                out["flip"].append(flip)
                maps = np.zeros((k, *MAP), np.float16)
                taught = rows < (0 if teacher is None else len(teacher))
                if teacher is not None:
                    maps[taught] = teacher[rows[taught], flip[taught].astype(int)]
                out["teacher"].append(maps)
                out["taught"].append(taught)
        return {k: np.concatenate(v) for k, v in out.items()}


def turn(b: Batch, i: int, rng: np.random.Generator) -> None:
    """Row `i` of a batch seen by a camera rolled about its axis, in place."""
    angle, zoom = np.radians(rng.normal(0, TURN_DEG)), np.exp(rng.uniform(-ZOOM, ZOOM))
    c, s = zoom * np.cos(angle), zoom * np.sin(angle)
    mid = np.array([(CROP_W - 1) / 2, (CROP_H - 1) / 2])
    a = np.array([[c, -s], [s, c]])
    m = np.concatenate([a, (mid - a @ mid)[:, None]], 1)
    image, mask, k, joints = (b[n][i] for n in USED)
    border = cv2.BORDER_CONSTANT if rng.random() < 0.5 else cv2.BORDER_REPLICATE
    image[:] = cv2.warpAffine(image, m, (CROP_W, CROP_H), borderMode=border)
    full = np.repeat(np.repeat(mask, 4, 0), 4, 1)
    mask[:] = cv2.warpAffine(full, m, (CROP_W, CROP_H), flags=cv2.INTER_NEAREST)[1::4, 1::4]
    k[:, :2] = (k[:, :2] - mid) @ a.T + mid
    inside = ((k[:, :2] > -0.5) & (k[:, :2] < [CROP_W - 0.5, CROP_H - 0.5])).all(1)
    k[:, 2] *= inside
    k[:, 3] = inside & np.isfinite(joints).all()
    joints[:, :2] = joints[:, :2] @ (a / zoom).T


def tensors(b: Batch, rng: np.random.Generator) -> dict[str, Tensor]:
    """Numpy batch of renders to tensors: turned, mirrored, recoloured. The teacher has not seen crops that were turned."""
    b = {name: np.array(v) for name, v in b.items()}
    for i in np.flatnonzero(rng.random(len(b["image"])) < TURNED):
        turn(b, int(i), rng)
        b["taught"][i] = False
    image, m, k, j = (torch.from_numpy(b[n]) for n in USED)
    n = len(image)
    flip = torch.from_numpy(np.flatnonzero(b["flip"]))
    image[flip] = image[flip].flip(2)
    m[flip] = m[flip].flip(2)
    mirrored = k[flip][:, MIRROR]
    mirrored[..., 0] = CROP_W - 1 - mirrored[..., 0]
    k[flip] = mirrored
    j[flip] = j[flip][:, MIRROR_J] * torch.tensor([-1.0, 1, 1])
    for i in np.flatnonzero(rng.random(n) < SWAP):
        image[i] = image[i][..., torch.from_numpy(rng.permutation(3))]
    gain = rng.uniform(0.7, 1.3, (n, 1, 1, 1)) * rng.uniform(0.88, 1.12, (n, 1, 1, 3)) / 255
    x = image.float().mul_(torch.from_numpy(gain.astype(np.float32))).clamp_(max=1)
    for i in np.flatnonzero(rng.random(n) < GAMMA):
        x[i] = x[i] ** float(np.exp(rng.uniform(-0.6, 0.6)))
    for i in np.flatnonzero(rng.random(n) < MIXED):
        mix = np.eye(3) + rng.normal(0, 0.2, (3, 3))
        x[i] = (x[i] @ torch.from_numpy((mix / mix.sum(0)).astype(np.float32))).clamp_(0, 1)
    for i in np.flatnonzero(rng.random(n) < GREY):
        x[i] = x[i].mean(-1, keepdim=True)
    place = k[..., 3] * (HIDDEN + (1 - HIDDEN) * k[..., 2])
    out = {"image": x.permute(0, 3, 1, 2), "keypoints": k[..., :2], "place": place, "seen": k[..., 2], "mask": m.long()}
    out |= {"seen_weight": torch.ones(n, 17), "joints": j}
    return out | {"teacher": torch.from_numpy(b["teacher"]), "taught": torch.from_numpy(b["taught"])}


def photo_tensors(crops: PersonCrops, count: int, rng: np.random.Generator) -> dict[str, Tensor]:
    """As `tensors`, of photographs: what the labels do not tell (mask, 3D) weighs nothing."""
    nobody = rng.random(count) < (NOBODY_FOUND if crops.mistaken else NOBODY if crops.empty else 0)
    samples = [crops.nobody(rng) if empty else crops.sample(rng) for empty in nobody]
    image = torch.from_numpy(np.stack([image for image, _ in samples])).permute(0, 3, 1, 2).float() / 255
    k = torch.from_numpy(np.stack([k for _, k in samples]))
    out = {"image": image, "keypoints": k[..., :2], "place": k[..., 2], "seen": k[..., 3], "seen_weight": k[..., 4]}
    out |= {"mask": torch.full((count, 48, 36), NO_MASK), "joints": torch.full((count, 17, 3), torch.nan)}
    return out | {
        "teacher": torch.zeros(count, *MAP, dtype=torch.float16),
        "taught": torch.zeros(count, dtype=torch.bool),
    }


class Features:
    """Image features [N,128] of a shipped network, by ONNX Runtime."""

    def __init__(self, path: Path) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = ort.InferenceSession(str(path), options, ["CPUExecutionProvider"])

    def __call__(self, images: Tensor) -> Tensor:
        """Features of images [N,3,192,144], RGB 0..1."""
        rows = [self.session.run(["features"], {"image": i[None].numpy()})[0] for i in images.contiguous()]
        return torch.from_numpy(np.concatenate(rows))


def losses(
    net: PersonNet, depth: Depth, agree: Agreement, spread: Tensor, t: dict[str, Tensor], bf16: bool
) -> dict[str, Tensor]:
    """Cross entropy of the places, the chance of being seen and the mask; mean joint distance in metres;
    squared distance to the teacher's map in units of `spread` [1,24,1,1], its channels' standard deviations;
    squared distance of the image features to those that `t` wants, if it wants any (robust: unusual crops have huge ones).
    """
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        last, features = net.last_map(t["image"].contiguous(memory_format=torch.channels_last))
        heat, visible, mask = net.read(last)
        taught = t["taught"]
        agreed = agree(last[taught]) if taught.any() else None
    apart = torch.zeros(())
    if agreed is not None:
        apart = (agreed.float() - t["teacher"][taught].float() / spread).square().mean()
    heat, visible, features, mask = heat.float(), visible.float(), features.float(), mask.float()
    k, weight = t["keypoints"], t["place"]
    gx = (torch.arange(36) * 4 + 1.5)[None, None]
    gy = (torch.arange(48) * 4 + 1.5)[None, None]
    ex = torch.exp(-((gx - k[..., 0:1]) ** 2) / (2 * TARGET_PX**2))
    ey = torch.exp(-((gy - k[..., 1:2]) ** 2) / (2 * TARGET_PX**2))
    target = (ey[..., :, None] * ex[..., None, :]).flatten(2)
    target = target / target.sum(-1, keepdim=True).clamp(min=1e-6)
    ce = -(target * F.log_softmax(heat.flatten(2), -1)).sum(-1)
    # Crops without anybody, and photographs, have no joints: NaN.
    there = torch.isfinite(t["joints"]).all(-1).all(-1)
    distance = (depth(features) - t["joints"].nan_to_num()).norm(dim=-1).mean(-1)
    bce = F.binary_cross_entropy_with_logits(visible, t["seen"], reduction="none")
    known = t["mask"] != NO_MASK
    area = F.cross_entropy(mask, t["mask"].where(known, 0), reduction="none")
    kept = F.smooth_l1_loss(features, t["features"]) if "features" in t else torch.zeros(())
    return {
        "heat": (ce * weight).sum() / weight.sum().clamp(min=1),
        "visible": (bce * t["seen_weight"]).sum() / t["seen_weight"].sum().clamp(min=1),
        "mask": (area * known).sum() / known.sum().clamp(min=1),
        "joints": (distance * there).sum() / there.sum().clamp(min=1),
        "teacher": apart,
        "features": kept,
    }


def places(heat: Tensor) -> NDArray[Any]:
    """Centres of the highest cells of heatmaps [N,17,48,36], crop pixels [N,17,2]."""
    ix = heat.flatten(2).argmax(-1).numpy()
    return np.stack([ix % 36 * 4 + 1.5, ix // 36 * 4 + 1.5], -1)


def score(net: PersonNet, images: NDArray[Any], k: NDArray[Any]) -> tuple[float, float, float]:
    """Share of seen keypoints within 0.2 torso; right answers on what is seen; share seen that is."""
    net.eval()
    with torch.no_grad():
        parts = [
            net(torch.from_numpy(np.array(images[i : i + 50])).permute(0, 3, 1, 2).float() / 255)[:2]
            for i in range(0, len(images), 50)
        ]
    net.train()
    xy = places(torch.cat([h for h, _ in parts]))
    visible = torch.cat([v for _, v in parts]).numpy()
    torso = np.linalg.norm(k[:, [5, 6], :2].mean(1) - k[:, [11, 12], :2].mean(1), axis=-1).clip(10)
    good = np.linalg.norm(xy - k[..., :2], axis=-1) < 0.2 * torso[:, None]
    v = k[..., 2] > 0.5
    return round(float(good[v].mean()), 3), round(float(((visible > 0) == v).mean()), 3), round(float(v.mean()), 3)


def held_out_photos(crops: PersonCrops) -> tuple[NDArray[Any], NDArray[Any]]:
    """Upright crops of held-out people and their keypoints [N,17,3] in crop pixels, those to be measured by marked 1."""
    images, points = [], []
    for index, person, by_hand in crops.rows:
        crop, m = plain_crop(crops.pictures[index], person.box)
        k = person.keypoints.copy()
        k[:, 0] = (k[:, 0] - m[0, 2]) / m[0, 0]
        k[:, 1] = (k[:, 1] - m[1, 2]) / m[1, 1]
        k[:, 2] = k[:, 2] >= (1 if by_hand else 2)
        if k[[5, 6, 11, 12], 2].all():  # else there is no torso to measure by
            images.append(crop)
            points.append(k)
    return np.stack(images), np.stack(points)


def start_from(path: Path, net: PersonNet, depth: Depth, agree: Agreement, images: Tensor) -> None:
    """Weights of a checkpoint, or of a shipped ONNX file (the first ones are without `reach`).

    Raises ValueError where the shapes differ.
    """
    if path.suffix == ".onnx":
        try:
            unfold(net, path, images[:1])
        except ValueError:
            without = PersonNet(reach=0)
            unfold(without, path, images[:1])
            left = net.load_state_dict(without.state_dict(), strict=False)
            if left.unexpected_keys or any(not k.startswith("s16.3.") for k in left.missing_keys):
                raise ValueError(f"{path}: another shape than the network that is trained") from None
            net.add_nothing()
        calibrate(net, images)
        print("channels before the features that were never on:", net.revive(images), flush=True)
        return
    s = torch.load(path, map_location="cpu")
    net.load_state_dict(s["net"])
    depth.load_state_dict(s["depth"])
    if "agree" in s:
        agree.load_state_dict(s["agree"])


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--shards", nargs="+", required=True, help="folder or folder:weight")
    p.add_argument("--photos", nargs="*", default=[], help="folder of photographs with an index, or folder:labels")
    p.add_argument("--photo-share", type=float, default=0.65, help="share of each batch that is photographs")
    p.add_argument("--minutes", type=float, required=True)
    p.add_argument("--out", type=Path, required=True)
    p.add_argument("--init", type=Path, help="a checkpoint or a shipped ONNX file to go on from")
    p.add_argument("--shape", choices=sorted(SHAPES), default="reach")
    p.add_argument("--resume", action="store_true", help="go on from --out where a run was stopped")
    p.add_argument("--teacher", type=float, default=0.0, help="weight of agreeing with teacher.py's maps in the shards")
    p.add_argument("--features", type=Path, help="a shipped ONNX file whose image features are kept")
    p.add_argument("--finder", type=Path, help="a person detector (ONNX) at whose boxes some crops are cut")
    p.add_argument("--lr", type=float, default=2e-3)
    p.add_argument("--batch", type=int, default=32)
    p.add_argument("--bf16", action="store_true", help="convolutions in bfloat16, where the machine is quicker so")
    p.add_argument("--seed", type=int, default=1)
    a = p.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    torch.manual_seed(a.seed)
    rng = np.random.default_rng(a.seed)
    shards = Shards([(Path(s.split(":")[0]), float(s.split(":")[1]) if ":" in s else 1.0) for s in a.shards])
    folders = open_folders(a.photos)
    finder = Finder(a.finder) if a.finder else None
    finds = (lambda picture: [d for d in finder(picture) if d.score >= LEAST][:PEOPLE_MAX]) if finder else None
    crops = PersonCrops(folders, finds=finds) if a.photos else None
    held = held_out_photos(PersonCrops(folders, held_out=True)) if a.photos else None
    net, depth, agree = PersonNet(**SHAPES[a.shape]).to(memory_format=torch.channels_last), Depth(), Agreement()
    sample = shards.batch(rng, 256)
    maps = torch.from_numpy(sample["teacher"][sample["taught"]]).float()
    spread = maps.std((0, 2, 3)).clamp(min=1e-3)[None, :, None, None] if len(maps) else torch.ones(1, MAP[0], 1, 1)
    if a.init:
        images = [tensors(shards.batch(rng, 96), rng)["image"]]
        if crops:
            images.append(photo_tensors(crops, 160, rng)["image"])
        start_from(a.init, net, depth, agree, torch.cat(images))
    features = Features(a.features) if a.features else None
    count = len(crops.rows) if crops else 0
    print(
        sum(q.numel() for q in net.parameters()), "parameters", shards.count, count, "people in photographs", flush=True
    )
    ps = [*net.parameters(), *depth.parameters(), *agree.parameters()]
    opt = torch.optim.AdamW(ps, a.lr, weight_decay=0.02)
    ema = {k: v.clone() for k, v in net.state_dict().items()}
    step, before, log = 0, 0.0, []
    if a.resume and a.out.exists():
        s = torch.load(a.out, map_location="cpu")
        net.load_state_dict(s["live"])
        depth.load_state_dict(s["depth"])
        agree.load_state_dict(s["agree"])
        opt.load_state_dict(s["opt"])
        ema, step, before = s["net"], s["step"], s["seconds"]
        rng = np.random.default_rng([a.seed, step])
    start = time.time() - before
    trained = 0 if not crops else round(a.photo_share * a.batch)

    def save() -> None:
        state = {"net": ema, "depth": depth.state_dict(), "agree": agree.state_dict(), "step": step}
        state |= {"live": net.state_dict(), "opt": opt.state_dict(), "seconds": time.time() - start, "shape": a.shape}
        part = a.out.with_suffix(".part")
        torch.save(state, part)
        part.replace(a.out)

    while (f := (time.time() - start) / (a.minutes * 60)) < 1:
        for q in opt.param_groups:
            q["lr"] = a.lr * min(1, (step + 1) / 150) * (0.5 * (1 + math.cos(math.pi * f)) + 2e-3)
        t = tensors(shards.batch(rng, a.batch - trained), rng)
        if crops:
            photos = photo_tensors(crops, trained, rng)
            t = {k: torch.cat([v, photos[k]]) for k, v in t.items()}
        if features and step % KEPT_EVERY == 0:
            t["features"] = features(t["image"])
        parts = losses(net, depth, agree, spread, t, a.bf16)
        loss = parts["heat"] + 0.5 * parts["visible"] + 0.3 * parts["mask"] + a.teacher * parts["teacher"]
        # The features are either kept, or such that the 3D joints can be read from them.
        loss = loss + (KEPT_EVERY * KEEP * parts["features"] if features else 3 * parts["joints"])
        opt.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(ps, 5.0)
        opt.step()
        step += 1
        d = min(0.998, step / (step + 20))
        with torch.no_grad():
            for k, v in net.state_dict().items():
                ema[k].lerp_(v, 1 - d) if v.dtype.is_floating_point else ema[k].copy_(v)
        log.append([float(v.detach()) for v in parts.values()])
        if step % 100 == 0:
            ms = (time.time() - start) / step * 1000 / a.batch
            print(step, f"{f:.3f} {ms:.1f} ms/sample", np.array(log[-100:]).mean(0).round(3), shards.count, flush=True)
            shards.refresh()
        if step % SAVE_EVERY == 0:
            save()
            e = PersonNet(**SHAPES[a.shape])
            e.load_state_dict(ema)
            if held:
                print("   held out photographs", score(e, *held), flush=True)
            for (folder, _), arrays in zip(shards.folders, shards.arrays, strict=True):
                if arrays:
                    k = np.asarray(arrays["keypoints"][:HELD_OUT])
                    print("   held out", folder.name, score(e, arrays["image"][:HELD_OUT], k), flush=True)
    save()
    print("done", step, flush=True)


if __name__ == "__main__":
    main()
