"""The step of `benches/adapt.rs` in PyTorch: 32 samples through the final layers, gradient, Adam, on one thread.

`python benches/adapt_torch.py models/lifter/head.safetensors` prints the median of processor milliseconds of a step.
"""

from __future__ import annotations

import statistics
import sys
import time

import torch
from safetensors.torch import load_file

BATCH, STEPS, PULL = 32, 300, 1e-2


def main() -> None:
    torch.set_num_threads(1)
    tensors = load_file(sys.argv[1])
    names = ("lift.weight", "lift.bias", "joints.weight", "joints.bias")
    factory = [tensors[name].float() for name in names]
    weights = [tensor.clone().requires_grad_() for tensor in factory]
    features, truth = torch.randn(BATCH, 256), torch.randn(BATCH, 17, 3)
    adam = torch.optim.Adam(weights, 3e-4, betas=(0.9, 0.99), fused=True)
    times = []
    for _ in range(STEPS):
        begun = time.process_time()
        hidden = torch.relu(torch.nn.functional.linear(features, weights[0], weights[1]))
        joints = torch.nn.functional.linear(hidden, weights[2], weights[3]).reshape(-1, 17, 3)
        loss = (joints - joints[:, :1] - truth).norm(dim=-1).mean()
        loss = loss + PULL * sum((w - f).pow(2).sum() for w, f in zip(weights, factory, strict=True))
        adam.zero_grad()
        loss.backward()
        adam.step()
        times.append(time.process_time() - begun)
    print(f"{1e3 * statistics.median(times):.3f} ms a step")


if __name__ == "__main__":
    main()
