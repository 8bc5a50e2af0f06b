"""Shipped ONNX weights back into the networks they came from, so that training can go on from them.

The exporter folds batch normalisation into the layer before it. Here the normalisation starts as the identity with the folded
bias as its own; `calibrate` then gives it the statistics of real input and rescales it so that the function stays what it was.
"""

from __future__ import annotations

from pathlib import Path

import onnx
import torch
from onnx import numpy_helper
from torch import Tensor, nn

LAYERS = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)
OPERATORS = ("Conv", "ConvTranspose", "Gemm")
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)


def called_in_order(net: nn.Module, image: Tensor) -> list[tuple[nn.Module, nn.Module | None]]:
    """The layers with weights in the order they run in, each with the normalisation that runs next, if one does."""
    calls: list[nn.Module] = []
    handles = [
        module.register_forward_pre_hook(lambda module, _: calls.append(module))
        for module in net.modules()
        if isinstance(module, (*LAYERS, *NORMS))
    ]
    net.eval()
    with torch.no_grad():
        net(image)
    for handle in handles:
        handle.remove()
    following = [*calls[1:], None]
    pairs = zip(calls, following, strict=True)
    return [(a, b if isinstance(b, NORMS) else None) for a, b in pairs if isinstance(a, LAYERS)]


def unfold(net: nn.Module, path: Path, image: Tensor) -> None:
    """Loads the weights of the ONNX file into `net`, which computes the same as the file afterwards.

    `image` is any input of the network. Raises ValueError where file and network differ in layers or shapes.
    """
    graph = onnx.load(str(path)).graph
    numbers = {i.name: torch.from_numpy(numpy_helper.to_array(i).copy()) for i in graph.initializer}
    nodes = [n for n in graph.node if n.op_type in OPERATORS]
    layers = called_in_order(net, image)
    if len(nodes) != len(layers):
        raise ValueError(f"{path}: {len(nodes)} layers with weights, the network has {len(layers)}")
    with torch.no_grad():
        for node, (layer, norm) in zip(nodes, layers, strict=True):
            weight, bias = numbers[node.input[1]], numbers[node.input[2]]
            if weight.shape != layer.weight.shape:
                raise ValueError(
                    f"{path}: {node.name}: shape {tuple(weight.shape)}, wanted {tuple(layer.weight.shape)}"
                )
            layer.weight.copy_(weight)
            if norm is None:
                layer.bias.copy_(bias)
                continue
            if layer.bias is not None:
                layer.bias.zero_()
            norm.running_mean.zero_()
            norm.running_var.fill_(1 - norm.eps)
            norm.weight.fill_(1)
            norm.bias.copy_(bias)


@torch.no_grad()
def calibrate(net: nn.Module, images: Tensor) -> None:
    """Gives every normalisation the mean and variance of its input on `images`; the network computes what it did."""
    net.eval()
    inputs: dict[nn.Module, Tensor] = {}
    norms = [m for m in net.modules() if isinstance(m, NORMS)]
    handles = [
        m.register_forward_pre_hook(lambda m, x: inputs.__setitem__(m, x[0].transpose(0, 1).flatten(1))) for m in norms
    ]
    net(images)
    for handle in handles:
        handle.remove()
    for norm in norms:
        mean, variance = inputs[norm].mean(1), inputs[norm].var(1, unbiased=False).clamp(min=1e-4)
        scale = norm.weight / (norm.running_var + norm.eps).sqrt()
        norm.bias.add_(scale * (mean - norm.running_mean))
        norm.weight.copy_(scale * (variance + norm.eps).sqrt())
        norm.running_mean.copy_(mean)
        norm.running_var.copy_(variance)
