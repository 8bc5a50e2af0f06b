"""Motion drawn from the dictionary's entries, as a motion file that the lifter's training reads.

`python sampled_motion.py --motion DIR --prior prior.safetensors --out DIR2` writes `motion_train_sampled.safetensors` and
`index_train.csv`: clips of two seconds of nobody in particular, as many of each entry. `../lifter/pool.py --sources
train_sampled --motion DIR2` makes windows of them; how well a lifter trained on these alone does on real motion says how
much of motion the entries hold.
"""

from __future__ import annotations

import argparse
import csv
import json
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import save_file

from encoder import STEPS
from evaluate_completion import make_entries
from gaussian import Prior
from prior import normalised, windows_of
from sample_clips import draw, rigid, standing
from streams import load_trials

NAME = "train_sampled"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--motion", type=Path, required=True)
    parser.add_argument("--phrases", type=Path, default=Path(__file__).parents[2] / "dictionary" / "phrases.json")
    parser.add_argument("--prior", type=Path, required=True)
    parser.add_argument("--each", type=int, default=60, help="clips of each entry")
    parser.add_argument("--seed", type=int, default=4)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    torch.set_num_threads(1)
    phrases = [row["phrase"] for row in json.loads(args.phrases.read_text())]
    prior = Prior(args.prior)
    entries = make_entries(prior, args.motion, phrases)
    trials = load_trials(args.motion, "train")
    torso = float(np.median(np.concatenate([normalised(windows_of(t.joints, STEPS))[2] for t in trials])))
    rng = np.random.default_rng(args.seed)
    clips, rows = [], []
    for entry, name in enumerate(entries.names):
        if not name:
            continue  # all motions together
        drawn = standing(rigid(draw(prior, entries, entry, args.each, rng))) * torso
        clips.append(drawn)
        rows += [name] * args.each
    joints = np.concatenate(clips).reshape(-1, 17, 3).astype(np.float32)
    pelvis = np.ascontiguousarray(joints[:, 0])
    args.out.mkdir(parents=True, exist_ok=True)
    save_file(
        {
            "joints17": joints - pelvis[:, None],
            "pelvis": pelvis,
            "starts": np.arange(0, len(joints) + 1, STEPS, dtype=np.int64),
        },
        args.out / f"motion_{NAME}.safetensors",
    )
    with (args.out / "index_train.csv").open("w", newline="") as file:
        out = csv.writer(file)
        out.writerow(["file", "row", "subject", "frames", "actions"])
        for row, name in enumerate(rows):
            out.writerow([f"motion_{NAME}.safetensors", row, "nobody", STEPS, name])
    print(f"{len(rows)} clips of {len(rows) // args.each} entries, torso {torso:.3f} m")


if __name__ == "__main__":
    main()
