"""ConvFormer (arXiv 2304.02147), small and causal: queries, keys and values are convolutions of several lengths.

Each of the three is a learned mixture of n convolutions. The mixture is linear, so it is one convolution with the
mixed weights: that is what is computed here, and after training the mixed weights are all that is kept. Spatial
blocks slide along the keypoints of a step. Temporal blocks have the steps as channels and slide along the values of
all keypoints, so each query has seen every step. Against the paper: steps of 0.1 s in place of frames, the newest as
the output, kernels of three lengths, and a smaller feed-forward layer, where most of its parameters are.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from blocks import FEATURE, STEPS, TOKEN, Foldable, Residual, attend, tokens_of
from skeleton import JOINTS

KERNELS = (3, 5, 7)
"""Lengths of the mixed convolutions."""
LONGEST = max(KERNELS)


class DynamicConv(Foldable):
    """Queries, keys and values [B,3*channels,L] of x [B,channels,L]: convolutions of all KERNELS, mixed.

    The shares of a mixture are a softmax of three learned numbers, apart for queries, keys and values.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.branches = nn.ModuleList(nn.Conv1d(channels, 3 * channels, k, padding=k // 2) for k in KERNELS)
        self.shares = nn.Parameter(torch.zeros(3, len(KERNELS)))
        self.channels = channels

    def mixed(self) -> tuple[Tensor, Tensor]:
        """Weights [3*channels,channels,7] and bias [3*channels] of the one convolution."""
        shares = torch.softmax(self.shares, dim=1).repeat_interleave(self.channels, dim=0)
        weight = torch.zeros((), dtype=shares.dtype)
        bias = torch.zeros((), dtype=shares.dtype)
        for i, branch in enumerate(self.branches):
            assert isinstance(branch, nn.Conv1d) and branch.bias is not None
            side = (LONGEST - branch.kernel_size[0]) // 2
            weight = weight + shares[:, i, None, None] * nn.functional.pad(branch.weight, (side, side))
            bias = bias + shares[:, i] * branch.bias
        return weight, bias

    def branch_by_branch(self, x: Tensor) -> Tensor:
        """The definition: every convolution apart, then the mixture."""
        shares = torch.softmax(self.shares, dim=1).repeat_interleave(self.channels, dim=0)
        out = torch.zeros((), dtype=x.dtype)
        for i, branch in enumerate(self.branches):
            out = out + shares[:, i, None] * branch(x)
        return out

    def forward(self, x: Tensor) -> Tensor:
        """[B,channels,L] -> [B,3*channels,L]."""
        weight, bias = self.mixed()
        return nn.functional.conv1d(x, weight, bias, padding=LONGEST // 2)

    def fold(self) -> nn.Module:
        """One convolution."""
        weight, bias = self.mixed()
        out = nn.Conv1d(self.channels, 3 * self.channels, LONGEST, padding=LONGEST // 2)
        out.weight = nn.Parameter(weight.detach())
        out.bias = nn.Parameter(bias.detach())
        return out


class ConvBlock(nn.Module):
    """Convolutional attention and a feed-forward layer, each pre-normalised and with residual.

    x [B,tokens,width]: the tokens are the channels (`temporal`), or the width is.
    """

    def __init__(self, tokens: int, width: int, heads: int, inner: int, temporal: bool) -> None:
        super().__init__()
        self.temporal = temporal
        self.channels = tokens if temporal else width
        self.heads = heads
        self.norm = nn.LayerNorm(width)
        self.conv = DynamicConv(self.channels)
        self.mix = Residual(width, inner)

    def forward(self, x: Tensor) -> Tensor:
        """[B,tokens,width] -> the same."""
        y = self.norm(x)
        if self.temporal:
            q, k, v = self.conv(y).split(self.channels, dim=1)
        else:
            q, k, v = self.conv(y.transpose(1, 2)).transpose(1, 2).split(self.channels, dim=2)
        out: Tensor = self.mix(x + attend(q, k, v, self.heads))
        return out


class ConvFormer(nn.Module):
    """Spatial blocks, temporal blocks, a convolution from all steps to one, and a linear layer to the feature."""

    def __init__(self, width: int, spatial: int, temporal: int, inner: int) -> None:
        super().__init__()
        wide = JOINTS * width
        self.embed = nn.Linear(TOKEN, width)
        self.place = nn.Parameter(torch.zeros(JOINTS, width))
        self.spatial = nn.ModuleList(ConvBlock(JOINTS, width, 4, 2 * width, False) for _ in range(spatial))
        self.time = nn.Parameter(torch.zeros(STEPS, wide))
        self.temporal = nn.ModuleList(ConvBlock(STEPS, wide, 8, inner, True) for _ in range(temporal))
        self.newest = nn.Conv1d(STEPS, 1, LONGEST, padding=LONGEST // 2)
        self.norm_out = nn.LayerNorm(wide)
        self.out = nn.Linear(wide, FEATURE)

    def forward(self, frames: Tensor) -> Tensor:
        """frames [B,27,52] -> feature [B,256]."""
        batch = frames.shape[0]
        x = self.embed(tokens_of(frames).reshape(batch * STEPS, JOINTS, TOKEN)) + self.place
        for block in self.spatial:
            x = block(x)
        x = x.reshape(batch, STEPS, -1) + self.time
        for block in self.temporal:
            x = block(x)
        x = x[:, STEPS - 1 :] + self.newest(x)
        out: Tensor = self.out(self.norm_out(x.reshape(batch, -1)))
        return out
