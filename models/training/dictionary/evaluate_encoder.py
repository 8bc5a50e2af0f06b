"""How well windows of two seconds are named, by people the encoders have not learned from.

`python evaluate_encoder.py --weights W --phrases DIR --data held_out.safetensors ...` prints one JSON line a file
and encoder: top-1 and top-5 among the phrases with motion (a window counts as right when the best phrase is one of
its trial's), chance, the same for phrases named with `--only`, and how well windows of the phrases named with
`--none` are told from the others by the best cosine (area under the curve).
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import safe_open

from encoder import CHANNELS, INPUTS, STEPS, Encoder, Stored
from train_encoder import Streams

HOP = 15
"""Frames from one window to the next."""

Array = NDArray[np.float32]


def load(path: Path) -> dict[str, Encoder]:
    """The encoders that a checkpoint holds, one or both, in evaluation mode."""
    saved = torch.load(path, weights_only=True)
    encoders = {}
    for kind, channels in CHANNELS.items():
        if kind in saved:
            encoders[kind] = Encoder(channels).eval()
            encoders[kind].load_state_dict(saved[kind])
    return encoders


def load_any(path: Path) -> dict[str, Encoder] | dict[str, Stored]:
    """Those of a checkpoint, or of an `encoder.safetensors`."""
    if path.suffix == ".safetensors":
        return {kind: Stored.read(path, kind) for kind in CHANNELS}
    return load(path)


def embeddings(encoder: Encoder | Stored, kind: str, data: Streams) -> tuple[Array, NDArray[np.int64]]:
    """Embeddings [W,384] of all windows, HOP apart, and their streams [W]."""
    streams, newest = [], []
    for s, (start, end) in enumerate(zip(data.start, data.end, strict=True)):
        for at in range(min(STEPS - 1, end - start - 1), end - start, HOP):
            streams.append(s)
            newest.append(at)
    frames = data.windows(np.array(streams), np.array(newest))
    source = data.rays if kind == "rays" else data.lifted
    rows = []
    with torch.no_grad():
        for at in range(0, len(frames), 512):
            x = torch.from_numpy(source[frames[at : at + 512]].astype(np.float32))
            rows.append(encoder(INPUTS[kind](x)).numpy())
    return np.concatenate(rows), np.array(streams)


def ranked(cosines: Array, positive: NDArray[np.bool_], best: int) -> float:
    """Share of windows of whose `best` highest cosines one is right."""
    order = np.argsort(-cosines, axis=1)[:, :best]
    return float(np.take_along_axis(positive, order, 1).any(1).mean())


def area(inside: Array, outside: Array) -> float:
    """Chance that a window inside the vocabulary scores higher than one outside it."""
    order = np.argsort(np.concatenate([inside, outside]), kind="stable")
    rank = np.empty(len(order))
    rank[order] = np.arange(1, len(order) + 1)
    n = len(inside)
    return float((rank[:n].sum() - n * (n + 1) / 2) / (n * len(outside)))


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--weights", type=Path, required=True, help="checkpoint, or encoder.safetensors")
    p.add_argument("--phrases", type=Path, required=True)
    p.add_argument("--data", type=Path, nargs="+", required=True)
    p.add_argument("--moving", type=Path, nargs="+", required=True, help="streams that say which phrases have motion")
    p.add_argument("--only", nargs="*", default=[], help="name among these phrases only, windows that have one of them")
    p.add_argument("--none", nargs="*", default=[], help="windows of these phrases are outside the vocabulary")
    a = p.parse_args()
    torch.set_num_threads(1)
    names = [row["phrase"] for row in json.loads((a.phrases / "phrases.json").read_text())]
    with safe_open(a.phrases / "phrases.safetensors", "np") as file:
        text = file.get_tensor("text")
    moving = Streams(a.moving).actions.any(0)
    encoders = load_any(a.weights)
    outside = np.array([name in a.none for name in names])
    only = np.array([name in a.only for name in names])
    for path in a.data:
        data = Streams([path])
        for kind, encoder in encoders.items():
            e, streams = embeddings(encoder, kind, data)
            positive = data.actions[streams]
            vocabulary = only if a.only else moving & ~outside
            inside = positive[:, vocabulary].any(1) & ~positive[:, outside].any(1)
            cosines = e @ text[vocabulary].T
            right = positive[:, vocabulary]
            row: dict[str, Any] = {"set": path.stem, "encoder": kind, "windows": int(inside.sum()),
                                   "phrases": int(vocabulary.sum())}  # fmt: skip
            row["top1"] = round(ranked(cosines[inside], right[inside], 1), 3)
            row["top5"] = round(ranked(cosines[inside], right[inside], 5), 3)
            row["chance"] = round(float(right[inside].mean()), 3)
            if a.none and outside.any():
                strange = positive[:, outside].any(1) & ~positive[:, vocabulary].any(1)
                if strange.any():
                    row["auroc_none"] = round(area(cosines[inside].max(1), cosines[strange].max(1)), 3)
                    row["strange"] = int(strange.sum())
            print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
