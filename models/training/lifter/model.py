"""Networks of the lifter: causal backbones (window -> feature) and the head (feature -> pose).

Shapes: B windows, 27 samples, 17 keypoints. Poses are in metres, relative to joint 0, in the
rotated camera frame of the window.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from blocks import FEATURE, PER_FRAME, Attention, Residual
from convformer import ConvFormer
from gla_gcn import GlaGcn
from hot import Hot
from ktpformer import KtpFormer
from skeleton import JOINTS
from window import FRAMES

IMAGE_FEATURE = 128
"""Length of the person network's feature."""
SIGMA_MIN, SIGMA_MAX = 0.005, 1.0
"""Bounds of the predicted standard deviation in metres."""


def frames_of(kp: Tensor) -> Tensor:
    """Turn kp [B,27,17,4] into samples [B,27,52]; ln s is the same at every keypoint, so kept once."""
    batch = kp.shape[0]
    points = kp[:, :, :, :3].reshape(batch, FRAMES, JOINTS * 3)
    return torch.cat([points, kp[:, :, :1, 3:].reshape(batch, FRAMES, 1)], dim=2)


class StridedTcn(nn.Module):
    """Strided temporal convolution 27-9-3-1, `width` channels, newest sample carried forward.

    The strided convolution of GLA-GCN and VideoPose3D with causal alignment: of every three
    steps the newest is the one that is kept as residual. `deep` adds residual blocks on the last
    step, where a unit of arithmetic buys most, since it runs once and not 27 times.
    """

    def __init__(self, width: int, deep: int) -> None:
        super().__init__()
        self.first = nn.Linear(3 * PER_FRAME, width)
        self.norm_a = nn.LayerNorm(width)
        self.a1 = nn.Linear(3 * width, width)
        self.a2 = nn.Linear(width, width)
        self.norm_b = nn.LayerNorm(width)
        self.b1 = nn.Linear(3 * width, width)
        self.b2 = nn.Linear(width, width)
        self.newest = nn.Linear(PER_FRAME, width)
        self.deep = nn.ModuleList(Residual(width, 2 * width) for _ in range(deep))
        self.norm_out = nn.LayerNorm(width)
        self.out = nn.Identity() if width == FEATURE else nn.Linear(width, FEATURE)

    def forward(self, frames: Tensor) -> Tensor:
        """frames [B,27,52] -> feature [B,256]."""
        batch = frames.shape[0]
        x = torch.relu(self.first(frames.reshape(batch, 9, 3 * PER_FRAME)))
        kept = x[:, 2::3]
        x = torch.relu(self.a1(self.norm_a(x).reshape(batch, 3, -1)))
        x = kept + torch.relu(self.a2(x))
        # Slices, not x[:, 2]: an index would become a Gather in the exported graph.
        kept = x[:, 2:].reshape(batch, -1)
        x = torch.relu(self.b1(self.norm_b(x).reshape(batch, -1)))
        x = kept + torch.relu(self.b2(x)) + self.newest(frames[:, FRAMES - 1 :].reshape(batch, -1))
        for block in self.deep:
            x = block(x)
        out: Tensor = self.out(self.norm_out(x))
        return out


