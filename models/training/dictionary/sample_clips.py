"""Clips drawn from entries: `python sample_clips.py --motion DIR --prior prior.safetensors --out samples.png`.

A draw is a point of the entry's Gaussian; its window becomes a clip of two seconds: bones get their mean lengths over
the window, and the pelvis moves so that the lower foot stands. Prints how plausible clips are, beside real windows.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from encoder import STEPS
from evaluate_completion import make_entries
from gaussian import Entries, Prior
from prior import labelled_windows
from streams import PARENTS, load_trials

Array = NDArray[np.float32]
SHOWN = ("walk", "run", "sit down", "squat", "jumping jacks", "wave with both hands", "punch", "climb stairs")
STAND = 0.12
"""A foot within this height of the lowest, torso lengths, can stand."""


def draw(prior: Prior, entries: Entries, entry: int, count: int, rng: np.random.Generator) -> Array:
    """Windows [count,60,17,3] in the body frame, torso lengths."""
    factor = np.linalg.cholesky(entries.covariance[entry].double().numpy())
    z = entries.mean[entry].numpy() + rng.normal(size=(count, prior.rank)) @ factor.T
    flat = prior.mean.reshape(-1).numpy() + z @ prior.basis.reshape(prior.rank, -1).numpy()
    return np.asarray(flat.reshape(count, STEPS, 17, 3), np.float32)


def rigid(windows: Array) -> Array:
    """Set each bone to its mean length over the window."""
    out = np.zeros_like(windows)
    for j in range(1, 17):
        bone = windows[:, :, j] - windows[:, :, PARENTS[j]]
        length = np.linalg.norm(bone, axis=-1, keepdims=True)
        out[:, :, j] = out[:, :, PARENTS[j]] + bone / np.maximum(length, 1e-6) * length.mean(1, keepdims=True)
    return out


def standing(windows: Array) -> Array:
    """Add the way of the pelvis: the lower ankle stays where it is on the ground, and no ankle goes below it.

    The body's long axis counts as up, which holds for people who are upright over the window.
    """
    out = windows.copy()
    for clip in out:
        feet = clip[:, [3, 6]]
        lower = feet[:, :, 1].argmin(1)
        way = np.zeros((STEPS, 3), np.float32)
        for t in range(1, STEPS):
            foot = lower[t]
            if feet[t, 1 - foot, 1] - feet[t, foot, 1] < STAND and lower[t - 1] != foot:
                foot = lower[t - 1]  # both near the ground: the foot that stood goes on standing
                lower[t] = foot
            way[t] = way[t - 1] - (feet[t, foot] - feet[t - 1, foot])
        way[:, 1] = -feet[:, :, 1].min(1)
        clip += way[:, None]
    return out


def measures(windows: Array) -> dict[str, float]:
    """Bone length's relative standard deviation, median and 95 % speeds and accelerations (torso lengths, seconds)."""
    bones = np.stack([np.linalg.norm(windows[:, :, j] - windows[:, :, PARENTS[j]], axis=-1) for j in range(1, 17)], -1)
    speed = np.linalg.norm(np.diff(windows, axis=1), axis=-1) * 30.0
    change = np.linalg.norm(np.diff(windows, n=2, axis=1), axis=-1) * 900.0
    return {
        "bones": round(float((bones.std(1) / bones.mean(1)).mean()), 4),
        "speed": round(float(speed.mean()), 2),
        "speed95": round(float(np.quantile(speed, 0.95)), 2),
        "acceleration": round(float(change.mean()), 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--motion", type=Path, required=True)
    parser.add_argument("--phrases", type=Path, default=Path(__file__).parents[2] / "dictionary" / "phrases.json")
    parser.add_argument("--prior", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    torch.set_num_threads(1)
    phrases = [row["phrase"] for row in json.loads(args.phrases.read_text())]
    prior = Prior(args.prior)
    entries = make_entries(prior, args.motion, phrases)
    real, rows, labels = labelled_windows(load_trials(args.motion, "held_out") + load_trials(args.motion, "mhad_val"))
    rng = np.random.default_rng(4)
    pictures = []
    for name in SHOWN:
        if name not in entries.names:
            continue
        raw = draw(prior, entries, entries.names.index(name), 64, rng)
        clips = rigid(raw)
        line: dict[str, object] = {"entry": name, "drawn": measures(raw), "rigid": measures(clips)}
        mine = real[np.isin(rows, [i for i, (_, actions) in enumerate(labels) if name in actions])]
        if len(mine):
            mine = mine.reshape(-1, STEPS, 17, 3)
            line["real, others"] = measures(mine)
            flat, known = clips.reshape(len(clips), -1), mine.reshape(len(mine), -1)
            far = np.sqrt(((flat[:, None] - known[None, :400]) ** 2).sum(-1) / (STEPS * 17))
            apart = np.sqrt(((known[:64, None] - known[None, -400:]) ** 2).sum(-1) / (STEPS * 17))
            line["nearest real"] = round(float(far.min(1).mean()), 3)
            line["real to real"] = round(float(np.median(apart)), 3)
        print(json.dumps(line), flush=True)
        pictures.append((name, standing(clips[:2])))
    picture(pictures, args.out)


def picture(clips: list[tuple[str, Array]], path: Path) -> None:
    """Two draws an entry, eight moments each, seen from the front's left."""
    import cv2

    cell = 130
    image = np.full((cell * len(clips), cell * 17, 3), 255, np.uint8)
    turn = np.array([[np.cos(0.6), 0.0, np.sin(0.6)], [0.0, 1.0, 0.0]])
    for r, (name, both) in enumerate(clips):
        for c in range(16):
            pose = both[c // 8, (c % 8) * 8 + 3]
            flat = (pose - pose[0] * [1, 0, 1]) @ turn.T
            points = np.stack([flat[:, 0], -flat[:, 1]], 1) * 26 + [cell * (c + 1.5), cell * (r + 1) - 8]
            for j in range(1, 17):
                colour = (
                    (200, 60, 30)
                    if j in (4, 5, 6, 11, 12, 13)
                    else (30, 60, 200)
                    if j in (1, 2, 3, 14, 15, 16)
                    else (60, 60, 60)
                )
                a, b = points[PARENTS[j]].astype(int), points[j].astype(int)
                cv2.line(image, tuple(map(int, a)), tuple(map(int, b)), colour, 2, cv2.LINE_AA)
        cv2.putText(image, name, (4, cell * r + 70), cv2.FONT_HERSHEY_SIMPLEX, 0.42, (0, 0, 0), 1, cv2.LINE_AA)
    cv2.imwrite(str(path), image)


if __name__ == "__main__":
    main()
