"""GLA-GCN (ICCV 2023, arXiv 2307.05853), small and causal: the skeleton stays a graph to the last layer.

Adaptive graph layers (a known graph, a learned one and one that the window itself makes) with strided convolutions
over time between them, 9-3-1 steps; of every three steps the newest is the residual. Then each keypoint has linear
layers of its own. Against the paper: steps of 0.1 s in place of frames, one graph layer per stride in place of two, a
temporal kernel as long as its stride, and fifteen features of each keypoint in place of its place: the head that all
lifters share makes the pose.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from blocks import FEATURE, STEPS, TOKEN, ChannelNorm, Foldable, NormalisedLinear, tokens_of
from skeleton import COCO_EDGES, COCO_LEVEL, JOINTS

SUBSETS = 3
"""Graphs of a layer: a keypoint itself, towards the middle of the body, away from it."""
LOCAL = 15
"""Features of each keypoint: 17 * 15 and ln s are the 256."""
START = 1e-6


def subset_graphs() -> Tensor:
    """Known graphs [3,17,17], rows that sum to one or zero: identity, inward, outward (level edges are in both)."""
    graphs = torch.zeros(SUBSETS, JOINTS, JOINTS)
    graphs[0] = torch.eye(JOINTS)
    for inner, outer in (*COCO_EDGES, *((b, a) for a, b in COCO_LEVEL)):
        graphs[1, outer, inner] = graphs[2, inner, outer] = 1.0
    return graphs / graphs.sum(2, keepdim=True).clamp(min=1.0)


class AdaptiveGraph(nn.Module):
    """y = relu(norm(sum_k W_k (A_k + B_k + C_k) x) + skip(x)); C_k is made by the window from all its steps."""

    known: Tensor

    def __init__(self, steps: int, inputs: int, outputs: int, inner: int) -> None:
        super().__init__()
        self.register_buffer("known", subset_graphs())
        self.learned = nn.Parameter(torch.full((SUBSETS, JOINTS, JOINTS), START))
        self.ask = nn.Linear(inputs, 2 * SUBSETS * inner)
        self.mix = NormalisedLinear(SUBSETS * inputs, outputs)
        self.skip = nn.Identity() if inputs == outputs else NormalisedLinear(inputs, outputs)
        self.steps, self.inner = steps, inner

    def graphs(self, x: Tensor) -> Tensor:
        """Graphs [B,3,17,17] of x [B,17,steps,inputs]."""
        batch = x.shape[0]
        asked = self.ask(x).reshape(batch, JOINTS, self.steps, 2 * SUBSETS, self.inner)
        asked = asked.permute(0, 3, 1, 2, 4).reshape(batch, 2 * SUBSETS, JOINTS, self.steps * self.inner)
        q, k = asked.split(SUBSETS, dim=1)
        alike = torch.matmul(q, k.transpose(2, 3)) / math.sqrt(self.steps * self.inner)
        return self.known + self.learned + torch.softmax(alike, dim=3)

    def forward(self, x: Tensor) -> Tensor:
        """[B,17,steps,inputs] -> [B,17,steps,outputs]."""
        batch, _, steps, inputs = x.shape
        graphs = self.graphs(x)
        flat = x.reshape(batch, 1, JOINTS, steps * inputs)
        moved = torch.matmul(graphs, flat).reshape(batch, SUBSETS, JOINTS, steps, inputs)
        moved = moved.permute(0, 2, 3, 1, 4).reshape(batch, JOINTS, steps, SUBSETS * inputs)
        out: Tensor = torch.relu(self.mix(moved) + self.skip(x))
        return out


class Strided(nn.Module):
    """A graph layer, then three steps to one: relu(norm(conv(x))) + the newest of the three."""

    def __init__(self, steps: int, width: int, inner: int) -> None:
        super().__init__()
        self.graph = AdaptiveGraph(steps, width, width, inner)
        self.conv = NormalisedLinear(3 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """[B,17,steps,width] -> [B,17,steps/3,width]."""
        batch, joints, steps, width = x.shape
        y = self.graph(x)
        y = torch.relu(self.conv(y.reshape(batch, joints, steps // 3, 3 * width)))
        return y + x[:, :, 2::3]


class PerJoint(Foldable):
    """Features of each keypoint by weights of its own plus shared ones; one matrix per keypoint when folded."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.own = nn.Parameter(torch.randn(JOINTS, width, LOCAL) / math.sqrt(2 * width))
        self.bias = nn.Parameter(torch.zeros(JOINTS, 1, LOCAL))
        self.shared = nn.Parameter(torch.randn(width, LOCAL) / math.sqrt(2 * width))

    def forward(self, x: Tensor) -> Tensor:
        """[B,17,1,width] -> [B,17,1,15]."""
        return torch.matmul(x, self.own + self.shared) + self.bias

    def fold(self) -> nn.Module:
        """The sum of both."""
        return FoldedPerJoint((self.own + self.shared).detach(), self.bias.detach())


class FoldedPerJoint(nn.Module):
    """x W_j + b_j for keypoint j."""

    weight: Tensor
    bias: Tensor

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        super().__init__()
        self.register_buffer("weight", weight)
        self.register_buffer("bias", bias)

    def forward(self, x: Tensor) -> Tensor:
        """[B,17,1,width] -> [B,17,1,15]."""
        return torch.matmul(x, self.weight) + self.bias


class GlaGcn(nn.Module):
    """Adaptive graph layers over 9, 9, 3 and 1 steps, then each keypoint's own layer."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.norm_in = ChannelNorm(TOKEN)
        self.first = AdaptiveGraph(STEPS, TOKEN, width, inner)
        self.strided = nn.ModuleList([Strided(STEPS, width, inner), Strided(STEPS // 3, width, inner)])
        self.last = AdaptiveGraph(1, width, width, inner)
        self.local = PerJoint(width)

    def forward(self, frames: Tensor) -> Tensor:
        """frames [B,27,52] -> feature [B,256]: 15 of each keypoint, and ln s."""
        batch = frames.shape[0]
        x = self.first(self.norm_in(tokens_of(frames).transpose(1, 2)))
        for stage in self.strided:
            x = stage(x)
        x = self.local(self.last(x)).reshape(batch, FEATURE - 1)
        log_scale = frames[:, :1, JOINTS * 3 :].reshape(batch, 1)
        return torch.cat([x, log_scale], dim=1)
