"""Averages the weights of two checkpoints of one training, or of two networks: what one run gained, and less of what it forgot.

    python blend.py RUN/person2.pt RUN/person3.pt --share 0.6 --out RUN/person.pt
    python blend.py RUN/start/person2.onnx RUN/person.onnx --share 0.5 --out ../../person/person.onnx

The share is chosen on pictures kept from training (`train_person.py` prints the scores of a checkpoint on them).
"""

from __future__ import annotations

import argparse
from pathlib import Path

import onnx
import torch
from onnx import numpy_helper
from torch import Tensor

Weights = dict[str, Tensor]


class BlendFault(ValueError):
    """Checkpoints that cannot be averaged: the message names the file and the tensor."""


def blended(first: Weights, second: Weights, share: float, where: str) -> Weights:
    """`share` of the second and the rest of the first; counters are those of the second.

    Raises BlendFault where a tensor is missing or of another shape.
    """
    if first.keys() != second.keys():
        name = sorted(first.keys() ^ second.keys())[0]
        raise BlendFault(f"{where}: tensor {name} is in one of the checkpoints only")
    out = {}
    for name, b in second.items():
        a = first[name]
        if a.shape != b.shape:
            raise BlendFault(f"{where}: tensor {name} is {list(b.shape)}, in the first checkpoint {list(a.shape)}")
        out[name] = a * (1 - share) + b * share if b.dtype.is_floating_point else b
    return out


def blend_networks(first: Path, second: Path, share: float, out: Path) -> None:
    """The same of two ONNX files of one shape, whose weights have the batch normalisation in them.

    Raises BlendFault where a tensor is missing or of another shape.
    """
    a, b = (onnx.load(path) for path in (first, second))
    weights = [{t.name: torch.tensor(numpy_helper.to_array(t)) for t in net.graph.initializer} for net in (a, b)]
    mean = blended(weights[0], weights[1], share, str(second))
    for tensor in b.graph.initializer:
        tensor.CopyFrom(numpy_helper.from_array(mean[tensor.name].numpy(), tensor.name))
    part = out.with_suffix(".part")
    part.write_bytes(b.SerializeToString())
    part.replace(out)


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("first", type=Path)
    p.add_argument("second", type=Path, help="of this one all else is kept: the heads that only training needs")
    p.add_argument("--share", type=float, required=True, help="of the second checkpoint, 0 to 1")
    p.add_argument("--out", type=Path, required=True)
    a = p.parse_args()
    if not 0 <= a.share <= 1:
        p.error(f"--share {a.share}: must be from 0 to 1")
    try:
        if a.second.suffix == ".onnx":
            blend_networks(a.first, a.second, a.share, a.out)
            return
        first, second = (torch.load(path, map_location="cpu") for path in (a.first, a.second))
        second["net"] = blended(first["net"], second["net"], a.share, str(a.second))
    except BlendFault as fault:
        raise SystemExit(str(fault)) from None
    part = a.out.with_suffix(".part")
    torch.save(second, part)
    part.replace(a.out)


if __name__ == "__main__":
    main()
