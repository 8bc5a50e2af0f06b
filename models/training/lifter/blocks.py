"""Parts that the backbones share: samples, tokens, residual layers, attention, and folding for export.

Shapes: B windows, 27 samples, 17 keypoints. A token is one keypoint over three samples (0.1 s): x/s, y/s and
confidence of each, and ln s, ten numbers. A window has nine tokens of each keypoint, newest last.
"""

from __future__ import annotations

import copy
import math
from typing import Any

import torch
from torch import Tensor, nn

from skeleton import JOINTS
from window import FRAMES

FEATURE = 256
"""Length of the backbone's feature."""
PER_FRAME = JOINTS * 3 + 1
"""Values of one sample: x/s, y/s and confidence of each keypoint, and ln s once."""
STEP = 3
"""Samples in a token."""
STEPS = FRAMES // STEP
"""Tokens of one keypoint."""
TOKEN = STEP * 3 + 1
"""Values of a token."""


def tokens_of(frames: Tensor) -> Tensor:
    """Turn samples [B,27,52] into tokens [B,9,17,10]."""
    batch = frames.shape[0]
    points = frames[:, :, : JOINTS * 3].reshape(batch, STEPS, STEP, JOINTS, 3)
    points = points.permute(0, 1, 3, 2, 4).reshape(batch, STEPS, JOINTS, STEP * 3)
    log_scale = frames[:, ::STEP, JOINTS * 3 :].reshape(batch, STEPS, 1, 1)
    # Not expand: it would become three operators in the exported graph.
    log_scale = torch.cat([log_scale] * JOINTS, dim=2)
    return torch.cat([points, log_scale], dim=3)


class Residual(nn.Module):
    """x + W2 relu(W1 norm(x)), pre-normalised."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.up = nn.Linear(width, inner)
        self.down = nn.Linear(inner, width)

    def forward(self, x: Tensor) -> Tensor:
        """[..., width] -> [..., width]."""
        out: Tensor = x + self.down(torch.relu(self.up(self.norm(x))))
        return out


def attend(q: Tensor, k: Tensor, v: Tensor, heads: int) -> Tensor:
    """Scaled dot-product attention of q [B,M,width] over k, v [B,L,width] -> [B,M,width]."""
    batch, length, width = k.shape
    asked = q.shape[1]
    size = width // heads
    q = q.reshape(batch, asked, heads, size).transpose(1, 2)
    k = k.reshape(batch, length, heads, size).permute(0, 2, 3, 1)
    v = v.reshape(batch, length, heads, size).transpose(1, 2)
    weights = torch.softmax(torch.matmul(q, k) / math.sqrt(size), dim=3)
    return torch.matmul(weights, v).transpose(1, 2).reshape(batch, asked, width)


class Attention(nn.Module):
    """Pre-normalised multi-head self-attention with residual."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.mix = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """[B,L,width] -> [B,L,width]."""
        q, k, v = self.qkv(self.norm(x)).split(x.shape[2], dim=2)
        out: Tensor = x + self.mix(attend(q, k, v, self.heads))
        return out

    def newest(self, x: Tensor) -> Tensor:
        """[B,L,width] -> [B,1,width], the last row of `forward` alone."""
        length, width = x.shape[1:]
        y, weight, bias = self.norm(x), self.qkv.weight, self.qkv.bias
        q = nn.functional.linear(y[:, length - 1 :], weight[:width], bias[:width])
        k, v = nn.functional.linear(y, weight[width:], bias[width:]).split(width, dim=2)
        out: Tensor = x[:, length - 1 :] + self.mix(attend(q, k, v, self.heads))
        return out


class ChannelNorm(nn.BatchNorm1d):
    """Batch normalisation of the last axis, without a counter of batches: weights are averaged during training."""

    num_batches_tracked: None  # type: ignore[assignment]

    def __init__(self, width: int) -> None:
        super().__init__(width, momentum=0.02)
        self.register_buffer("num_batches_tracked", None)

    def _load_from_state_dict(
        self, state_dict: Any, prefix: str, local_metadata: dict[str, Any], *more: Any, **others: Any
    ) -> None:
        # A checkpoint is a plain dictionary; without a version the counter would be taken for missing.
        super()._load_from_state_dict(state_dict, prefix, local_metadata | {"version": 2}, *more, **others)  # type: ignore[no-untyped-call]

    def forward(self, x: Tensor) -> Tensor:
        """[..., width] -> [..., width]."""
        return super().forward(x.reshape(-1, x.shape[-1])).reshape(x.shape)

    def scale_and_shift(self) -> tuple[Tensor, Tensor]:
        """What it multiplies by and what it adds [width] when it is not training."""
        assert self.running_mean is not None and self.running_var is not None
        scale = self.weight / torch.sqrt(self.running_var + self.eps)
        return scale.detach(), (self.bias - self.running_mean * scale).detach()

    def fold(self) -> nn.Module:
        """Return a multiplication and an addition."""
        return Affine(*self.scale_and_shift())


class Affine(nn.Module):
    """Scale and shift of the last axis."""

    scale: Tensor
    shift: Tensor

    def __init__(self, scale: Tensor, shift: Tensor) -> None:
        super().__init__()
        self.register_buffer("scale", scale)
        self.register_buffer("shift", shift)

    def forward(self, x: Tensor) -> Tensor:
        """[..., width] -> [..., width]."""
        return x * self.scale + self.shift


class Foldable(nn.Module):
    """A layer that becomes a smaller one with the same output when its weights no longer change."""

    def fold(self) -> nn.Module:
        """Return the smaller layer."""
        raise NotImplementedError


class NormalisedLinear(Foldable):
    """A linear layer and the normalisation of its output; one linear layer when folded."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.linear = nn.Linear(inputs, outputs, bias=False)
        self.norm = ChannelNorm(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """[..., inputs] -> [..., outputs]."""
        out: Tensor = self.norm(self.linear(x))
        return out

    def fold(self) -> nn.Module:
        """One linear layer."""
        scale, shift = self.norm.scale_and_shift()
        out = nn.Linear(self.linear.in_features, self.linear.out_features)
        out.weight = nn.Parameter(self.linear.weight.detach() * scale[:, None])
        out.bias = nn.Parameter(shift)
        return out


def folded(backbone: nn.Module) -> nn.Module:
    """Return a copy of `backbone`, for inference, in which every layer that folds has."""
    return _fold_in(copy.deepcopy(backbone).eval())


def _fold_in(module: nn.Module) -> nn.Module:
    if isinstance(module, (Foldable, ChannelNorm)):
        return module.fold().eval()
    for name, child in module.named_children():
        setattr(module, name, _fold_in(child))
    return module
