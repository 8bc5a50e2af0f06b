"""Writes `denoiser.safetensors` and `golden_denoiser.safetensors`: `python export_denoiser.py --weights denoiser.pt --motion DIR --out ../../dictionary`.

The golden cases are windows of people who were held out, with errors: joints in metres, which frames are masked (1), the output, and
the gradient with respect to all weights, in the order of `src/motion/denoiser.rs`, of the sum of squares by which masked frames differ
from the input.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor

from denoiser import Denoiser, network_input, random_masks, shipped, write
from train_denoiser import draw, load_training, with_errors

CASES = 2


def golden(model: Denoiser, joints: Tensor, masked: Tensor) -> dict[str, Tensor]:
    """The cases of windows [N,60,17,3], metres, with masks bool [N,60]."""
    x, _, _ = network_input(joints)
    output = model(x * ~masked[..., None])
    gradients = []
    for case in range(len(x)):
        loss = ((output[case] - x[case]) ** 2)[masked[case]].sum()
        parts = torch.autograd.grad(loss, list(model.parameters()), retain_graph=True)
        gradients.append(torch.cat([part.flatten() for part in parts]))
    return {
        "denoiser.joints": joints, "denoiser.masked": masked.float(), "denoiser.output": output.detach(),
        "denoiser.gradient": torch.stack(gradients),
    }  # fmt: skip


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--weights", type=Path, required=True)
    p.add_argument("--motion", type=Path, required=True)
    p.add_argument("--out", type=Path, required=True)
    a = p.parse_args()
    torch.set_num_threads(1)
    trained = Denoiser()
    trained.load_state_dict(torch.load(a.weights, weights_only=True)["net"])
    write(trained, a.out / "denoiser.safetensors")
    rng = np.random.default_rng(5)
    joints = with_errors(draw(load_training(a.motion, "held_out"), CASES, rng), rng)
    masked = random_masks(CASES, torch.Generator().manual_seed(5))
    stored = golden(shipped(a.out / "denoiser.safetensors"), joints, masked)
    path = a.out / "golden_denoiser.safetensors"
    save_file({k: v.contiguous() for k, v in stored.items()}, path)
    path.chmod(0o644)
    print({k: tuple(v.shape) for k, v in stored.items()})


if __name__ == "__main__":
    main()
