"""The person network: one crop to keypoints, what can be seen of them, a mask and features."""

from __future__ import annotations

import torch
from torch import Tensor, nn

KEYPOINTS = 17
FEATURES = 128
CELLS = 48 * 36
DEAD_SHARE = 0.1
"""A channel that is on in less than this share of crops was hardly trained."""


def conv(cin: int, cout: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(cin, cout, 3, stride, 1, bias=False), nn.BatchNorm2d(cout), nn.ReLU(inplace=True))


class Block(nn.Module):
    """Two 3x3 convolutions around a shortcut, both with the same dilation."""

    def __init__(self, c: int, dilation: int = 1) -> None:
        super().__init__()
        d = dilation
        first = nn.Conv2d(c, c, 3, 1, d, d, bias=False)
        self.a = nn.Sequential(first, nn.BatchNorm2d(c), nn.ReLU(inplace=True))
        self.b = nn.Sequential(nn.Conv2d(c, c, 3, 1, d, d, bias=False), nn.BatchNorm2d(c))

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(x + self.b(self.a(x)))


@torch.no_grad()
def nothing(block: Block) -> Block:
    """The block as the identity, to go on from weights without it."""
    if isinstance(block.b[1], nn.BatchNorm2d):
        block.b[1].weight.zero_()
    return block


def up(cin: int, cout: int) -> nn.Sequential:
    return nn.Sequential(nn.ConvTranspose2d(cin, cout, 2, 2, bias=False), nn.BatchNorm2d(cout))


class PersonNet(nn.Module):
    """[N,3,192,144] RGB 0..1 -> heatmaps [N,17,48,36], visible [N,17], features [N,128], mask [N,3,48,36].

    `c` are the channels at strides 2, 4, 8 and 16; `reach` is the dilation of a third block at stride 16, which lets a limb
    see the whole crop (0: no third block).
    """

    def __init__(self, c: tuple[int, int, int, int] = (16, 32, 72, 144), reach: int = 2) -> None:
        super().__init__()
        self.stem = nn.Sequential(conv(3, c[0], 2), conv(c[0], c[1], 2), Block(c[1]))
        self.s8 = nn.Sequential(conv(c[1], c[2], 2), Block(c[2]))
        blocks = [Block(c[3]), Block(c[3]), *([Block(c[3], reach)] if reach else [])]
        self.s16 = nn.Sequential(conv(c[2], c[3], 2), *blocks)
        self.context = nn.Sequential(nn.Linear(c[3], c[3]), nn.ReLU(), nn.Linear(c[3], c[3]))
        self.up8, self.mix8 = up(c[3], c[2]), conv(c[2], c[2])
        self.up4, self.mix4 = up(c[2], c[1]), conv(c[1], 48)
        self.out = nn.Conv2d(48, 2 * KEYPOINTS + 3, 1)
        self.squeeze = nn.Sequential(nn.Conv2d(c[3], 32, 1, bias=False), nn.BatchNorm2d(32), nn.ReLU())
        self.features = nn.Sequential(nn.Linear(32 * 12 * 9, FEATURES, bias=False), nn.BatchNorm1d(FEATURES))

    def last_map(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """The map [N,48,48,36] that keypoints and mask are read from, and the features."""
        x = image * 4.0 - 2.0
        s4 = self.stem(x)
        s8 = self.s8(s4)
        s16 = self.s16(s8)
        s16 = torch.relu(s16 + self.context(s16.mean((2, 3)))[:, :, None, None])
        features = self.features(self.squeeze(s16).reshape(-1, 32 * 12 * 9))
        y = self.mix8(torch.relu(self.up8(s16) + s8))
        return self.mix4(torch.relu(self.up4(y) + s4)), features

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        last, features = self.last_map(image)
        heat, visible, mask = self.read(last)
        return heat, visible, features, mask

    def read(self, last: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Heatmaps, visible and mask of the last map."""
        y = self.out(last)
        heat, seen, mask = y[:, :KEYPOINTS], y[:, KEYPOINTS : 2 * KEYPOINTS], y[:, 2 * KEYPOINTS :]
        # Whole numbers in these shapes keep Shape operators out of the exported graph.
        where = torch.softmax(heat.reshape(-1, KEYPOINTS, CELLS), -1)
        visible = (where * seen.reshape(-1, KEYPOINTS, CELLS)).sum(-1)
        return heat, visible, mask

    def add_nothing(self) -> None:
        """Makes the third block at stride 16 the identity, to go on from weights without it."""
        block = self.s16[-1]
        if isinstance(block, Block):
            nothing(block)

    @torch.no_grad()
    def revive(self, image: Tensor) -> int:
        """Restarts the channels before the features that hardly any image [N,3,192,144] switches on; returns how many.

        Weights behind a channel that is off are not trained. When an unusual crop switches the channel on after all,
        they make features a hundred times as large as usual. They are set to zero here, so that the function on usual
        crops stays the same, and the channel is centred, so that it takes part in training.
        """
        self.eval()
        s16 = self.s16(self.s8(self.stem(image * 4.0 - 2.0)))
        s16 = torch.relu(s16 + self.context(s16.mean((2, 3)))[:, :, None, None])
        on = (self.squeeze(s16) > 0).flatten(2).any(2).float().mean(0)
        dead = on < DEAD_SHARE
        norm, read = self.squeeze[1], self.features[0]
        if isinstance(norm, nn.BatchNorm2d) and isinstance(read, nn.Linear):
            norm.weight[dead] = 1.0
            norm.bias[dead] = 0.0
            read.weight.view(FEATURES, len(dead), -1)[:, dead] = 0.0
        return int(dead.sum())


class Depth(nn.Module):
    """Training only: features to the 17 joints in the rotated frame [N,17,3], metres from the pelvis."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(FEATURES, 256), nn.ReLU(), nn.Linear(256, 51))

    def forward(self, f: Tensor) -> Tensor:
        y = self.net(f).view(-1, 17, 3)
        return y - y[:, :1]


class Agreement(nn.Module):
    """Training only: the last map to a teacher's feature map [N,24,48,36], in standard deviations of its channels."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Conv2d(48, 24, 1)

    def forward(self, last: Tensor) -> Tensor:
        y: Tensor = self.net(last)
        return y
