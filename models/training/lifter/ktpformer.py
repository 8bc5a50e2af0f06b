"""KTPFormer (CVPR 2024, arXiv 2404.00658), small and causal: attention over what graph layers know already.

The first spatial attention sees the output of a graph layer over the skeleton, the first temporal one that of two
over the chain of steps. Both graphs begin with the known edges and learn others. Against the paper: tokens of 0.1 s in
place of single frames, one output (the newest step) in place of all, one or two pairs of blocks in place of eight.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from blocks import FEATURE, STEPS, TOKEN, Attention, ChannelNorm, Foldable, Residual, tokens_of
from skeleton import COCO_EDGES, JOINTS

START = 1e-6
"""Every learned edge at the start."""


def edges_graph(nodes: int, edges: tuple[tuple[int, int], ...]) -> Tensor:
    """Undirected graph [nodes,nodes], rows divided by the degree, ones on the diagonal."""
    graph = torch.zeros(nodes, nodes)
    for a, b in edges:
        graph[a, b] = graph[b, a] = 1.0
    graph = graph / graph.sum(1, keepdim=True).clamp(min=1.0)
    graph.fill_diagonal_(1.0)
    return graph


def chain(length: int) -> tuple[tuple[int, int], ...]:
    """Edges of a step to the one after it."""
    return tuple((t, t + 1) for t in range(length - 1))


class Prior(Foldable):
    """Graph layer with a known graph A and a learned one B: relu(norm(D (M . x W0) + O (M . x W1) + b)).

    G = sym(A + B), D its diagonal, O the rest, M [nodes,outputs] a gate, W0 for a node itself and W1 for the others.
    """

    graph: Tensor

    def __init__(self, graph: Tensor, inputs: int, outputs: int) -> None:
        super().__init__()
        nodes = len(graph)
        self.register_buffer("graph", graph)
        self.learned = nn.Parameter(torch.full((nodes, nodes), START))
        self.gate = nn.Parameter(torch.ones(nodes, outputs))
        self.both = nn.Linear(inputs, 2 * outputs, bias=False)
        self.norm = ChannelNorm(outputs)

    def parts(self) -> tuple[Tensor, Tensor]:
        """Diagonal [nodes,1] and the rest [nodes,nodes] of the graph."""
        graph = self.graph + self.learned
        graph = 0.5 * (graph + graph.T)
        diagonal = torch.diagonal(graph)
        return diagonal[:, None], graph - torch.diag(diagonal)

    def forward(self, x: Tensor) -> Tensor:
        """[B,nodes,inputs] -> [B,nodes,outputs]; the bias is the normalisation's own."""
        own, others = self.parts()
        a, b = self.both(x).chunk(2, dim=2)
        out: Tensor = torch.relu(self.norm(own * self.gate * a + torch.matmul(others, self.gate * b)))
        return out

    def fold(self) -> nn.Module:
        """Graph, gate and normalisation as constants."""
        own, others = self.parts()
        return FoldedPrior(own, others, self.gate, self.both.weight, self.norm)


class FoldedPrior(nn.Module):
    """relu(S . x W0 + O (M . x W1) + b), with the normalisation's scale in S and in W1 and its shift as b."""

    own: Tensor
    others: Tensor
    gate: Tensor
    shift: Tensor

    def __init__(self, own: Tensor, others: Tensor, gate: Tensor, weight: Tensor, norm: ChannelNorm) -> None:
        super().__init__()
        scale, shift = norm.scale_and_shift()
        outputs = len(scale)
        self.both = nn.Linear(weight.shape[1], 2 * outputs, bias=False)
        # The scale acts on channels and the graph on nodes, so the two change places freely.
        self.both.weight = nn.Parameter((weight * torch.cat([scale, scale])[:, None]).detach())
        self.register_buffer("own", (own * gate).detach())
        self.register_buffer("gate", gate.detach().clone())
        self.register_buffer("others", others.detach().clone())
        self.register_buffer("shift", shift)
        self.outputs = outputs

    def forward(self, x: Tensor) -> Tensor:
        """[B,nodes,inputs] -> [B,nodes,outputs]."""
        a, b = self.both(x).split(self.outputs, dim=2)
        return torch.relu(self.own * a + torch.matmul(self.others, self.gate * b) + self.shift)


