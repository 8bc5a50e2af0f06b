"""Train the head's image branch on rendered people; the lifter's own path stays as it is.

`python train_image_branch.py --weights run.pt --data DIR --out head.safetensors` reads every
`*.safetensors` in DIR, each with
  kp    f32 [N,27,17,4]  input windows from the person network's own keypoints,
  g     f32 [N,128]      the person network's feature of the newest frame,
  truth f32 [N,17,3]     joints relative to joint 0 in the rotated camera frame, metres,
  group i64 [N]          clip or person; a window's neighbours share its group.
Groups with group % 10 == 0 are held out.

hidden = relu(lift_on * lift(f) + image_on * image(g)): only image.* is trained, so that with
image_on = 0 the head gives exactly what it gave before. The lift branch is dropped at random in
training, so that image features alone give a usable pose as well.
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from evaluate import load_lifter, measures
from model import Head, frames_of, losses

LIFT_DROP = 0.15
"""Chance that the lift branch is off in a training sample."""
HELD_OUT_EVERY = 10


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


def main() -> None:
    """Train, report with and without each branch on held-out groups, and write the head."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(args.seed)
    model = load_lifter(args.weights)
    kp, g, truth, group = load_data(args.data)
    with torch.no_grad():
        parts = [model.backbone(frames_of(kp[i : i + 1000])) for i in range(0, len(kp), 1000)]
    feature = torch.cat(parts)
    held = group % HELD_OUT_EVERY == 0
    if not held.any() or held.all():
        raise SystemExit(f"{args.data}: groups {group.unique().tolist()[:20]} leave no held-out part")

    head = Head(with_image=True)
    head.load_state_dict(model.head.state_dict(), strict=False)
    image = head.image
    if image is None:
        raise SystemExit("the head has no image branch")
    # The first features differ in size by the dozen; learning sees them standardised, and the
    # standardisation is folded into the branch's weights at the end.
    mean, spread = g[~held].mean(0), g[~held].std(0).clamp(min=1e-4)
    normal = (g - mean) / spread
    torch.nn.init.zeros_(image.weight)
    torch.nn.init.zeros_(image.bias)
    optimiser = torch.optim.AdamW(image.parameters(), args.rate, weight_decay=0.05)
    rows = torch.nonzero(~held)[:, 0]
    batch = 512
    steps = args.epochs * math.ceil(len(rows) / batch)
    for step in range(steps):
        for group_ in optimiser.param_groups:
            group_["lr"] = args.rate * (0.5 * (1.0 + math.cos(math.pi * step / steps)) + 1e-3)
        pick = rows[torch.randint(len(rows), (batch,))]
        lift_on = (torch.rand(batch, 1) >= LIFT_DROP).float()
        pose, log_sigma = head(feature[pick], normal[pick], lift_on=lift_on)
        distance, likelihood = losses(pose, log_sigma, truth[pick])
        optimiser.zero_grad()
        (distance + 0.01 * likelihood).backward()
        optimiser.step()

    with torch.no_grad():
        image.bias -= (image.weight * (mean / spread)).sum(1)
        image.weight /= spread
        f, q, t = feature[held], g[held], truth[held]
        everything = torch.ones(t.shape[:2])
        for name, lift_on_, image_on in (("lift only", 1.0, 0.0), ("image only", 0.0, 1.0), ("both", 1.0, 1.0)):
            pose, log_sigma = head(f, q, lift_on=lift_on_, image_on=image_on)
            row = measures(pose, log_sigma, t, everything)
            digits = {"mpjpe": 1, "pa_mpjpe": 1, "within90": 3, "z2": 2}
            shown = {k: round(row[k], d) for k, d in digits.items()}
            print(json.dumps({"branches": name, "windows": len(t), **shown}), flush=True)
    save_file({k: v.detach().contiguous() for k, v in head.state_dict().items()}, args.out)


if __name__ == "__main__":
    main()
