"""The finder: a small letterboxed frame to boxes of people (anchor-free, one scale)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from net import Block, conv

SIZE, STRIDE = 256, 8
CELLS = SIZE // STRIDE


class Finder(nn.Module):
    """[N,3,256,256] RGB 0..1 -> score [N,1,32,32] logits, box [N,4,32,32] distances / 8 (left, top, right, bottom)."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(conv(3, 12, 2), conv(12, 24, 2), conv(24, 24))
        self.s8 = nn.Sequential(conv(24, 48, 2), Block(48))
        self.s16 = nn.Sequential(conv(48, 72, 2), Block(72))
        self.s32 = nn.Sequential(conv(72, 96, 2), Block(96))
        self.up16 = nn.ConvTranspose2d(96, 72, 2, 2)
        self.mix16 = conv(72, 72)
        self.up8 = nn.ConvTranspose2d(72, 48, 2, 2)
        self.mix8 = nn.Sequential(conv(48, 48), conv(48, 48))
        self.out = nn.Conv2d(48, 5, 1)
        if self.out.bias is not None:
            nn.init.constant_(self.out.bias, -2.0)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        s8 = self.s8(self.stem(image * 4.0 - 2.0))
        s16 = self.s16(s8)
        y = self.mix16(torch.relu(self.up16(self.s32(s16)) + s16))
        y = self.out(self.mix8(torch.relu(self.up8(y) + s8)))
        return y[:, :1], torch.exp(y[:, 1:].clamp(-4.0, 4.0) + 1.0)