class Pair(nn.Module):
    """A spatial block over the 17 keypoints of a step, then a temporal one over the steps of a keypoint."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.across = Attention(width, heads)
        self.across_mix = Residual(width, 2 * width)
        self.along = Attention(width, heads)
        self.along_mix = Residual(width, 2 * width)

    def spatial(self, x: Tensor) -> Tensor:
        """[B*steps,17,width] -> the same."""
        out: Tensor = self.across_mix(self.across(x))
        return out

    def temporal(self, x: Tensor) -> Tensor:
        """[B*17,steps,width] -> the same."""
        out: Tensor = self.along_mix(self.along(x))
        return out

    def newest(self, x: Tensor) -> Tensor:
        """[B*17,steps,width] -> [B*17,1,width], the newest step of `temporal` alone."""
        out: Tensor = self.along_mix(self.along.newest(x))
        return out


def to_keypoints(x: Tensor, steps: int) -> Tensor:
    """Rows of steps [B*steps,17,width] -> rows of keypoints [B*17,steps,width]."""
    width = x.shape[2]
    return x.reshape(-1, steps, JOINTS, width).transpose(1, 2).reshape(-1, steps, width)


def to_steps(x: Tensor, steps: int) -> Tensor:
    """Rows of keypoints [B*17,steps,width] -> rows of steps [B*steps,17,width]."""
    width = x.shape[2]
    return x.reshape(-1, JOINTS, steps, width).transpose(1, 2).reshape(-1, JOINTS, width)


class PriorStem(nn.Module):
    """Both priors and the first pair of blocks; `last`: nothing asks for older steps than the newest."""

    def __init__(self, width: int, heads: int, last: bool) -> None:
        super().__init__()
        self.last = last
        self.kinematic = Prior(edges_graph(JOINTS, COCO_EDGES), TOKEN, width)
        self.place = nn.Parameter(torch.zeros(JOINTS, width))
        steps = edges_graph(STEPS, chain(STEPS))
        self.trajectory = nn.ModuleList(Prior(steps, width, width) for _ in range(2))
        self.time = nn.Parameter(torch.zeros(STEPS, width))
        self.pair = Pair(width, heads)

    def forward(self, frames: Tensor) -> Tensor:
        """frames [B,27,52] -> rows of keypoints [B*17,9,width], or [B*17,1,width] of the newest step."""
        x = self.kinematic(tokens_of(frames).reshape(-1, JOINTS, TOKEN)) + self.place
        x = to_keypoints(self.pair.spatial(x), STEPS)
        known = x
        for prior in self.trajectory:
            known = prior(known)
        x = x + known + self.time
        return self.pair.newest(x) if self.last else self.pair.temporal(x)


class KtpFormer(nn.Module):
    """Prior stem, further pairs of blocks, and the newest step of every keypoint to the feature."""

    def __init__(self, width: int, pairs: int, heads: int) -> None:
        super().__init__()
        self.stem = PriorStem(width, heads, pairs == 1)
        self.pairs = nn.ModuleList(Pair(width, heads) for _ in range(pairs - 1))
        self.norm_out = nn.LayerNorm(width)
        self.out = nn.Linear(JOINTS * width, FEATURE)

    def forward(self, frames: Tensor) -> Tensor:
        """frames [B,27,52] -> feature [B,256]."""
        x = self.stem(frames)
        for at, pair in enumerate(self.pairs):
            assert isinstance(pair, Pair)
            x = to_keypoints(pair.spatial(to_steps(x, STEPS)), STEPS)
            x = pair.newest(x) if at == len(self.pairs) - 1 else pair.temporal(x)
        out: Tensor = self.out(self.norm_out(x).reshape(frames.shape[0], -1))
        return out
