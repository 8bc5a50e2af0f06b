"""Export a checkpoint: backbone.onnx, head.safetensors and golden.safetensors.

`python export.py --weights run.pt --out models/lifter` writes the static ONNX graph (opset 17,
batch 1), the head's tensors (f32) and golden vectors, and checks the graph with ONNX Runtime.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray
from onnx import TensorProto
from safetensors.torch import save_file

from arrays import Floats, Ints
from blocks import FEATURE, folded
from evaluate import load_head, load_lifter
from model import Exported, Head, Lifter
from simulate import camera_rotation
from skeleton import JOINTS, coco_of_pose
from window import FRAMES, window_input

TOLERANCE = 3e-5
"""Largest allowed difference between PyTorch and ONNX Runtime (features are of order 1): folded layers add up in another
order, which moves a feature of `hot` by 1e-5."""

STANDING = np.array(
    [
        [0, 0.93, 0], [-0.1, 0.93, 0], [-0.1, 0.5, 0.02], [-0.1, 0.08, 0], [0.1, 0.93, 0],
        [0.1, 0.5, 0.02], [0.1, 0.08, 0], [0, 1.17, 0], [0, 1.43, 0], [0, 1.56, 0.03],
        [0, 1.65, 0.05], [0.17, 1.4, 0], [0.2, 1.12, 0], [0.2, 0.87, 0.05], [-0.17, 1.4, 0],
        [-0.2, 1.12, 0], [-0.2, 0.87, 0.05],
    ]
)  # fmt: skip
"""A made-up standing person, world frame (+y up, facing +z), metres; golden vectors use no capture."""


def marching(at: float) -> Floats:
    """Return the made-up person [17,3] marching on the spot at time `at` in seconds."""
    pose = STANDING.copy()
    for knee, ankle, elbow, wrist, phase in ((2, 3, 15, 16, 0.0), (5, 6, 12, 13, np.pi)):
        lift = max(0.0, np.sin(2.0 * np.pi * at + phase))
        pose[knee] += [0.0, 0.15 * lift, 0.25 * lift]
        pose[ankle] += [0.0, 0.25 * lift, 0.05 * lift]
        pose[elbow] += [0.0, 0.0, -0.12 * lift]
        pose[wrist] += [0.0, 0.1 * lift, -0.2 * lift]
    return pose


def observe(
    times: Floats, yaw: float, pitch: float, place: tuple[float, float, float], rng: np.random.Generator
) -> tuple[Ints, NDArray[np.float32], NDArray[np.float32]]:
    """Return (times ns [N], rays f32 [N,17,2], confidences f32 [N,17]) of the marching person."""
    camera = camera_rotation(yaw, pitch, 0.03)
    rays = np.empty((len(times), JOINTS, 2), dtype=np.float32)
    points = np.empty((JOINTS, 3))
    for i, at in enumerate(times):
        coco_of_pose((marching(at) - STANDING[0]) @ camera.T + np.array(place), points)
        rays[i] = points[:, :2] / points[:, 2:] + rng.normal(0.0, 0.002, (JOINTS, 2))
    conf = rng.uniform(0.4, 0.98, (len(times), JOINTS)).astype(np.float32)
    return np.round(times * 1e9).astype(np.int64) + 1_700_000_000_000_000_000, rays, conf


def golden_cases() -> dict[str, tuple[Ints, NDArray[np.float32], NDArray[np.float32]]]:
    """Return observation windows that reach every branch of the resampling and scaling."""
    rng = np.random.default_rng(5)
    cases = {}
    cases["thirty_hz"] = observe(np.arange(27) / 30.0, 0.3, -0.1, (0.4, -0.1, 3.0), rng)
    times = np.arange(14) / 12.5 + rng.uniform(-0.008, 0.008, 14)
    cases["slow_and_uneven"] = observe(times, 2.0, -0.5, (-1.0, 0.3, 2.5), rng)
    cases["sixty_hz"] = observe(np.arange(60) / 60.0 + 0.002, -1.2, 0.1, (0.0, 0.0, 4.0), rng)
    # A pause of 0.3 s that may not be bridged, one of 0.25 s that may, and a hidden lower body.
    times = np.concatenate([np.arange(5) * 0.05, 0.5 + np.arange(4) * 0.04, 0.87 + np.arange(3) * 0.03])
    ns, rays, conf = observe(times, 0.8, -0.2, (0.2, 0.2, 3.5), rng)
    conf[4:, 13:] = 0.1
    conf[6, 5] = 0.19
    cases["gaps_and_hidden_legs"] = (ns, rays, conf)
    # One keypoint in the newest sample: the box of the whole window turns the camera.
    ns, rays, conf = observe(np.arange(20) / 30.0, -0.5, -0.1, (1.5, -0.4, 3.0), rng)
    conf[-1, 1:] = 0.0
    cases["one_keypoint_left"] = (ns, rays, conf)
    cases["first_frame"] = observe(np.zeros(1), 3.0, -0.3, (0.0, 0.1, 2.0), rng)
    return cases


def write_golden(model: Lifter, path: Path) -> None:
    """Write the golden vectors: observations and every intermediate value, per case."""
    tensors: dict[str, torch.Tensor] = {}
    for name, (ns, rays, conf) in golden_cases().items():
        kp, rotation, scale = window_input(ns, rays.astype(np.float64), conf.astype(np.float64))
        window = torch.from_numpy(kp.astype(np.float32))[None]
        with torch.no_grad():
            feature = Exported(model.backbone)(window)
            pose, log_sigma = model.head(feature)
        tensors[f"{name}.times_ns"] = torch.from_numpy(ns)
        tensors[f"{name}.rays"] = torch.from_numpy(rays)
        tensors[f"{name}.conf"] = torch.from_numpy(conf)
        tensors[f"{name}.rotation"] = torch.from_numpy(rotation.astype(np.float32))
        tensors[f"{name}.scale"] = torch.tensor([scale], dtype=torch.float32)
        tensors[f"{name}.kp"] = window
        tensors[f"{name}.feat"] = feature
        tensors[f"{name}.y"] = pose[0].contiguous()
        tensors[f"{name}.log_sigma"] = log_sigma[0].contiguous()
    save_file(tensors, path)


def blind(head: Head) -> Head:
    """Return the same head with an image branch that adds nothing, as the program reads it."""
    out = Head(with_image=True)
    out.load_state_dict(head.state_dict(), strict=False)
    assert out.image is not None
    torch.nn.init.zeros_(out.image.weight)
    torch.nn.init.zeros_(out.image.bias)
    return out


def write_graph(backbone: torch.nn.Module, path: Path) -> tuple[dict[str, int], float]:
    """Fold `backbone`, write it as a static graph, and check it against the network as it was trained.

    Returns how often the graph has each operator, and the largest difference of a feature.
    """
    trained, smaller = Exported(backbone).eval(), Exported(folded(backbone)).eval()
    example = torch.randn(1, FRAMES, JOINTS, 4)
    torch.onnx.export(
        smaller, (example,), str(path), input_names=["kp"], output_names=["feat"],
        opset_version=17, dynamo=False,
    )  # fmt: skip
    loaded = onnx.load(str(path))
    onnx.checker.check_model(loaded)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    worst = 0.0
    for _ in range(20):
        example = torch.randn(1, FRAMES, JOINTS, 4)
        with torch.no_grad():
            expected = trained(example).numpy()
        (got,) = session.run(None, {"kp": example.numpy()})
        if got.shape != (1, FEATURE):
            raise SystemExit(f"{path.name}: output {got.shape}, expected (1, {FEATURE})")
        worst = max(worst, float(np.abs(got - expected).max()))
    if worst > TOLERANCE:
        raise SystemExit(f"{path.name}: differs from PyTorch by {worst:.2e}, allowed {TOLERANCE:.0e}")
    return dict(Counter(node.op_type for node in loaded.graph.node)), worst


def parameters(path: Path) -> int:
    """Count the numbers that a graph holds."""
    return sum(int(np.prod(i.dims)) for i in onnx.load(str(path)).graph.initializer if i.data_type == TensorProto.FLOAT)


DESCRIPTION = """# {title}; README.md is the model card.

