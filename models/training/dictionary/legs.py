"""Streams of people as they are, with the legs hidden for a while: `python legs.py --motion DIR --out DIR`.

Writes `SET_SECONDS.safetensors` in the format of streams.py. The legs vanish after 1.5 s for so many seconds, are
seen for 1.5 s, vanish again. Nobody is resized: how large a person is cannot be known from one camera, and an error
that every way of completing shares says nothing about them.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import save_file

from streams import before_camera, detect, lift, load_lifter, load_trials, seen_joints

SETS = {"mhad_val": 1, "cmu_val": 3, "hdm05": 1, "held_out": 1}
"""Set -> cameras for each trial."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--motion", type=Path, required=True)
    parser.add_argument("--phrases", type=Path, default=Path(__file__).parents[2] / "dictionary" / "phrases.json")
    parser.add_argument("--lifter", type=Path, help="as in streams.py")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--sets", nargs="+", choices=SETS, default=[*SETS])
    parser.add_argument("--seconds", type=float, nargs="+", default=[2.0, 4.0, 1.0])
    args = parser.parse_args()
    torch.set_num_threads(1)
    args.out.mkdir(parents=True, exist_ok=True)
    phrases = [row["phrase"] for row in json.loads(args.phrases.read_text())]
    model = load_lifter(args.lifter) if args.lifter else None
    for name in args.sets:
        trials = load_trials(args.motion, name)
        for seconds in args.seconds:
            rng = np.random.default_rng(round(10 * seconds))
            parts: dict[str, list[np.ndarray]] = {k: [] for k in ("rays", "lifted", "sigma", "truth", "seen")}
            starts, actions, names = [0], [], []
            for trial in trials:
                if len(trial.joints) < 50:
                    continue
                for _ in range(SETS[name]):
                    camera, half = before_camera(trial.joints, rng, True)
                    rays = detect(camera, half, rng, seconds, True)
                    lifted, sigma = lift(model, rays)
                    parts["rays"].append(rays.astype(np.float16))
                    parts["lifted"].append(lifted.astype(np.float16))
                    parts["sigma"].append(sigma.astype(np.float16))
                    parts["truth"].append((camera - camera[:, :1]).astype(np.float16))
                    parts["seen"].append(seen_joints(rays).astype(np.uint8))
                    starts.append(starts[-1] + len(rays))
                    actions.append([int(phrase in trial.actions) for phrase in phrases])
                    names.append(trial.name)
            tensors = {k: np.concatenate(v) for k, v in parts.items()}
            tensors |= {"starts": np.array(starts, np.int64), "actions": np.array(actions, np.uint8)}
            save_file(tensors, args.out / f"{name}_{seconds:g}.safetensors", {"trials": json.dumps(names)})
            print(name, seconds, len(names), "streams", flush=True)


if __name__ == "__main__":
    main()
