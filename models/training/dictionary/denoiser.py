"""The motion denoiser of CycleAdapt (ICCV 2023) on joints: two seconds of poses, some of them masked, to the same poses without noise.

    [B,60,51] -> Linear over channels -> 4 times x + LayerNorm over channels(Linear over time) -> Linear over channels -> [B,60,51]

There is no other nonlinearity and no positional code. The input is 60 frames at 30 Hz of 17 joints relative to joint 0, in the body
frame of the window and in torso lengths (`body_frame` of encoder.py); masked frames are 0. `src/motion/denoiser.rs` runs it forward
and backward, `src/adapt/cycle.rs` adapts it on the device.
"""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from encoder import STEPS, body_frame

CHANNELS = 51
"""Coordinates of 17 joints."""
BLOCKS = 4
MASKED = 31
"""Masked frames of a window: the share of the paper, 25 of 49."""
CENTRE = STEPS // 2
"""The frame that is always masked."""
NEAR_ZERO = 1e-8
"""Gain of the layers over time and of the last layer at the start, as in the paper's code: the network begins as a mean."""


class Block(nn.Module):
    """x + LayerNorm over channels(Linear over time)."""

    def __init__(self) -> None:
        super().__init__()
        self.time = nn.Linear(STEPS, STEPS)
        self.norm = nn.LayerNorm(CHANNELS)
        nn.init.xavier_uniform_(self.time.weight, NEAR_ZERO)
        nn.init.zeros_(self.time.bias)

    def forward(self, x: Tensor) -> Tensor:
        mixed: Tensor = self.norm(self.time.weight @ x + self.time.bias[:, None])
        return x + mixed


class Denoiser(nn.Module):
    """[B,60,51] -> [B,60,51]: body frame, torso lengths."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(CHANNELS, CHANNELS)
        self.blocks = nn.ModuleList(Block() for _ in range(BLOCKS))
        self.outer = nn.Linear(CHANNELS, CHANNELS)
        nn.init.xavier_uniform_(self.outer.weight, NEAR_ZERO)
        nn.init.zeros_(self.outer.bias)

    def forward(self, x: Tensor) -> Tensor:
        x = self.inner(x)
        for block in self.blocks:
            x = block(x)
        out: Tensor = self.outer(x)
        return out


def tensors_of(model: Denoiser) -> dict[str, Tensor]:
    """The weights as they are stored: half precision, names as in `denoiser.rs`."""
    state = model.state_dict()
    return {f"denoiser.{name}": value.detach().half().contiguous() for name, value in state.items()}


def write(model: Denoiser, path: Path) -> None:
    """Writes `denoiser.safetensors`."""
    save_file(tensors_of(model), path)
    path.chmod(0o644)


def shipped(path: Path) -> Denoiser:
    """The network of a `denoiser.safetensors`."""
    model = Denoiser()
    model.load_state_dict({k.removeprefix("denoiser."): v.float() for k, v in load_file(path).items()})
    return model.eval()


def random_masks(count: int, generator: torch.Generator) -> Tensor:
    """Which frames are masked, bool [count,60]: the centre and random others."""
    order = torch.rand(count, STEPS, generator=generator)
    order[:, CENTRE] = -1.0
    masked = torch.zeros(count, STEPS, dtype=torch.bool)
    return masked.scatter(1, order.argsort(1)[:, :MASKED], True)


def entered(joints: Tensor, rotation: Tensor, torso: Tensor) -> Tensor:
    """Joints [B,60,17,3], metres, relative to joint 0 -> [B,60,51]: in the given frames, torso lengths."""
    return (torch.einsum("btjc,bac->btja", joints, rotation) / torso[:, None, None, None]).flatten(2)


def network_input(joints: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Joints [B,60,17,3], metres -> [B,60,51], the rotation [B,3,3] and torso length [B] of each window."""
    relative = joints - joints[:, :, :1]
    rotation, torso = body_frame(relative)
    return entered(relative, rotation, torso), rotation, torso
