"""A window of method `sem` in PyTorch: 60 poses through the final layers, all losses, gradient; one thread.

`python benches/sem_torch.py models/lifter/head.safetensors models/dictionary/encoder.safetensors` prints the median of
processor milliseconds of a window, and of an Adam step, of which there is one for four windows. The peer of "a second
of sem, three windows" in `benches/adapt.rs`.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional

sys.path.insert(0, str(Path(__file__).parents[1] / "models" / "training" / "dictionary"))

from encoder import motion_input  # noqa: E402

FRAMES, RUNS = 60, 200
JOINTS = [1, 2, 3, 4, 5, 6, 11, 12, 13, 14, 15, 16]
"""Those that a keypoint sees."""


def encoder(path: str) -> Callable[[Tensor], Tensor]:
    """The motion encoder: joints [1,60,17,3] to an embedding of length 1."""
    with safe_open(path, "pt") as file:
        shape = json.loads(file.metadata()["poised"])["encoders"]["motion"]
        get = {k: file.get_tensor(k).float() for k in file.keys() if k.startswith("motion.")}  # noqa: SIM118
    layers = [
        (
            get[f"motion.conv{k}.weight"].permute(0, 2, 1).contiguous(),
            get[f"motion.conv{k}.bias"],
            c["stride"],
            c["pad"],
        )
        for k, c in enumerate(shape["convs"])
    ]

    def encode(joints: Tensor) -> Tensor:
        y = motion_input(joints).transpose(1, 2)
        for weight, bias, stride, pad in layers:
            y = functional.silu(functional.conv1d(y, weight, bias, stride, pad))
        y = y.mean(2) @ get["motion.linear0.weight"].T + get["motion.linear0.bias"]
        return functional.normalize(y, dim=-1)

    return encode


def project(joints: Tensor, rays: Tensor, weight: Tensor) -> Tensor:
    """Rays of the joints [60,12,3] with the root in closed form, differentiated."""
    total = weight.sum(1, keepdim=True)
    right = rays * joints[..., 2:] - joints[..., :2]
    mean = (weight[..., None] * rays).sum(1) / total
    offset = rays - mean[:, None]
    spread = (weight * offset.square().sum(-1)).sum(1)
    depth = -(weight * (offset * right).sum(-1)).sum(1) / spread
    root = (weight[..., None] * right).sum(1) / total + mean * depth[:, None]
    at = joints + torch.cat([root, depth[:, None]], 1)[:, None]
    return at[..., :2] / at[..., 2:].clamp(min=0.2)


def median_ms(run: Callable[[], object]) -> float:
    """Median of processor milliseconds after 20 runs."""
    taken = []
    for k in range(RUNS + 20):
        begun = time.process_time()
        run()
        if k >= 20:
            taken.append(1e3 * (time.process_time() - begun))
    return statistics.median(taken)


def main() -> None:
    torch.set_num_threads(1)
    tensors = load_file(sys.argv[1])
    names = ("lift.weight", "lift.bias", "joints.weight", "joints.bias")
    weights = [tensors[name].float().requires_grad_() for name in names]
    encode = encoder(sys.argv[2])
    features = torch.rand(FRAMES, 256)
    target = functional.normalize(torch.randn(384), dim=0)
    confidence = torch.full((FRAMES, 12), 0.8)
    rotation = torch.eye(3).expand(FRAMES, 3, 3)
    gap = torch.arange(FRAMES)[:, None] - torch.arange(FRAMES)
    average = torch.exp(-0.5 * (gap / 2.0).square()) * (gap.abs() <= 6)
    average = average / average.sum(1, keepdim=True)
    adam = torch.optim.Adam(weights, 2e-4, betas=(0.5, 0.9), fused=True)
    with torch.no_grad():
        hidden = torch.relu(functional.linear(features, weights[0], weights[1]))
        seen = functional.linear(hidden, weights[2], weights[3]).reshape(-1, 17, 3)[:, JOINTS]
        seen = seen + torch.tensor([0.0, 0.0, 3.0])
        rays = seen[..., :2] / seen[..., 2:] + 0.01 * torch.randn(FRAMES, 12, 2)

    def window() -> None:
        hidden = torch.relu(functional.linear(features, weights[0], weights[1]))
        joints = functional.linear(hidden, weights[2], weights[3]).reshape(-1, 17, 3)
        joints = joints - joints[:, :1]
        flat = (project(joints[:, JOINTS], rays, confidence) - rays).abs().sum((1, 2)) * (93.0 / 0.3 / 12)
        camera = torch.einsum("tji,tkj->tki", rotation, joints)
        smooth = (camera - torch.einsum("ts,ski->tki", average, camera.detach())).abs().mean() / 0.45
        loss = 0.1 * flat.mean() + 0.2 * (1 - (encode(camera[None]) * target).sum()) + smooth
        loss.backward()

    def step() -> None:
        adam.step()

    each = median_ms(window)
    whole = median_ms(step)
    print(f"{each:.3f} ms a window, {whole:.3f} ms a step, {each + whole / 4:.3f} ms a window with its share of a step")


if __name__ == "__main__":
    main()
