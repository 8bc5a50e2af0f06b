"""HoT (CVPR 2024, arXiv 2311.12028), small and causal: an hourglass of tokens around the KTPFormer beside it.

After the first pair of blocks only every third step is kept, the newest among them (the uniform sampler of H2OT, which
needs neither sorting nor random numbers); the further pairs work on a third of the tokens. At the end a learned query
recovers the newest step from what is left by attention. The paper's queries recover every frame; a window has one
output here, so there is one.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from blocks import FEATURE, STEPS, attend
from ktpformer import Pair, PriorStem, to_keypoints, to_steps
from skeleton import JOINTS

KEEP = 3
"""One step of so many is kept."""
KEPT = STEPS // KEEP


class Recovery(nn.Module):
    """Learned query + attention of the query over the kept steps."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Parameter(torch.zeros(1, 1, width))
        self.ask = nn.Linear(width, width)
        self.norm = nn.LayerNorm(width)
        self.keys = nn.Linear(width, 2 * width)
        self.mix = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """[N,steps,width] -> [N,1,width]."""
        k, v = self.keys(self.norm(x)).split(x.shape[2], dim=2)
        # One query for every row: repeated by multiplication, since expand would become operators of its own.
        q = self.ask(self.query) * torch.ones(x.shape[0], 1, 1, dtype=x.dtype)
        out: Tensor = self.query + self.mix(attend(q, k, v, self.heads))
        return out


class Hot(nn.Module):
    """Prior stem on nine steps, further pairs on three, recovery of the newest, and the feature."""

    def __init__(self, width: int, pairs: int, heads: int) -> None:
        super().__init__()
        self.stem = PriorStem(width, heads, False)
        self.place = nn.Parameter(torch.zeros(KEPT, width))
        self.pairs = nn.ModuleList(Pair(width, heads) for _ in range(pairs - 1))
        self.recovery = Recovery(width, heads)
        self.norm_out = nn.LayerNorm(width)
        self.out = nn.Linear(JOINTS * width, FEATURE)

    def forward(self, frames: Tensor) -> Tensor:
        """frames [B,27,52] -> feature [B,256]."""
        x = self.stem(frames)[:, KEEP - 1 :: KEEP] + self.place
        for pair in self.pairs:
            assert isinstance(pair, Pair)
            x = pair.temporal(to_keypoints(pair.spatial(to_steps(x, KEPT)), KEPT))
        x = self.norm_out(self.recovery(x))
        out: Tensor = self.out(x.reshape(frames.shape[0], -1))
        return out