class FrameTransformer(nn.Module):
    """Transformer over nine tokens of three samples each; the newest token is the feature."""

    def __init__(self, width: int, layers: int, heads: int = 6) -> None:
        super().__init__()
        self.first = nn.Linear(3 * PER_FRAME, width)
        self.place = nn.Parameter(torch.zeros(1, FRAMES // 3, width))
        self.attention = nn.ModuleList(Attention(width, heads) for _ in range(layers))
        self.mixing = nn.ModuleList(Residual(width, 2 * width) for _ in range(layers))
        self.norm_out = nn.LayerNorm(width)
        self.out = nn.Linear(width, FEATURE)

    def forward(self, frames: Tensor) -> Tensor:
        """frames [B,27,52] -> feature [B,256]."""
        batch = frames.shape[0]
        x = self.first(frames.reshape(batch, FRAMES // 3, 3 * PER_FRAME)) + self.place
        for attention, mixing in zip(self.attention, self.mixing, strict=True):
            x = mixing(attention(x))
        out: Tensor = self.out(self.norm_out(x[:, FRAMES // 3 - 1 :].reshape(batch, -1)))
        return out


BACKBONES: dict[str, Callable[[], nn.Module]] = {
    "tcn": lambda: StridedTcn(width=256, deep=0),
    "tcn-deep": lambda: StridedTcn(width=384, deep=2),
    "tcn-small": lambda: StridedTcn(width=128, deep=1),
    "transformer": lambda: FrameTransformer(width=192, layers=3),
    "ktpformer": lambda: KtpFormer(width=32, pairs=1, heads=2),
    "convformer": lambda: ConvFormer(width=16, spatial=1, temporal=2, inner=136),
    "hot": lambda: Hot(width=32, pairs=2, heads=2),
    "gla-gcn": lambda: GlaGcn(width=64, inner=8),
}
"""Backbones by name."""


def make_backbone(name: str) -> nn.Module:
    """Build one of BACKBONES."""
    if name not in BACKBONES:
        raise ValueError(f"unknown backbone {name!r}: expected one of {', '.join(BACKBONES)}")
    return BACKBONES[name]()


class Head(nn.Module):
    """The final layers: features -> pose [B,17,3] and ln sigma [B,17]; either branch may be off."""

    def __init__(self, with_image: bool = False) -> None:
        super().__init__()
        self.lift = nn.Linear(FEATURE, FEATURE)
        self.image = nn.Linear(IMAGE_FEATURE, FEATURE) if with_image else None
        self.joints = nn.Linear(FEATURE, JOINTS * 3)
        self.log_sigma = nn.Linear(FEATURE, JOINTS)
        nn.init.normal_(self.joints.weight, std=0.01)
        nn.init.zeros_(self.joints.bias)
        nn.init.normal_(self.log_sigma.weight, std=0.01)
        nn.init.constant_(self.log_sigma.bias, math.log(0.05))

    def forward(
        self,
        feature: Tensor,
        image: Tensor | None = None,
        lift_on: Tensor | float = 1.0,
        image_on: Tensor | float = 1.0,
    ) -> tuple[Tensor, Tensor]:
        """feature [B,256], image [B,128]; the switches are 0 or 1, alone or as [B,1]."""
        hidden = lift_on * self.lift(feature)
        if image is not None and self.image is not None:
            hidden = hidden + image_on * self.image(image)
        hidden = torch.relu(hidden)
        pose = self.joints(hidden).reshape(-1, JOINTS, 3)
        pose = pose - pose[:, :1]
        log_sigma = self.log_sigma(hidden).clamp(math.log(SIGMA_MIN), math.log(SIGMA_MAX))
        return pose, log_sigma


class Lifter(nn.Module):
    """Backbone and head together, from samples [B,27,52]."""

    def __init__(self, backbone: str) -> None:
        super().__init__()
        self.name = backbone
        self.backbone = make_backbone(backbone)
        self.head = Head()

    def forward(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        """frames [B,27,52] -> pose [B,17,3] metres, ln sigma [B,17]."""
        pose, log_sigma = self.head(self.backbone(frames))
        return pose, log_sigma


class Exported(nn.Module):
    """What becomes backbone.onnx: kp [1,27,17,4] -> feat [1,256]."""

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, kp: Tensor) -> Tensor:
        """kp [1,27,17,4] -> feat [1,256]."""
        out: Tensor = self.backbone(frames_of(kp))
        return out


def losses(pose: Tensor, log_sigma: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
    """Return (mean joint distance in metres, Gaussian negative log-likelihood of that distance).

    Per joint 3 ln sigma + |e|^2 / (2 sigma^2), an isotropic Gaussian in 3D, with e detached so that
    the likelihood teaches sigma only. Joint 0 has no error and is left out of the likelihood.
    """
    distance = (pose - truth).norm(dim=-1)
    squared = distance.detach()[:, 1:] ** 2
    spread = log_sigma[:, 1:]
    likelihood = 3.0 * spread + 0.5 * squared * torch.exp(-2.0 * spread)
    return distance.mean(), likelihood.mean()
