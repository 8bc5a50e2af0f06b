"""Measure a trained lifter: MPJPE, PA-MPJPE, hidden joints, coverage of the predicted spread.

`python evaluate.py --motion DIR --weights run.pt` prints one row per motion set and condition,
all in millimetres, with fixed seeds. MPJPE is the mean distance over the 17 joints with joint 0
in place; PA-MPJPE after the best similarity transform (rotation, scale, translation).
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import Tensor

from detector import read_errors
from model import Head, Lifter, frames_of
from motion import VALIDATION, Motion, load_training, load_validation
from simulate import (
    CLEAN,
    HIDDEN_LEGS,
    MEASURED,
    MODERATE,
    NOISY,
    PARTS,
    TRAINING,
    View,
    seed_random,
    simulate_batch,
    without,
)
from skeleton import JOINTS
from window import FRAMES

CONDITIONS: dict[str, View] = {
    "clean": CLEAN,
    "noisy": NOISY,
    "moderate": MODERATE,
    "measured": MEASURED,
    "training": TRAINING,
    "legs_hidden": HIDDEN_LEGS,
    "small": NOISY._replace(scale_low=0.72, scale_high=0.72),
    "small_child": NOISY._replace(scale_low=0.72, scale_high=0.72, child_shape=1.0),
    "large": NOISY._replace(scale_low=1.15, scale_high=1.15),
}
RADIUS_90 = 2.5003
"""Square root of the 90 % point of chi squared with three degrees of freedom: |e| < 2.5 sigma."""


def align(points: Tensor, truth: Tensor) -> Tensor:
    """Move `points` [N,17,3] onto `truth` by the best rotation, scale and translation (Umeyama 1991)."""
    mean_p, mean_t = points.mean(1, keepdim=True), truth.mean(1, keepdim=True)
    p, t = points - mean_p, truth - mean_t
    u, s, vh = torch.linalg.svd(p.transpose(1, 2) @ t)
    sign = torch.ones_like(s)
    sign[:, 2] = torch.sign(torch.linalg.det(u) * torch.linalg.det(vh))
    rotation = (u * sign[:, None]) @ vh
    scale = (s * sign).sum(1) / p.pow(2).sum((1, 2)).clamp(min=1e-9)
    return scale[:, None, None] * (p @ rotation) + mean_t


def draw(
    motion: Motion, view: View, count: int, seed: int
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Simulate `count` windows: kp [N,27,17,4], truth [N,17,3], seen [N,17]."""
    kp = np.empty((count, FRAMES, JOINTS, 4), dtype=np.float32)
    truth = np.empty((count, JOINTS, 3), dtype=np.float32)
    seen = np.empty((count, JOINTS), dtype=np.float32)
    seed_random(seed)
    simulate_batch(motion.joints, motion.starts, motion.cumulative, view, read_errors(), kp, truth, seen)
    return kp, truth, seen


def load_lifter(path: Path) -> Lifter:
    """Load a checkpoint of train.py, or the folder of a network that ships, for inference."""
    if path.is_dir():
        return load_shipped(path)
    saved = torch.load(path, weights_only=True)
    model = Lifter(saved["backbone"])
    model.load_state_dict(saved["weights"])
    return model.eval()


def load_shipped(folder: Path, backbone: str = "tcn-deep") -> Lifter:
    """Load backbone.onnx and head.safetensors, the head without its image branch."""
    graph = onnx.load(str(folder / "backbone.onnx")).graph
    stored = {i.name: onnx.numpy_helper.to_array(i) for i in graph.initializer}
    weights = {name.removeprefix("backbone."): value for name, value in stored.items() if "::" not in name}
    # The exporter turns and renames the weights of layers that work on several steps: bias and node name the layer.
    for node in graph.node:
        if node.op_type == "MatMul":
            layer = node.output[0].removeprefix("/backbone/").removesuffix("/MatMul_output_0").replace("/", ".")
            weights[f"{layer}.weight"] = stored[node.input[1]].T
    model = Lifter(backbone)
    model.backbone.load_state_dict({name: torch.tensor(value) for name, value in weights.items()})
    head = load_head(folder / "head.safetensors").state_dict()
    model.head.load_state_dict({name: value for name, value in head.items() if not name.startswith("image.")})
    return model.eval()


def load_head(path: Path) -> Head:
    """Load head.safetensors."""
    from safetensors.torch import load_file

    weights = load_file(path)
    head = Head(with_image="image.weight" in weights)
    head.load_state_dict(weights)
    return head.eval()


@torch.no_grad()
def predict(model: Lifter, kp: NDArray[np.float32], batch: int = 1000) -> tuple[Tensor, Tensor]:
    """Return (pose [N,17,3] metres, ln sigma [N,17]) of windows kp [N,27,17,4]."""
    parts = [model(frames_of(torch.from_numpy(kp[i : i + batch]))) for i in range(0, len(kp), batch)]
    return torch.cat([p for p, _ in parts]), torch.cat([s for _, s in parts])


def measures(pose: Tensor, log_sigma: Tensor, truth: Tensor, seen: Tensor) -> dict[str, float]:
    """Return the row of the table: millimetres, and shares of joints within the 90 % radius.

    `z2` is the mean of |e|^2 / (3 sigma^2), 1 for a calibrated sigma. Joint 0 is left out of both.
    """
    error = (pose - truth).norm(dim=-1)
    sigma = log_sigma.exp()
    inside = (error < RADIUS_90 * sigma)[:, 1:].float()
    hidden = seen < 0.5
    row = {
        "mpjpe": error.mean().item() * 1e3,
        "pa_mpjpe": (align(pose, truth) - truth).norm(dim=-1).mean().item() * 1e3,
        "seen": error[~hidden].mean().item() * 1e3,
        "hidden": error[hidden].mean().item() * 1e3 if hidden.any() else float("nan"),
        "within90": inside.mean().item(),
        "z2": (error**2 / (3.0 * sigma**2))[:, 1:].mean().item(),
    }
    if hidden.any():
        row["within90_hidden"] = (error < RADIUS_90 * sigma)[hidden].float().mean().item()
    return row


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--motion", type=Path, required=True)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--head", type=Path, help="head.safetensors in place of the checkpoint's")
    parser.add_argument("--count", type=int, default=4000)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--sets", nargs="+", default=[*VALIDATION, "held_out"])
    parser.add_argument("--conditions", nargs="+", default=list(CONDITIONS))
    parser.add_argument("--without", nargs="+", choices=list(PARTS), default=[], help="as the ring was made")
    args = parser.parse_args()
    torch.set_num_threads(1)
    model = load_lifter(args.weights)
    if args.head is not None:
        model.head = load_head(args.head)
    for name in args.sets:
        if name == "held_out":
            motion = load_training(args.motion, "held_out")
        else:
            motion = load_validation(args.motion, name)
        for condition in args.conditions:
            kp, truth, seen = draw(motion, without(CONDITIONS[condition], args.without), args.count, args.seed)
            pose, log_sigma = predict(model, kp)
            row = measures(pose, log_sigma, torch.from_numpy(truth), torch.from_numpy(seen))
            rounded = {k: round(v, 3 if "within" in k or k == "z2" else 1) for k, v in row.items()}
            print(json.dumps({"set": name, "condition": condition, **rounded}), flush=True)


if __name__ == "__main__":
    main()
