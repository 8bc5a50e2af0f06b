"""Calibrate the predicted spread on people of the training sources that training never saw.

`python calibrate.py --motion DIR --weights run.pt` adds one number per joint to the bias of
ln sigma, so that 90 % of the errors fall inside 2.5 sigma on the held-out people, over equal
parts of the moderate and the training condition. Joint 0 has no error by definition: its sigma
is set to the smallest.
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path

import numpy as np
import torch

from arrays import Floats32
from evaluate import RADIUS_90, draw, load_lifter, predict
from model import SIGMA_MIN, Lifter
from motion import Motion, load_training
from simulate import MODERATE, TRAINING
from skeleton import H36M_NAMES


@torch.no_grad()
def calibrate(model: Lifter, motion: Motion, count: int) -> Floats32:
    """Shift ln sigma of `model`'s head in place, on `count` windows of each condition; return the factors [17]."""
    ratios = []
    for view, seed in ((MODERATE, 21), (TRAINING, 22)):
        kp, truth, _ = draw(motion, view, count, seed)
        pose, log_sigma = predict(model, kp)
        distance = (pose - torch.from_numpy(truth)).norm(dim=-1)
        ratios.append((distance / (RADIUS_90 * log_sigma.exp())).numpy())
    factor = np.quantile(np.concatenate(ratios), 0.9, axis=0).astype(np.float32)
    factor[0] = 1.0
    model.head.log_sigma.bias += torch.from_numpy(np.log(factor))
    model.head.log_sigma.weight[0] = 0.0
    model.head.log_sigma.bias[0] = math.log(SIGMA_MIN)
    return factor


def main() -> None:
    """Write the calibrated checkpoint over the old one, or to --out."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--motion", type=Path, required=True)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--count", type=int, default=6000)
    args = parser.parse_args()
    torch.set_num_threads(1)
    model = load_lifter(args.weights)
    factor = calibrate(model, load_training(args.motion, "held_out"), args.count)
    torch.save({"backbone": model.name, "weights": model.state_dict()}, args.out)
    print(json.dumps({n: round(float(f), 3) for n, f in zip(H36M_NAMES, factor, strict=True)}))


if __name__ == "__main__":
    main()
