"""The two encoders: two seconds of motion, or of what the camera saw of it, to the space of the phrases.

Both are convolutions over time; `src/motion/net.rs` runs them forward and backward, `src/motion/encoder.rs`
makes their inputs as `motion_input` and `rays_input` do here.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

STEPS = 60
"""Frames of a window, 30 a second, newest last."""
WIDTH = 384
"""Numbers of an embedding: those of the sentence encoder."""
VELOCITY = 5.0
"""Differences of successive frames are multiplied by this, so that they are of the size of positions."""
TORSO_MIN_M = 0.1
"""Shortest torso that a pose is divided by, metres."""
HIPS_MIN = 0.2
"""Hips that point to all sides within a window cancel; below this share of their lengths the newest frame decides."""
RAY_LIMIT = 4.0
"""Bound of scaled ray coordinates."""
SCALE_MIN = 0.01
"""Smallest scale that rays are divided by (rays at z = 1)."""

CONVS = ((5, 2, 2, 160), (5, 2, 2, 192), (3, 2, 1, 256), (3, 1, 1, 256))
"""Kernel, stride, padding and channels of each convolution."""


def body_frame(joints: Tensor) -> tuple[Tensor, Tensor]:
    """Rotation [B,3,3] whose rows are the body's axes, and torso length [B], of windows [B,60,17,3].

    Joints are relative to joint 0. y is the sum over the window of the spine (joint 8), x the sum of the hips' line
    (joint 4 minus joint 1) made orthogonal to y, z = x cross y. Where x is shorter than HIPS_MIN times the sum of
    the hips' lengths, the newest frame's hips are taken. The length is the lower median of |joint 8|.
    """
    with torch.no_grad():
        spine, hips = joints[:, :, 8], joints[:, :, 4] - joints[:, :, 1]
        y = nn.functional.normalize(spine.sum(1), dim=-1)
        x, newest = hips.sum(1), hips[:, -1]
        x = x - (x * y).sum(-1, keepdim=True) * y
        newest = newest - (newest * y).sum(-1, keepdim=True) * y
        clear = x.norm(dim=-1) >= HIPS_MIN * hips.norm(dim=-1).sum(1)
        x = nn.functional.normalize(torch.where(clear[:, None], x, newest), dim=-1)
        z = torch.linalg.cross(x, y)
        torso = spine.norm(dim=-1).median(1).values.clamp(min=TORSO_MIN_M)
        return torch.stack([x, y, z], 1), torso


def motion_input(joints: Tensor) -> Tensor:
    """Joints [B,60,17,3] in metres, any frame -> [B,60,102]: positions and velocities in the body's frame."""
    relative = joints - joints[:, :, :1]
    rotation, torso = body_frame(relative)
    place = torch.einsum("btjc,bac->btja", relative, rotation) / torso[:, None, None, None]
    speed = torch.zeros_like(place)
    speed[:, 1:] = VELOCITY * (place[:, 1:] - place[:, :-1])
    return torch.cat([place.flatten(2), speed.flatten(2)], 2)


def rays_input(rays: Tensor) -> Tensor:
    """Keypoints [B,60,17,3] (u, v, confidence; 0 = not seen) -> [B,60,85].

    Of every frame with two or more keypoints: the middle of their box, and half its larger side. Rays are taken
    relative to the mean middle and divided by the mean half side. Channels: x, y, 1 where seen (51), then velocities
    of x and y where the keypoint is seen in both frames (34).
    """
    seen = rays[..., 2] > 0
    far = torch.where(seen[..., None], rays[..., :2], torch.inf)
    low = far.amin(2)
    high = torch.where(seen[..., None], rays[..., :2], -torch.inf).amax(2)
    two = (seen.sum(2) >= 2)[..., None]
    counted = two.sum(1).clamp(min=1)
    middle = torch.where(two, 0.5 * (low + high), 0.0).sum(1) / counted
    half = torch.where(two[..., 0], 0.5 * (high - low).amax(-1), 0.0).sum(1) / counted[:, 0]
    scale = half.clamp(min=SCALE_MIN)[:, None, None, None]
    place = ((rays[..., :2] - middle[:, None, None]) / scale).clamp(-RAY_LIMIT, RAY_LIMIT) * seen[..., None]
    speed = torch.zeros_like(place)
    both = (seen[:, 1:] & seen[:, :-1])[..., None]
    speed[:, 1:] = VELOCITY * (place[:, 1:] - place[:, :-1]) * both
    with_seen = torch.cat([place, seen[..., None].to(place.dtype)], -1)
    return torch.cat([with_seen.flatten(2), speed.flatten(2)], 2)


