"""Networks of the lifter: causal backbones (window -> feature) and the head (feature -> pose).

Shapes: B windows, 27 samples, 17 keypoints. Poses are in metres, relative to joint 0, in the
rotated camera frame of the window.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from skeleton import JOINTS
from window import FRAMES

FEATURE = 256
"""Length of the backbone's feature."""
IMAGE_FEATURE = 128
"""Length of the person network's feature."""
PER_FRAME = JOINTS * 3 + 1
"""Values of one sample: x/s, y/s and confidence of each keypoint, and ln s once."""
SIGMA_MIN, SIGMA_MAX = 0.005, 1.0
"""Bounds of the predicted standard deviation in metres."""


def frames_of(kp: Tensor) -> Tensor:
    """Turn kp [B,27,17,4] into samples [B,27,52]; ln s is the same at every keypoint, so kept once."""
    batch = kp.shape[0]
    points = kp[:, :, :, :3].reshape(batch, FRAMES, JOINTS * 3)
    return torch.cat([points, kp[:, :, :1, 3:].reshape(batch, FRAMES, 1)], dim=2)


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
        batch, length, width = x.shape
        size = width // self.heads
        q, k, v = self.qkv(self.norm(x)).split(width, dim=2)
        q = q.reshape(batch, length, self.heads, size).transpose(1, 2)
        k = k.reshape(batch, length, self.heads, size).permute(0, 2, 3, 1)
        v = v.reshape(batch, length, self.heads, size).transpose(1, 2)
        weights = torch.softmax(torch.matmul(q, k) / math.sqrt(size), dim=3)
        out: Tensor = x + self.mix(torch.matmul(weights, v).transpose(1, 2).reshape(batch, length, width))
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


def make_backbone(name: str) -> nn.Module:
    """Build a backbone by name: 'tcn', 'tcn-deep' or 'transformer'."""
    if name == "tcn":
        return StridedTcn(width=256, deep=0)
    if name == "tcn-deep":
        return StridedTcn(width=384, deep=2)
    if name == "transformer":
        return FrameTransformer(width=192, layers=3)
    raise ValueError(f"unknown backbone {name!r}: expected tcn, tcn-deep or transformer")


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
