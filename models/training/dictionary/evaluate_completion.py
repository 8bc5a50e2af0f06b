"""Hidden legs: every way of completing them, on the same frames of people as they are (legs.py).

`python evaluate_completion.py --motion DIR --legs DIR --weights c.pt --prior prior.safetensors --out rows.json` prints
millimetres for each set, action and way, and the factor that makes sigma true on the people held out.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from complete import Completion, Streams, load_streams
from encoder import STEPS
from gaussian import CANDIDATES, Entries, Prior, entries_of
from mixture import SEEN_WEIGHT, SIGMA_FACTOR, blend, gate
from prior import labelled_windows
from streams import load_trials
from train_completion import predict

Array = NDArray[np.float32]
LEGS = [2, 3, 5, 6]
"""Knees and ankles of the 17 joints."""
RADIUS_90 = 2.5003
LATE = 15
"""Frames since the candidates were chosen, at worst."""
ACTIONS = (
    "walk", "squat", "sit down", "stand up", "climb stairs", "climb a ladder", "run", "jump", "bend over", "kick", "hop",
    "sneak", "lie down", "throw", "reach up", "dance", "punch", "",
)  # fmt: skip
"""'' is everything."""


class Ways(NamedTuple):
    """Completed joints of F frames of a set, and what belongs to them."""

    truth: Array
    poses: dict[str, Array]
    variances: dict[str, Array]
    margins: Array
    gates: Array
    held: NDArray[np.bool_]
    """[F,P]: the phrases that hold."""


def windows(s: Streams, at: int, first: int) -> tuple[Array, Array, NDArray[np.bool_], NDArray[np.bool_]]:
    """Lifted, sigma, seen and known of the 60 frames up to `at`; before `first` the first is repeated."""
    back = np.arange(at - STEPS + 1, at + 1)
    rows = np.maximum(back, first)
    return s.poses.lifted[rows], s.poses.sigma[rows], s.poses.seen[rows] > 0, back >= first


def every_way(s: Streams, prior: Prior, entries: Entries, model: Completion, phrases: list[str], frames: int) -> Ways:
    """Complete some frames of a set in every way."""
    rng = np.random.default_rng(3)
    first = np.repeat(s.starts[:-1], np.diff(s.starts))
    can = np.flatnonzero((s.poses.seen[:, LEGS] == 0).all(1) & (s.fresh > 0))
    some = np.sort(rng.choice(can, min(frames, len(can)), replace=False))
    held = (np.repeat(s.actions, np.diff(s.starts), axis=0) > 0)[some]
    network, network_sigma = predict(model, s)
    lifter = s.poses.lifted[some]
    poses = {"lifter": lifter, "network": network[some], "hold last": np.zeros_like(lifter)}
    poses["hold last"][:, 1:] = np.einsum(
        "tac,tja->tjc", s.turns[some], s.features[some, 48:96].astype(np.float32).reshape(-1, 16, 3)
    )
    poses["linear"] = poses["hold last"].copy()
    names = ("gaussian of all motions", "gaussian by label", "gaussian by likelihood", "gaussian")
    poses |= {name: np.empty_like(lifter) for name in names}
    variance, margins = np.empty(lifter.shape[:2], np.float32), np.empty(len(some), np.float32)
    everything = list(range(len(entries.names)))
    for i, t in enumerate(some):
        seen_before = np.flatnonzero(s.poses.seen[first[t] : t, LEGS].all(1))
        if len(seen_before) and seen_before[-1] >= 5:
            last = first[t] + seen_before[-1]
            pair = [last - 5, last]
            body = np.einsum("tac,tjc->tja", s.turns[pair], s.poses.lifted[pair])
            poses["linear"][i] += ((body[1] - body[0]) / 5.0 * min(t - last, 10)) @ s.turns[t]
        before = prior.evidence(prior.look(*windows(s, max(t - LATE, first[t]), first[t])), entries)
        best = before[1:].topk(CANDIDATES)
        margins[i] = float(best.values[0] - before[0])
        look = prior.look(*windows(s, t, first[t]))
        poses["gaussian"][i], variance[i], _ = prior.complete(look, entries, (best.indices + 1).tolist())
        poses["gaussian of all motions"][i] = prior.complete(look, entries, [0])[0]
        poses["gaussian by likelihood"][i] = prior.complete(look, entries, everything)[0]
        mine = [k for k in everything[1:] if held[i, phrases.index(entries.names[k])]] or [0]
        poses["gaussian by label"][i] = prior.complete(look, entries, mine)[0]
    gates = np.array([gate(float(m)) for m in margins], np.float32)
    variances = {"lifter": s.poses.sigma[some] ** 2, "gaussian": variance, "network": network_sigma[some] ** 2}
    poses["corrected"] = lifter + SEEN_WEIGHT * (network[some] - lifter)
    variances["corrected"] = variances["lifter"]
    order = ("corrected", "gaussian", "network")
    poses["shipped"], sigma = blend(tuple(poses[k] for k in order), tuple(variances[k] for k in order), gates)
    variances["shipped"] = sigma**2
    share = gates[:, None, None]
    poses["mean of lifter and gaussian"] = 0.5 * (lifter + poses["gaussian"])
    poses["lifter, gated: else hold last"] = share * lifter + (1 - share) * poses["hold last"]
    return Ways(s.truth[some], poses, variances, margins, gates, held)


def make_entries(prior: Prior, motion: Path, phrases: list[str]) -> Entries:
    """Entries from the training people."""
    trials = load_trials(motion, "train")
    x, rows, labels = labelled_windows(trials)
    z = (x - prior.mean.reshape(-1).numpy()) @ prior.basis.reshape(prior.rank, -1).numpy().T
    return entries_of(z, rows, [actions for _, actions in labels], phrases)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--motion", type=Path, required=True)
    parser.add_argument("--legs", type=Path, required=True)
    parser.add_argument("--phrases", type=Path, default=Path(__file__).parents[2] / "dictionary" / "phrases.json")
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--prior", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--sets", nargs="+", default=["held_out", "mhad_val", "cmu_val", "hdm05"])
    parser.add_argument("--seconds", nargs="+", default=["1", "2", "4"])
    parser.add_argument("--frames", type=int, default=400)
    args = parser.parse_args()
    torch.set_num_threads(1)
    phrases = [row["phrase"] for row in json.loads(args.phrases.read_text())]
    model = Completion().eval()
    model.load_state_dict(torch.load(args.weights, weights_only=True))
    prior = Prior(args.prior)
    entries = make_entries(prior, args.motion, phrases)
    table: list[dict[str, object]] = []
    ratios: list[Array] = []
    for name in args.sets:
        for seconds in args.seconds:
            w = every_way(
                load_streams(str(args.legs / f"{name}_{seconds}.safetensors")),
                prior,
                entries,
                model,
                phrases,
                args.frames,
            )
            error = {k: np.linalg.norm(p - w.truth, axis=-1)[:, LEGS] * 1e3 for k, p in w.poses.items()}
            if name == "held_out":
                spread = RADIUS_90 * 1e3 * np.sqrt(w.variances["shipped"][:, LEGS])
                ratios.append((error["shipped"] / spread).reshape(-1))
            inside = error["shipped"] < RADIUS_90 * 1e3 * np.sqrt(w.variances["shipped"][:, LEGS])
            for action in ACTIONS:
                mine = w.held[:, phrases.index(action)] if action else np.ones(len(w.gates), bool)
                if mine.sum() < 15:
                    continue
                row: dict[str, object] = {"set": name, "s": seconds, "action": action, "frames": int(mine.sum())}
                row |= {k: round(float(e[mine].mean()), 1) for k, e in error.items()}
                row |= {"within90": round(float(inside[mine].mean()), 3), "gate": round(float(w.gates[mine].mean()), 2)}
                table.append(row)
                change = 100 * (error["shipped"][mine].mean() / error["lifter"][mine].mean() - 1)
                print(name, seconds, action or "all", row["frames"], "lifter", row["lifter"], "shipped", row["shipped"],
                      f"{change:+.1f} %", "within90", row["within90"], "gate", row["gate"], flush=True)  # fmt: skip
    args.out.write_text("[\n" + ",\n".join(json.dumps(row) for row in table) + "\n]\n")
    if ratios:
        factor = SIGMA_FACTOR * float(np.quantile(np.concatenate(ratios), 0.9))
        print("sigma_factor from held_out:", round(factor, 3))


if __name__ == "__main__":
    main()
