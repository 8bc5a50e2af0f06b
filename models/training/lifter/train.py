"""Train backbone and head on the ring of simulated windows.

`python train.py --pool DIR --backbone tcn-deep --out run.pt --minutes 40` stops by the clock
(`--cpu` counts this thread's processor time instead, so that networks compare fairly on a machine
that others use too). AdamW, cosine schedule, exponential moving average of the weights.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from evaluate import load_lifter
from model import Lifter, losses
from pool import Pool

LIKELIHOOD_WEIGHT = 0.01
"""Weight of the likelihood (order 1 to 5) beside the distance in metres (order 0.05)."""
WARM_UP_STEPS = 300
EMA_DECAY = 0.999


def loss_of(model: Lifter, frames: Tensor, truth: Tensor, half: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Return (total loss, distance, likelihood) of one batch; `half` runs the layers in bfloat16."""
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=half):
        pose, log_sigma = model(frames)
    distance, likelihood = losses(pose.float(), log_sigma.float(), truth)
    return distance + LIKELIHOOD_WEIGHT * likelihood, distance, likelihood


def main() -> None:
    """Train and save the averaged weights."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pool", type=Path, required=True)
    parser.add_argument("--backbone", default="tcn-deep")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, required=True)
    parser.add_argument("--cpu", action="store_true", help="count processor time, not wall time")
    parser.add_argument("--batch", type=int, default=1024)
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--float32", action="store_true", help="no bfloat16 arithmetic")
    parser.add_argument("--start", type=Path, help="checkpoint, or folder of a network that ships, to begin with")
    parser.add_argument("--limit", type=int, default=0, help="use only the ring's first windows")
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(args.seed)
    rng = np.random.default_rng(args.seed)
    pool = Pool(args.pool)
    model = Lifter(args.backbone)
    if args.start is not None:
        model.load_state_dict(load_lifter(args.start).state_dict())
    optimiser = torch.optim.AdamW(model.parameters(), args.rate, weight_decay=0.01, fused=True)
    average = {k: v.detach().clone() for k, v in model.state_dict().items()}
    clock = time.thread_time if args.cpu else time.monotonic
    start = clock()
    step = 0
    recent: list[tuple[float, float]] = []
    while True:
        done = (clock() - start) / (args.minutes * 60.0)
        if done >= 1.0:
            break
        rate = args.rate * min(1.0, (step + 1) / WARM_UP_STEPS)
        rate *= 0.5 * (1.0 + math.cos(math.pi * done)) + 1e-3
        for group in optimiser.param_groups:
            group["lr"] = rate
        frames, truth = (torch.from_numpy(a) for a in pool.sample(rng, args.batch, args.limit))
        total, distance, likelihood = loss_of(model, frames, truth, not args.float32)
        optimiser.zero_grad()
        total.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        step += 1
        if step % 5 == 0:
            keep = min(EMA_DECAY, step / (step + 20.0)) ** 5
            for name, value in model.state_dict().items():
                average[name].lerp_(value, 1.0 - keep)
        recent.append((distance.item(), likelihood.item()))
        if step % 500 == 0:
            mean = np.array(recent[-500:]).mean(0)
            line = {
                "step": step, "windows": step * args.batch, "made": int(pool.written[0]) * 4096,
                "minutes": round((clock() - start) / 60.0, 2), "mm": round(mean[0] * 1e3, 1),
                "likelihood": round(mean[1], 3),
            }  # fmt: skip
            print(json.dumps(line), flush=True)
        if step % 2000 == 0:
            torch.save({"backbone": args.backbone, "weights": average}, args.out)
    run = {"windows": step * args.batch, "minutes": args.minutes, "batch": args.batch, "seed": args.seed}
    torch.save({"backbone": args.backbone, "weights": average, "run": run}, args.out)
    print(json.dumps({"done": step, "windows": step * args.batch}), flush=True)


if __name__ == "__main__":
    main()
