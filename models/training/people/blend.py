"""Averages the weights of two checkpoints of one training: what one run gained, and less of what it forgot.

    python blend.py RUN/person2.pt RUN/person3.pt --share 0.6 --out RUN/person.pt

The share is chosen on pictures kept from training (`train_person.py` prints the scores of a checkpoint on them).
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
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


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("first", type=Path)
    p.add_argument("second", type=Path, help="of this one all else is kept: the heads that only training needs")
    p.add_argument("--share", type=float, required=True, help="of the second checkpoint, 0 to 1")
    p.add_argument("--out", type=Path, required=True)
    a = p.parse_args()
    if not 0 <= a.share <= 1:
        p.error(f"--share {a.share}: must be from 0 to 1")
    first, second = (torch.load(path, map_location="cpu") for path in (a.first, a.second))
    try:
        second["net"] = blended(first["net"], second["net"], a.share, str(a.second))
    except BlendFault as fault:
        raise SystemExit(str(fault)) from None
    part = a.out.with_suffix(".part")
    torch.save(second, part)
    part.replace(a.out)


if __name__ == "__main__":
    main()
