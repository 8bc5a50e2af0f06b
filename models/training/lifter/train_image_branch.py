"""Train the head with its image branch on rendered people, without losing the lifter's own path.

`python train_image_branch.py --motion DIR --weights run.pt --data DIR --out head.safetensors` reads
every `*.safetensors` in the data folder (made by ../people/fuse_features.py), each with
  kp    f32 [N,27,17,4]  input windows that end in the person network's own keypoints,
  g     f32 [N,128]      the person network's feature of the newest frame,
  truth f32 [N,17,3]     joints relative to joint 0 in the rotated camera frame, metres,
  group i64 [N]          neighbours that share a scene or a look.
Groups with group % 10 == 0 are held out.

The backbone stays. Two thirds of each batch are simulated windows with image_on = 0, as the backbone
was trained on, so that the head without image features stays what it was; the rest are
rendered people with both branches, or one of them at random. A control is trained in the same
way with image_on = 0 throughout: what "both" gains over it comes from pixels, the rest from the
renders' other idea of where joints are.
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from calibrate import calibrate
from evaluate import draw, load_lifter, measures
from model import Head, Lifter, frames_of, losses
from motion import load_training
from simulate import TRAINING

LIFT_DROP, IMAGE_DROP = 0.1, 0.2
"""Chances that one branch is off for a rendered person."""
HELD_OUT_EVERY = 10
RENDERED_BATCH, SIMULATED_BATCH = 384, 768
OLD_RATE = 0.1
"""Learning rate of the layers that the lifter alone uses, as a share of the image branch's."""
LIKELIHOOD_WEIGHT = 0.01


def load_data(folder: Path) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return (kp, g, truth, group) of all files in `folder`."""
    files = [load_file(path) for path in sorted(folder.glob("*.safetensors"))]
    if not files:
        raise SystemExit(f"{folder}: no *.safetensors with kp, g, truth, group")
    kp, g, truth, group = (torch.cat([f[k] for f in files]) for k in ("kp", "g", "truth", "group"))
    if kp.shape[1:] != (27, 17, 4) or g.shape[1:] != (128,) or truth.shape[1:] != (17, 3):
        raise SystemExit(
            f"{folder}: kp {tuple(kp.shape)}, g {tuple(g.shape)}, truth {tuple(truth.shape)}; "
            "expected [N,27,17,4], [N,128], [N,17,3]"
        )
    return kp, g.float(), truth, group


@torch.no_grad()
def features_of(model: Lifter, kp: Tensor) -> Tensor:
    """Return the backbone's features [N,256] of windows kp [N,27,17,4]."""
    return torch.cat([model.backbone(frames_of(kp[i : i + 1000])) for i in range(0, len(kp), 1000)])


def train_head(
    trained: Head,
    rendered: tuple[Tensor, Tensor, Tensor],
    simulated: tuple[Tensor, Tensor],
    steps: int,
    rate: float,
    with_image: bool,
) -> Head:
    """Return a head trained on (lifter feature, image feature, truth) and (lifter feature, truth)."""
    head = Head(with_image=True)
    head.load_state_dict(trained.state_dict(), strict=False)
    if head.image is None:
        raise SystemExit("the head has no image branch")
    torch.nn.init.zeros_(head.image.weight)
    torch.nn.init.zeros_(head.image.bias)
    old = [p for name, p in head.named_parameters() if not name.startswith("image.")]
    optimiser = torch.optim.AdamW(
        [{"params": list(head.image.parameters()), "share": 1.0}, {"params": old, "share": OLD_RATE}],
        rate,
        weight_decay=0.01,
    )
    no_image = torch.zeros(SIMULATED_BATCH, rendered[1].shape[1])
    for step in range(steps):
        for group in optimiser.param_groups:
            group["lr"] = rate * group["share"] * (0.5 * (1.0 + math.cos(math.pi * step / steps)) + 1e-3)
        a = torch.randint(len(rendered[0]), (RENDERED_BATCH,))
        b = torch.randint(len(simulated[0]), (SIMULATED_BATCH,))
        chance = torch.rand(RENDERED_BATCH, 1)
        lift_on = (chance >= LIFT_DROP).float() if with_image else torch.ones_like(chance)
        image_on = (chance < 1.0 - IMAGE_DROP).float() if with_image else torch.zeros_like(chance)
        pose, log_sigma = head(
            torch.cat([rendered[0][a], simulated[0][b]]),
            torch.cat([rendered[1][a], no_image]),
            lift_on=torch.cat([lift_on, torch.ones(SIMULATED_BATCH, 1)]),
            image_on=torch.cat([image_on, torch.zeros(SIMULATED_BATCH, 1)]),
        )
        distance, likelihood = losses(pose, log_sigma, torch.cat([rendered[2][a], simulated[1][b]]))
        optimiser.zero_grad()
        (distance + LIKELIHOOD_WEIGHT * likelihood).backward()
        optimiser.step()
    return head


def main() -> None:
    """Train, report with and without each branch on held-out groups, and write the head."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--motion", type=Path, required=True)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--simulated", type=int, default=50000)
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(args.seed)
    model = load_lifter(args.weights)
    kp, g, truth, group = load_data(args.data)
    feature = features_of(model, kp)
    held = group % HELD_OUT_EVERY == 0
    if not held.any() or held.all():
        raise SystemExit(f"{args.data}: groups {group.unique().tolist()[:20]} leave no held-out part")
    own_kp, own_truth, _ = draw(load_training(args.motion), TRAINING, args.simulated, args.seed + 100)
    simulated = (features_of(model, torch.from_numpy(own_kp)), torch.from_numpy(own_truth))

    # The features' numbers differ in size; learning sees them standardised, and the
    # standardisation is folded into the branch's weights at the end.
    mean, spread = g[~held].mean(0), g[~held].std(0).clamp(min=1e-4)
    rendered = (feature[~held], (g[~held] - mean) / spread, truth[~held])
    head = train_head(model.head, rendered, simulated, args.steps, args.rate, with_image=True)
    control = train_head(model.head, rendered, simulated, args.steps, args.rate, with_image=False)
    if head.image is None:
        raise SystemExit("the head has no image branch")
    with torch.no_grad():
        head.image.bias -= (head.image.weight * (mean / spread)).sum(1)
        head.image.weight /= spread
    before, model.head = model.head, head
    calibrate(model, load_training(args.motion, "held_out"), 3000)

    with torch.no_grad():
        f, q, t = feature[held], g[held], truth[held]
        everything = torch.ones(t.shape[:2])
        for name, which, lift_on, image_on in (
            ("head as it was", before, 1.0, 0.0),
            ("control: trained without image features", control, 1.0, 0.0),
            ("lift only", head, 1.0, 0.0),
            ("image only", head, 0.0, 1.0),
            ("both", head, 1.0, 1.0),
        ):
            pose, log_sigma = which(f, q, lift_on=lift_on, image_on=image_on)
            row = measures(pose, log_sigma, t, everything)
            digits = {"mpjpe": 1, "pa_mpjpe": 1, "within90": 3, "z2": 2}
            shown = {k: round(row[k], d) for k, d in digits.items()}
            print(json.dumps({"branches": name, "windows": len(t), **shown}), flush=True)
    save_file({k: v.detach().contiguous() for k, v in head.state_dict().items()}, args.out)


if __name__ == "__main__":
    main()
