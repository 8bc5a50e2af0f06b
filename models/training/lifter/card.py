"""Write the model card of a small lifter from the figures of compare.py.

`python card.py --table ../../../docs/lab/lifters.json --folder ../../lifter-tcn-small` writes README.md into the
folder, which is named lifter- and the backbone's name.
"""

from __future__ import annotations

import argparse
import json
import textwrap
from collections import Counter
from pathlib import Path
from typing import Any

import onnx

WIDTH = 118
WHAT = {
    "tcn-small": "A strided temporal network (27-9-3-1 samples, 128 channels) with one residual block on the newest sample: "
    "the lifter that ships by default, a tenth of its size.",
    "ktpformer": "KTPFormer (CVPR 2024, arXiv 2404.00658), small and causal: attention over the keypoints of a step, then "
    "over the steps of a keypoint, each behind graph layers that begin with the skeleton and with the chain of steps. "
    "Tokens of 0.1 s, 32 channels, one pair of blocks; written from the paper's description, no code or weights of it.",
    "convformer": "ConvFormer (arXiv 2304.02147), small and causal: queries, keys and values are mixtures of convolutions "
    "of three lengths, each mixture stored as one convolution. Steps of 0.1 s, one spatial block of 16 channels and two "
    "temporal ones; written from the paper's description, no code or weights of it.",
    "gla-gcn": "GLA-GCN (ICCV 2023, arXiv 2307.05853), small and causal: graph layers whose edges are known, learned and "
    "made by the window, over 9, 9, 3 and 1 steps of 0.1 s with 64 channels, then a layer of its own for each keypoint; "
    "written from the paper's description, no code or weights of it.",
    "hot": "HoT (CVPR 2024, arXiv 2311.12028), small and causal, around a KTPFormer of 32 channels: after the first pair of "
    "blocks a third of the steps is kept, and a learned query recovers the newest; written from the papers' "
    "descriptions, no code or weights of them.",
}
"""Backbone -> what it is."""

CARD = """# Lifter: {name}

{what}
Trained here from random weights by [`models/training/lifter`](../training/lifter).

Licence: Apache-2.0 OR MIT. Chosen by `[models] lifter = "lifter-{name}"`.

| file | what |
| --- | --- |
| `backbone.onnx` | `kp` f32 [1,27,17,4] -> `feat` f32 [1,256]; opset 17, static |
| `head.safetensors` | final layers, applied (and trained) by the program: `lift`, `joints`, `log_sigma` |
| `golden.safetensors` | six windows with every value on the way, for tests (a made-up person, no capture data) |

{operators}

Input, output, order of joints and the final layers are those of [the default lifter](../lifter/README.md), without
the image layer. What the program has learned with one lifter is not used with another.

## Figures

{size}

Millimetres, MPJPE / PA-MPJPE over 17 joints, {count:,} simulated windows of each row, seed {seed}. `measured`: errors like
those of the person network that ships. CMU and MHAD: unseen people. HDM05: a source never trained on.

| | this one | the default lifter |
| --- | --- | --- |
{rows}

All lifters in one table: [docs/lab/methods.md](../../docs/lab/methods.md#lifters).

## Where it is bad

Where the default lifter is, and more so: it has a tenth of the parameters and saw fewer windows. Size is a guess,
hidden joints are invented, poses unlike walking, sport and everyday motion are the worst.

## Origin

Motion capture only, through simulated cameras and detectors: CMU (mocap.cs.cmu.edu, "The data used in this project was
obtained from mocap.cs.cmu.edu. The database was created with funding from NSF EIA-0196217."), Berkeley MHAD (Ofli,
Chaudhry, Kurillo, Vidal, Bajcsy, WACV 2013) and ACCAD (Open Motion Project, The Ohio State University, CC BY 3.0
Unported; resampled, a subset of the joints). HDM05 was used for evaluation only: "The data used in this project was
obtained from HDM05." (Mueller, Roeder, Clausen, Eberhardt, Krueger, Weber, CG-2007-2, Universitaet Bonn 2007).
"""


def wrapped(text: str) -> str:
    """`text` in lines that a document may have."""
    return "\n".join(textwrap.wrap(text, WIDTH))


def card(name: str, table: dict[str, Any], operators: list[str]) -> str:
    """The card of backbone `name`, a row of the comparison `table`; the row `lifter` is the default one."""
    rows = {row["name"]: row for row in table["rows"]}
    row, default = rows[name], rows["lifter"]
    errors = [
        f"| {what} | {found[0]:.1f} / {found[1]:.1f} | {default['errors'][what][0]:.1f} / {default['errors'][what][1]:.1f} |"
        for what, found in row["errors"].items()
    ]
    run = row["training"]
    size = (
        f"{row['backbone_parameters']:,} numbers in the backbone and {row['head_parameters']:,} in the head, "
        f"{row['bytes'] / 1e6:.2f} MB together (default lifter: {default['bytes'] / 1e6:.2f} MB). ONNX Runtime: "
        f"{row['onnxruntime_ms']:.2f} ms of one core (default lifter, at the same time: {default['onnxruntime_ms']:.2f}). "
        f"Trained for {run['minutes']:g} minutes of one core: {run['windows']:,} windows."
    )
    return CARD.format(
        name=name, what=wrapped(WHAT[name]), operators=wrapped(f"Operators: {', '.join(operators)}."),
        size=wrapped(size), count=table["count"], seed=table["seed"], rows="\n".join(errors),
    )  # fmt: skip


def operators_of(graph: Path) -> list[str]:
    """Names of the operators of a graph, the most frequent first, without those that cost nothing."""
    counts = Counter(node.op_type for node in onnx.load(str(graph)).graph.node)
    return [name for name, _ in counts.most_common() if name not in ("Constant", "Identity")]


def main() -> None:
    """Write the card."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--table", type=Path, required=True)
    parser.add_argument("--folder", type=Path, required=True)
    args = parser.parse_args()
    name = args.folder.resolve().name.removeprefix("lifter-")
    text = card(name, json.loads(args.table.read_text()), operators_of(args.folder / "backbone.onnx"))
    (args.folder / "README.md").write_text(text)


if __name__ == "__main__":
    main()
