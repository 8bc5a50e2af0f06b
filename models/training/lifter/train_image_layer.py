"""Train what the image adds to the final layers, on people who were drawn and seen by the networks that ship.

`python train_image_layer.py --lifter ../../lifter --drawn drawn.safetensors --rendered rendered.safetensors --out
head.safetensors` reads what `cargo run --example render_motion` writes of recorded motion (`features` f32 [N,256],
`image` f32 [N,128], `joints` f32 [N,17,3] in metres from joint 0 in the rotated camera frame, `group` i64 [N]) and what
../people/fuse_features.py writes of rendered people (`kp` f32 [N,27,17,4] in place of `features`), half of each batch
from either. Only `image.weight` and `image.bias` change: without image features the head stays what it was, to the bit.

What is kept of it is `SHARE`: a layer that has learned from one kind of pictures is worse than none on another kind,
a quarter of it is not (`--only`), and of photographs it has seen none.

The layer also learns what the keypoints of pictures have in common and simulated ones have not, for it is
there exactly where the keypoints come from pictures. Groups (clips, looks) with group % 10 == 0 are held out.
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from evaluate import align, load_head, load_lifter, measures
from model import Head, Lifter, frames_of, losses

HELD_OUT_EVERY = 10
LIKELIHOOD_WEIGHT = 0.01
NORM_MAX = 2.0
"""Image features of a larger norm are left out, as the program does: of most crops it is 0.75 to 1.5, of a few per cent
tens to two hundred."""
SHAPE_WEIGHT = 1.5
"""Weight of the distance after the best similarity, beside that in place."""
SHARE = 0.25
"""Share of the layer that is kept: the largest of `SHARES` at which neither kind of pictures gets worse by more than one per
cent of PA-MPJPE where the layer has learned from the other kind alone."""
SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)
DROP = 0.2
"""Chance that an image feature is left out of a sample: one crop tells more than its person."""


def shape_distance(pose: Tensor, truth: Tensor) -> Tensor:
    """Mean distance of joints after the best similarity, metres; the similarity is held constant in the gradient."""
    apart = pose - pose.mean(1, keepdim=True)
    with torch.no_grad():
        best = align(pose, truth)
        best = best - best.mean(1, keepdim=True)
        u, _, vh = torch.linalg.svd(apart.transpose(1, 2) @ best)
        turn = u @ vh
        scale = best.pow(2).sum((1, 2)).sqrt() / apart.pow(2).sum((1, 2)).sqrt().clamp(min=1e-6)
    placed = scale[:, None, None] * (apart @ turn) + truth.mean(1, keepdim=True)
    return (placed - truth).norm(dim=-1).mean()


class Frames(NamedTuple):
    """Frames of one kind of pictures: features [N,256], image [N,128], joints [N,17,3], held out [N]."""

    name: str
    features: Tensor
    image: Tensor
    joints: Tensor
    held: Tensor


def tensors_of(path: Path, width: dict[str, tuple[int, ...]]) -> list[Tensor]:
    """Tensors of a file by name, each with the shape of its rows checked; ends the program where one differs."""
    found = load_file(path)
    for name, shape in width.items():
        if name not in found:
            raise SystemExit(f"{path}: no tensor {name}")
        if found[name].shape[1:] != shape:
            raise SystemExit(f"{path}: {name} has rows of {tuple(found[name].shape[1:])}, expected {shape}")
    return [found[name].float() if name != "group" else found[name] for name in width]


@torch.no_grad()
def features_of(model: Lifter, kp: Tensor) -> Tensor:
    """Return the backbone's features [N,256] of windows kp [N,27,17,4]."""
    return torch.cat([model.backbone(frames_of(kp[i : i + 1000])) for i in range(0, len(kp), 1000)])


def read(drawn: Path, rendered: Path | None, lifter: Lifter) -> list[Frames]:
    """Drawn motion, and rendered people with the backbone's features of their windows."""
    features, image, joints, group = tensors_of(
        drawn, {"features": (256,), "image": (128,), "joints": (17, 3), "group": ()}
    )
    kinds = [Frames("drawn motion", features, image, joints, group % HELD_OUT_EVERY == 0)]
    if rendered is not None:
        kp, image, joints, group = tensors_of(
            rendered, {"kp": (27, 17, 4), "image": (128,), "joints": (17, 3), "group": ()}
        )
        kinds.append(Frames("rendered people", features_of(lifter, kp), image, joints, group % HELD_OUT_EVERY == 0))
    return [kind._replace(**kept(kind)) for kind in kinds]


