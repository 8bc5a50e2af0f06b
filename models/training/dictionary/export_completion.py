"""Writes `completion.safetensors`, and the cases `complete.*` into `golden_completion.safetensors`.

`python export_completion.py --weights c.pt --prior prior.safetensors --motion DIR --legs DIR --drawn D --out ../../dictionary`
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

import gaussian
import mixture
from complete import (
    AWAY_STEPS,
    INPUTS,
    LAGS,
    LEAK,
    MOVE_MAX_M,
    SIGMA_MAX,
    SIGMA_MIN,
    Completion,
    Poses,
    Streams,
    load_streams,
    stream_features,
)
from encoder import STEPS
from evaluate_completion import make_entries

CASES = 6


def constants() -> dict[str, object]:
    """What the device reads beside the tensors."""
    return {
        "lags": LAGS, "away_steps": AWAY_STEPS, "leak": LEAK, "move_max_m": MOVE_MAX_M,
        "sigma_min_m": SIGMA_MIN, "sigma_max_m": SIGMA_MAX,
        "times": gaussian.TIMES, "seen_sigma": gaussian.SEEN_SIGMA, "repeated": gaussian.REPEATED,
        "candidates": gaussian.CANDIDATES, "gauss_weight": mixture.GAUSS_WEIGHT, "net_weight": mixture.NET_WEIGHT, "seen_weight": mixture.SEEN_WEIGHT, "picture_weight": mixture.PICTURE_WEIGHT,
        "gate_low": mixture.GATE_LOW, "gate_high": mixture.GATE_HIGH, "sigma_factor": mixture.SIGMA_FACTOR, "ramp_steps": mixture.RAMP_STEPS,
    }  # fmt: skip


def lower(covariance: torch.Tensor) -> torch.Tensor:
    """Cholesky factor of [N,R,R], the lower triangle row by row."""
    factor = torch.linalg.cholesky(covariance.double()).float()
    rows, columns = torch.tril_indices(factor.shape[1], factor.shape[1])
    return factor[:, rows, columns]


def cases_of(streams: Streams, count: int) -> list[int]:
    """Steps at which both legs are hidden and a whole window lies behind."""
    first = np.repeat(streams.starts[:-1], np.diff(streams.starts))
    hidden = (streams.poses.seen[:, [2, 3, 5, 6]] == 0).all(1)
    can = np.flatnonzero(hidden & (np.arange(len(first)) - first >= STEPS - 1))
    return [int(t) for t in np.random.default_rng(8).choice(can, count, replace=False)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--prior", type=Path, required=True)
    parser.add_argument("--motion", type=Path, required=True)
    parser.add_argument("--legs", type=Path, required=True)
    parser.add_argument("--drawn", type=Path, required=True, help="streams of drawn people: one of the cases")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    torch.set_num_threads(1)
    phrases = [row["phrase"] for row in json.loads((args.out / "phrases.json").read_text())]
    model = Completion().eval()
    model.load_state_dict(torch.load(args.weights, weights_only=True))
    prior = gaussian.Prior(args.prior)
    entries = make_entries(prior, args.motion, phrases)
    tensors = {}
    for name, layer in (("code", model.code), ("mix0", model.mix0), ("mix1", model.mix1), ("out", model.out)):
        tensors[f"complete.{name}.weight"], tensors[f"complete.{name}.bias"] = layer.weight, layer.bias
    # The Gaussian of all motions, which the gate compares with.
    tensors["complete.all.mean"] = entries.mean[0]
    tensors["complete.all.factor"] = lower(entries.covariance[:1])[0]
    plain = {k: v.detach().float().contiguous().clone() for k, v in tensors.items()}
    save_file(
        plain, args.out / "completion.safetensors", {"poised": json.dumps({"completion": constants()}, sort_keys=True)}
    )

    legs, drawn = load_streams(str(args.legs / "held_out_2.safetensors")), load_streams(str(args.drawn))
    some = [(legs, t) for t in cases_of(legs, CASES - 1)] + [(drawn, t) for t in cases_of(drawn, 1)]
    which = [entries.names.index(n) for n in ("walk", "sit down", "bend over")]
    names = (*Poses._fields, "features", "residual", "log_sigma", "gauss.pose", "gauss.variance",
             "gauss.evidence", "pose", "joint_sigma", "gate")  # fmt: skip
    cases: dict[str, list[np.ndarray]] = {name: [] for name in names}
    for streams, t in some:
        poses = streams.poses.rows(t - STEPS + 1, t + 1)
        lifted, sigma, seen = poses.lifted, poses.sigma, poses.seen
        features, turns = np.empty((STEPS, INPUTS), np.float32), np.empty((STEPS, 3, 3), np.float32)
        stream_features(poses, features, turns)
        with torch.no_grad():
            codes = model.codes(torch.from_numpy(features))
            codes = torch.cat([torch.zeros(LAGS[-1], codes.shape[1]), codes])
            at = torch.tensor([LAGS[-1] + STEPS - 1 - lag for lag in LAGS])
            residual, log_sigma = model.answer(codes[at].reshape(1, -1))
        net, net_sigma = lifted[-1].copy(), sigma[-1].copy()
        net[1:] += residual[0].numpy() @ turns[-1]
        net_sigma[1:] = log_sigma[0].exp().numpy()
        look = prior.look(lifted, sigma, seen > 0, np.ones(STEPS, bool))
        pose, variance, evidence = prior.complete(look, entries, which)
        everything = torch.cat([prior.complete(look, entries, [0])[2], evidence])
        gate = np.array([mixture.gate(float(evidence.max() - everything[0]))], np.float32)
        share = mixture.PICTURE_WEIGHT if poses.picture[-1] > 0 else mixture.SEEN_WEIGHT
        full, full_sigma = mixture.blend(
            ((lifted[-1:] + share * (net - lifted[-1:])), pose[None], net[None]),
            (sigma[-1:] ** 2, variance[None], net_sigma[None] ** 2),
            gate,
        )
        for name, value in zip(names, (*poses, features[-1], residual[0].numpy(), log_sigma[0].numpy(), pose,
                                       variance, everything.numpy(), full[0], full_sigma[0], gate[0]), strict=True):  # fmt: skip
            cases[name].append(np.asarray(value, np.float32))
    path = args.out / "golden_completion.safetensors"
    golden = {f"complete.{k}": torch.from_numpy(np.stack(v)) for k, v in cases.items()}
    golden["complete.entry.mean"], golden["complete.entry.factor"] = (
        entries.mean[which],
        lower(entries.covariance[which]),
    )
    save_file({k: v.contiguous() for k, v in golden.items()}, path)
    for name in ("completion.safetensors", "golden_completion.safetensors"):
        (args.out / name).chmod(0o644)
    print({k: tuple(v.shape) for k, v in golden.items()})


if __name__ == "__main__":
    main()
