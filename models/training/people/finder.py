"""The finder: a small letterboxed frame to boxes of people (anchor-free, one scale)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from net import Block, conv, nothing

SIZE, STRIDE = 256, 8
CELLS = SIZE // STRIDE
DEEP = 160
"""Channels of the blocks at stride 32 that see the whole frame."""


class Deep(nn.Module):
    """What a map [N,c,h,w] gains from blocks of more channels, the middle one dilated; nothing before training."""

    def __init__(self, c: int, wide: int) -> None:
        super().__init__()
        widen = nn.Sequential(nn.Conv2d(c, wide, 1, bias=False), nn.BatchNorm2d(wide), nn.ReLU(inplace=True))
        self.norm = nn.BatchNorm2d(c)
        nn.init.zeros_(self.norm.weight)
        narrow = nn.Conv2d(wide, c, 1, bias=False)
        self.net = nn.Sequential(widen, Block(wide), Block(wide, 2), Block(wide), narrow, self.norm)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(x + self.net(x))


class Finder(nn.Module):
    """[N,3,256,256] RGB 0..1 -> score [N,1,32,32] logits, box [N,4,32,32] distances / 8 (left, top, right, bottom).

    `deep` are the channels of further blocks at stride 32, with which go two at stride 16 (0: the network before, without).
    """

    def __init__(self, deep: int = DEEP) -> None:
        super().__init__()
        self.stem = nn.Sequential(conv(3, 12, 2), conv(12, 24, 2), conv(24, 24))
        self.s8 = nn.Sequential(conv(24, 48, 2), Block(48))
        more = [nothing(Block(72)), nothing(Block(72))] if deep else []
        self.s16 = nn.Sequential(conv(48, 72, 2), Block(72), *more)
        self.s32 = nn.Sequential(conv(72, 96, 2), Block(96), *([Deep(96, deep)] if deep else []))
        self.up16 = nn.ConvTranspose2d(96, 72, 2, 2)
        self.mix16 = conv(72, 72)
        self.up8 = nn.ConvTranspose2d(72, 48, 2, 2)
        self.mix8 = nn.Sequential(conv(48, 48), conv(48, 48))
        self.out = nn.Conv2d(48, 5, 1)
        if self.out.bias is not None:
            nn.init.constant_(self.out.bias, -2.0)

    def maps(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The maps [N,96,8,8], [N,72,16,16] and [N,48,32,32] that lead to the output."""
        s8 = self.s8(self.stem(image * 4.0 - 2.0))
        s16 = self.s16(s8)
        s32 = self.s32(s16)
        y16 = self.mix16(torch.relu(self.up16(s32) + s16))
        return s32, y16, self.mix8(torch.relu(self.up8(y16) + s8))

    def read(self, last: Tensor) -> tuple[Tensor, Tensor]:
        """Score and box of the last of the maps."""
        y = self.out(last)
        return y[:, :1], torch.exp(y[:, 1:].clamp(-4.0, 4.0) + 1.0)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        return self.read(self.maps(image)[-1])


class FrameAgreement(nn.Module):
    """Training only: the finder's maps to a teacher's of as many cells, in standard deviations of its channels."""

    def __init__(self, channels: tuple[int, int, int]) -> None:
        """`channels` are those of the teacher's maps at strides 32, 16 and 8."""
        super().__init__()
        self.heads = nn.ModuleList(nn.Conv2d(c, t, 1) for c, t in zip((96, 72, 48), channels, strict=True))

    def forward(self, maps: tuple[Tensor, Tensor, Tensor]) -> list[Tensor]:
        return [head(m) for head, m in zip(self.heads, maps, strict=True)]
