"""How well the ray encoder names what somebody does whom it has not seen, one person after the other left out of training.

`python leave_one_out.py --data train_11.safetensors train_12.safetensors --phrases DIR --people cmu_02 accad_male1`

For each of the people an encoder is trained without them, with the same number of steps; then windows of theirs, 15 frames apart, are
named among all phrases of which the others show motion. Windows whose phrases nobody else shows do not count. Prints one
JSON line a person.
"""

from __future__ import annotations

import argparse
import json
from functools import partial
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open

from encoder import CHANNELS, Encoder
from evaluate_encoder import embeddings, ranked
from train_encoder import Streams, fit

KIND = "rays"


def shows(person: str, wanted: bool, trial: str) -> bool:
    """Whether a trial is one of the person's, or is not."""
    return trial.startswith(f"{person}_") == wanted


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--data", type=Path, nargs="+", required=True)
    p.add_argument("--phrases", type=Path, required=True, help="folder with phrases.safetensors")
    p.add_argument("--people", nargs="+", required=True)
    p.add_argument("--steps", type=int, default=700)
    p.add_argument("--rate", type=float, default=2e-3)
    p.add_argument("--batch", type=int, default=192)
    p.add_argument("--seed", type=int, default=1)
    a = p.parse_args()
    torch.set_num_threads(1)
    with safe_open(a.phrases / "phrases.safetensors", "pt") as file:
        text = file.get_tensor("text")
    for person in a.people:
        torch.manual_seed(a.seed)
        others = Streams(a.data, people=partial(shows, person, False))
        theirs = Streams(a.data[:1], people=partial(shows, person, True))
        net = Encoder(CHANNELS[KIND])
        rng = np.random.default_rng(a.seed)
        weights, _ = fit(net, KIND, others, text, rng, a.rate, a.batch, lambda step: step / a.steps)
        net.load_state_dict(weights)
        shown = others.actions.any(0)
        cosines, streams = embeddings(net.eval(), KIND, theirs)
        cosines = cosines @ text.numpy()[shown].T
        positive = theirs.actions[streams][:, shown]
        counts = positive.any(1)
        row = {
            "person": person,
            "windows": int(counts.sum()),
            "top1": round(ranked(cosines[counts], positive[counts], 1), 3),
            "top5": round(ranked(cosines[counts], positive[counts], 5), 3),
            "chance": round(float(positive[counts].mean()), 3),
            "phrases": int(shown.sum()),
        }
        print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