CHANNELS = {"motion": 102, "rays": 85}
INPUTS = {"motion": motion_input, "rays": rays_input}


class Encoder(nn.Module):
    """[B,60,C] -> [B,384] of length 1."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for kernel, stride, pad, width in CONVS:
            layers += [
                nn.Conv1d(channels, width, kernel, stride, pad, bias=False), nn.BatchNorm1d(width), nn.SiLU(),
            ]  # fmt: skip
            channels = width
        self.convs = nn.Sequential(*layers)
        self.dropout = nn.Dropout(0.2)
        self.out = nn.Linear(channels, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        y = self.convs(x.transpose(1, 2)).mean(2)
        return nn.functional.normalize(self.out(self.dropout(y)), dim=-1)

    def folded(self) -> list[tuple[Tensor, Tensor]]:
        """Weight [out, kernel, in] and bias of each convolution, with its normalisation folded in."""
        folded = []
        for conv, norm in zip(self.convs[::3], self.convs[1::3], strict=True):
            assert isinstance(conv, nn.Conv1d) and isinstance(norm, nn.BatchNorm1d)
            assert norm.running_mean is not None and norm.running_var is not None
            gain = norm.weight / torch.sqrt(norm.running_var + norm.eps)
            weight = conv.weight * gain[:, None, None]
            folded.append((weight.permute(0, 2, 1), norm.bias - norm.running_mean * gain))
        return folded


class Stored(nn.Module):
    """An encoder as it is stored: normalisation folded in, weights rounded to half precision.

    `layers` are weight [out, kernel, in] and bias of each convolution, `weight` and `bias` those of the output.
    """

    def __init__(self, layers: list[tuple[Tensor, Tensor]], weight: Tensor, bias: Tensor) -> None:
        super().__init__()
        self.layers = [(w.detach().half().float(), b.detach().half().float()) for w, b in layers]
        self.weight = weight.detach().half().float()
        self.bias = bias.detach().half().float()

    @classmethod
    def of(cls, encoder: Encoder) -> Stored:
        """What is stored of a trained encoder."""
        return cls(encoder.folded(), encoder.out.weight, encoder.out.bias)

    @classmethod
    def read(cls, path: Path, kind: str) -> Stored:
        """The encoder `kind` of an `encoder.safetensors`."""
        tensors = load_file(path)
        layers = [(tensors[f"{kind}.conv{k}.weight"], tensors[f"{kind}.conv{k}.bias"]) for k in range(len(CONVS))]
        return cls(layers, tensors[f"{kind}.linear0.weight"], tensors[f"{kind}.linear0.bias"])

    def forward(self, x: Tensor) -> Tensor:
        y = x.transpose(1, 2)
        for (weight, bias), (_, stride, pad, _) in zip(self.layers, CONVS, strict=True):
            y = nn.functional.silu(nn.functional.conv1d(y, weight.permute(0, 2, 1), bias, stride, pad))
        return nn.functional.normalize(y.mean(2) @ self.weight.T + self.bias, dim=-1)


def export(stored: dict[str, Stored], more: dict[str, Tensor], constants: dict[str, object], path: Path) -> None:
    """Writes `encoder.safetensors`: weights, further tensors, and the shapes and constants in its metadata."""
    tensors, shapes = {k: v.detach().half() for k, v in more.items()}, {}
    for name, encoder in stored.items():
        inputs, convs = CHANNELS[name], []
        for k, ((weight, bias), (kernel, stride, pad, width)) in enumerate(zip(encoder.layers, CONVS, strict=True)):
            tensors[f"{name}.conv{k}.weight"], tensors[f"{name}.conv{k}.bias"] = weight.half(), bias.half()
            convs.append({"kernel": kernel, "stride": stride, "pad": pad, "inputs": inputs, "outputs": width})
            inputs = width
        tensors[f"{name}.linear0.weight"], tensors[f"{name}.linear0.bias"] = encoder.weight.half(), encoder.bias.half()
        shapes[name] = {"convs": convs, "linears": [{"inputs": inputs, "outputs": WIDTH}]}
    plain = {k: v.contiguous().clone() for k, v in tensors.items()}
    save_file(plain, path, {"poised": json.dumps({"encoders": shapes, **constants}, sort_keys=True)})