name = "poised-{name}"
kind = "lifter"
licence = "Apache-2.0 OR MIT"
origin = "trained by models/training/lifter on motion capture (CMU, Berkeley MHAD, ACCAD) seen by random cameras"
error = ""
time = ""

[network]
file = "backbone.onnx"
sha256 = "{backbone}"

[[extra]]
file = "head.safetensors"
sha256 = "{head}"

# Samples of the last 0.9 s at 30 Hz, COCO keypoints, (x, y, confidence, ln s).
[input]
name = "kp"
shape = [1, {frames}, {joints}, 4]
type = "f32"

[[outputs]]
name = "feat"
shape = [1, {feature}]
role = "lift-features"
"""


def sha256(path: Path) -> str:
    """Hash of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def write_description(folder: Path, title: str) -> None:
    """Write the model.toml of the lifter in `folder`, which is named like the folder."""
    text = DESCRIPTION.format(
        title=title, name=folder.name, frames=FRAMES, joints=JOINTS, feature=FEATURE,
        backbone=sha256(folder / "backbone.onnx"), head=sha256(folder / "head.safetensors"),
    )  # fmt: skip
    (folder / "model.toml").write_text(text)


def main() -> None:
    """Write and check the files."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument(
        "--head", type=Path, help="head.safetensors with an image branch; without it the branch adds nothing"
    )
    parser.add_argument("--without-image", action="store_true", help="leave such a branch out")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--describe", metavar="TITLE", help="write model.toml too, with this title")
    args = parser.parse_args()
    torch.set_num_threads(1)
    model = load_lifter(args.weights)
    if args.head is not None:
        model.head = load_head(args.head)
    elif model.head.image is None and not args.without_image:
        model.head = blind(model.head)
    args.out.mkdir(parents=True, exist_ok=True)
    operators, worst = write_graph(model.backbone, args.out / "backbone.onnx")
    head = {k: v.detach().contiguous() for k, v in model.head.state_dict().items()}
    save_file(head, args.out / "head.safetensors")
    write_golden(model, args.out / "golden.safetensors")
    if args.describe is not None:
        write_description(args.out, args.describe)
    report = {
        "difference": worst,
        "operators": operators,
        "parameters": parameters(args.out / "backbone.onnx"),
        "head_parameters": sum(v.numel() for v in head.values()),
        "sha256": {
            name: sha256(args.out / name) for name in ("backbone.onnx", "head.safetensors", "golden.safetensors")
        },
    }
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
