"""Train what the image adds to the final layers, on recorded motion that was drawn and seen by the networks.

`python tune_image_layer.py --head head.safetensors --data drawn.safetensors --fused DIR --weights run.pt --out
head.safetensors` reads what `cargo run --example render_motion` writes (`features` f32 [N,256], `image` f32 [N,128],
`joints` f32 [N,17,3], `group` i64 [N]) and the windows of other renders that `train_image_branch.py` reads, half of
each batch from either. Only `image.weight` and `image.bias` change: without image features the head stays what it was,
to the bit.

The layer also learns what the keypoints of pictures have in common and simulated ones have not, for it is
there exactly where the keypoints come from pictures. Groups (clips) with group % 10 == 0 are held out.
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
from model import Head, losses
from train_image_branch import features_of, load_data

HELD_OUT_EVERY = 10
LIKELIHOOD_WEIGHT = 0.01
NORM_MAX = 2.0
"""Image features of a larger norm are left out, as the program does: of most crops it is 0.75 to 1.5, of a few per cent
tens to two hundred."""
SHAPE_WEIGHT = 1.5
"""Weight of the distance after the best similarity, beside that in place."""
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


def read(args: argparse.Namespace) -> list[Frames]:
    """The drawn motion, and the other renders with the backbone's features of their windows."""
    drawn = load_file(args.data)
    held = drawn["group"] % HELD_OUT_EVERY == 0
    kinds = [Frames("drawn motion", drawn["features"], drawn["image"], drawn["joints"], held)]
    if args.fused is not None:
        kp, image, joints, group = load_data(args.fused)
        features = features_of(load_lifter(args.weights), kp)
        kinds.append(Frames("other renders", features, image, joints, group % HELD_OUT_EVERY == 0))
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
    parser.add_argument("--head", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--fused", type=Path, help="folder of windows of other renders")
    parser.add_argument("--weights", type=Path, help="checkpoint whose backbone ships, for those windows")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--batch", type=int, default=1024)
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--decay", type=float, default=0.05)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(args.seed)
    kinds = read(args)
    learned = torch.cat([kind.image[~kind.held] for kind in kinds])
    mean, spread = learned.mean(0), learned.std(0).clamp(min=1e-4)
    before, head = load_head(args.head), load_head(args.head)
    train(head, kinds, mean, spread, args)
    if head.image is None:
        raise SystemExit("the head has no image layer")
    with torch.no_grad():
        # The standardisation becomes part of the layer.
        head.image.bias -= (head.image.weight * (mean / spread)).sum(1)
        head.image.weight /= spread
        for kind in kinds:
            for name, which, image_on in (
                ("without image features", before, 0.0),
                ("as it was", before, 1.0),
                ("trained", head, 1.0),
            ):
                truth = kind.joints[kind.held]
                pose, log_sigma = which(kind.features[kind.held], kind.image[kind.held], image_on=image_on)
                row = measures(pose, log_sigma, truth, torch.ones(pose.shape[:2]))
                digits = {"mpjpe": 1, "pa_mpjpe": 1, "within90": 3}
                shown = {k: round(row[k], d) for k, d in digits.items()}
                print(json.dumps({"frames": kind.name, "count": len(truth), "head": name, **shown}), flush=True)
    save_file({k: v.detach().contiguous() for k, v in head.state_dict().items()}, args.out)


if __name__ == "__main__":
    main()
