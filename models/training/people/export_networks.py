"""Exports trained weights to ONNX and checks ONNX Runtime against PyTorch."""

from __future__ import annotations

import argparse
import hashlib
import re
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

from finder import SIZE, Finder
from net import PersonNet
from train_person import SHAPES

OPSET = 17


def fold(net: nn.Module) -> nn.Module:
    """Batch normalisation after a linear layer goes into the layer (the exporter does the convolutions)."""
    for module in net.modules():
        if not isinstance(module, nn.Sequential):
            continue
        for k in range(len(module) - 1):
            layer, norm = module[k], module[k + 1]
            if isinstance(layer, nn.Linear) and isinstance(norm, nn.BatchNorm1d):
                module[k], module[k + 1] = fuse_linear_bn_eval(layer, norm), nn.Identity()
            elif isinstance(layer, nn.ConvTranspose2d) and isinstance(norm, nn.BatchNorm2d):
                module[k], module[k + 1] = fuse_conv_bn_eval(layer, norm, transpose=True), nn.Identity()
    return net


def export(net: nn.Module, shape: tuple[int, ...], outputs: list[str], path: Path) -> float:
    """Writes `path`; returns the largest difference between PyTorch and ONNX Runtime."""
    net.eval()
    x = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        want = [y.numpy() for y in net(x)]
        fold(net)
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.onnx.export(
            net, (x,), str(path), opset_version=OPSET, dynamo=False, input_names=["image"], output_names=outputs
        )
    onnx.checker.check_model(onnx.load(str(path)))
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    got = ort.InferenceSession(str(path), options).run(None, {"image": x.numpy()})
    return max(float(np.abs(a - b).max() / max(1.0, np.abs(a).max())) for a, b in zip(want, got, strict=True))


def note_hash(onnx_file: Path) -> None:
    """Writes the file's SHA-256 into the `model.toml` beside it, where there is one."""
    toml = onnx_file.with_name("model.toml")
    if toml.exists():
        digest = hashlib.sha256(onnx_file.read_bytes()).hexdigest()
        toml.write_text(re.sub(r'(?m)^sha256 = "[0-9a-f]{64}"$', f'sha256 = "{digest}"', toml.read_text(), count=1))


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("kind", choices=["person", "finder"])
    p.add_argument("weights", type=Path)
    p.add_argument("out", type=Path)
    a = p.parse_args()
    state = torch.load(a.weights, map_location="cpu")
    if a.kind == "person":
        net: nn.Module = PersonNet(**SHAPES[state.get("shape", "reach")])
        net.load_state_dict(state["net"])
        shape, outputs = (1, 3, 192, 144), ["heatmaps", "visible", "features", "mask"]
    else:
        net = Finder()
        net.load_state_dict(state["net"])
        shape, outputs = (1, 3, SIZE, SIZE), ["score", "box"]
    difference = export(net, shape, outputs, a.out)
    print(f"{a.out}: {a.out.stat().st_size / 1e6:.2f} MB, largest relative difference {difference:.1e}")
    if difference > 1e-4:
        raise SystemExit("ONNX Runtime and PyTorch differ")
    note_hash(a.out)


if __name__ == "__main__":
    main()