def kept(kind: Frames) -> dict[str, Tensor]:
    """The frames whose image features count."""
    usual = kind.image.norm(dim=1) <= NORM_MAX
    return {part: getattr(kind, part)[usual] for part in ("features", "image", "joints", "held")}


def train(head: Head, kinds: list[Frames], mean: Tensor, spread: Tensor, args: argparse.Namespace) -> None:
    """Train `head.image` in place on standardised image features."""
    if head.image is None:
        raise SystemExit("the head has no image layer")
    torch.nn.init.zeros_(head.image.weight)
    torch.nn.init.zeros_(head.image.bias)
    optimiser = torch.optim.AdamW(head.image.parameters(), args.rate, weight_decay=args.decay)
    learned = [(k.features[~k.held], (k.image[~k.held] - mean) / spread, k.joints[~k.held]) for k in kinds]
    count = args.batch // len(kinds)
    for step in range(args.steps):
        for group in optimiser.param_groups:
            group["lr"] = args.rate * (0.5 * (1.0 + math.cos(math.pi * step / args.steps)) + 1e-3)
        rows = [torch.randint(len(kind[0]), (count,)) for kind in learned]
        features, seen, truth = (
            torch.cat([kind[part][r] for kind, r in zip(learned, rows, strict=True)]) for part in range(3)
        )
        seen = seen * (torch.rand_like(seen) >= DROP) / (1.0 - DROP)
        pose, log_sigma = head(features, seen)
        distance, likelihood = losses(pose, log_sigma, truth)
        shape = shape_distance(pose, truth)
        loss = distance + SHAPE_WEIGHT * shape + LIKELIHOOD_WEIGHT * likelihood
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()


def main() -> None:
    """Train, report on held-out clips, and write the head."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lifter", type=Path, required=True, help="folder of the lifter that ships")
    parser.add_argument("--drawn", type=Path, required=True, help="drawn motion, of examples/render_motion.rs")
    parser.add_argument("--rendered", type=Path, help="rendered people, of ../people/fuse_features.py")
    parser.add_argument("--only", metavar="KIND", help="learn from this kind of pictures alone, for comparison")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--batch", type=int, default=1024)
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--decay", type=float, default=0.05)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(args.seed)
    lifter = load_lifter(args.lifter)
    pictures = read(args.drawn, args.rendered, lifter)
    kinds = [kind for kind in pictures if args.only in (None, kind.name)]
    if not kinds:
        raise SystemExit(f"--only {args.only}: there are {', '.join(kind.name for kind in pictures)}")
    learned = torch.cat([kind.image[~kind.held] for kind in kinds])
    mean, spread = learned.mean(0), learned.std(0).clamp(min=1e-4)
    head = load_head(args.lifter / "head.safetensors")
    train(head, kinds, mean, spread, args)
    if head.image is None:
        raise SystemExit("the head has no image layer")
    with torch.no_grad():
        # The standardisation becomes part of the layer.
        head.image.bias -= (head.image.weight * (mean / spread)).sum(1)
        head.image.weight /= spread
        for kind in pictures:
            which = kind.held if args.only in (None, kind.name) else torch.ones_like(kind.held)
            truth = kind.joints[which]
            for share in SHARES:
                pose, log_sigma = head(kind.features[which], kind.image[which], image_on=share)
                row = measures(pose, log_sigma, truth, torch.ones(pose.shape[:2]))
                digits = {"mpjpe": 1, "pa_mpjpe": 1, "within90": 3}
                shown = {k: round(row[k], d) for k, d in digits.items()}
                print(json.dumps({"frames": kind.name, "count": len(truth), "share": share, **shown}), flush=True)
        head.image.weight *= SHARE
        head.image.bias *= SHARE
    save_file({k: v.detach().contiguous() for k, v in head.state_dict().items()}, args.out)


if __name__ == "__main__":
    main()
