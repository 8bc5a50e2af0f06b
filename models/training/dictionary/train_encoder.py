"""Trains the motion encoder and the ray encoder against the phrases' text vectors.

`python train_encoder.py --data A.safetensors B.safetensors --phrases DIR --minutes 8 --out encoders.pt`

InfoNCE over all phrases: of a window's cosines with every phrase, divided by a temperature, those of the phrases that
hold for its trial shall be the largest. A label covers a whole trial, so half of the loss asks that one of them be
(the sum of their probabilities), half that all be. Windows of an action are drawn against its frequency.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.numpy import load_file
from torch import Tensor

from encoder import CHANNELS, INPUTS, STEPS, Encoder

SHORTEST = 20
"""Frames of the shortest stretch that is stretched to a window by standing still at its beginning."""
NOISE_M = 0.004
"""Standard deviation of noise added to lifted joints, metres."""
TRUE_SHARE = 0.25
"""Share of motion windows taken from the truth in place of the lifter's output."""


def trials(path: Path) -> list[str]:
    """Names of the streams' trials: source, subject and trial, as in `cmu_02_01`."""
    with safe_open(path, "np") as file:
        names: list[str] = json.loads(file.metadata()["trials"])
    return names


class Streams:
    """Streams of `streams.py`, joined."""

    def __init__(
        self, paths: list[Path], without: set[int] | None = None, people: Callable[[str], bool] | None = None
    ) -> None:
        """`without`: streams with any of these phrases are left out; `people` says of a trial's name whether it is in."""
        parts = [load_file(path) for path in paths]
        self.rays, self.lifted, self.truth = (
            np.concatenate([p[k] for p in parts]) for k in ("rays", "lifted", "truth")
        )
        offsets = np.cumsum([0] + [len(p["rays"]) for p in parts])
        self.start = np.concatenate([p["starts"][:-1] + o for p, o in zip(parts, offsets, strict=False)])
        self.end = np.concatenate([p["starts"][1:] + o for p, o in zip(parts, offsets, strict=False)])
        self.actions = np.concatenate([p["actions"] for p in parts]).astype(bool)
        keep = (self.end - self.start >= SHORTEST) & self.actions.any(1)
        if people:
            keep &= np.array([people(name) for path in paths for name in trials(path)])
        if without:
            keep &= ~self.actions[:, sorted(without)].any(1)
        self.start, self.end, self.actions = self.start[keep], self.end[keep], self.actions[keep]
        frames = (self.end - self.start) @ self.actions.astype(float)
        rarity = np.where(self.actions, np.maximum(frames, 1) ** -0.5, 0).sum(1) / self.actions.sum(1)
        weight = np.sqrt(self.end - self.start) * rarity
        self.weight = weight / weight.sum()

    def windows(self, streams: NDArray[np.int64], newest: NDArray[np.int64]) -> NDArray[np.int64]:
        """Frames [N,60] of windows that end `newest` frames into their stream; before its start, its first frame."""
        at = self.start[streams, None] + newest[:, None] - np.arange(STEPS - 1, -1, -1)
        return np.maximum(at, self.start[streams, None])

    def draw(self, count: int, rng: np.random.Generator) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Frames of random windows, and their streams."""
        streams = rng.choice(len(self.start), count, p=self.weight)
        length = self.end[streams] - self.start[streams]
        first = np.minimum(STEPS - 1, length - 1)
        newest = first + (rng.random(count) * (length - first)).astype(np.int64)
        return self.windows(streams, newest), streams


def info_nce(embedding: Tensor, text: Tensor, positive: Tensor, log_scale: Tensor) -> Tensor:
    """Half: one of the positives; half: every one of them."""
    log_p = torch.log_softmax(embedding @ text.T * log_scale.exp(), -1)
    one = -torch.logsumexp(log_p.masked_fill(~positive, -torch.inf), -1)
    every = -(log_p * positive).sum(-1) / positive.sum(-1)
    return 0.5 * (one + every).mean()


def batch(data: Streams, kind: str, count: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Encoder inputs and positives of random windows."""
    at, streams = data.draw(count, rng)
    if kind == "rays":
        x = torch.from_numpy(data.rays[at].astype(np.float32))
        if rng.random() < 0.3:  # furniture over a whole window
            which = [(13, 14, 15, 16), (11, 12, 13, 14, 15, 16), (15, 16), (7, 9), (8, 10)][rng.integers(5)]
            x[: count // 4, :, list(which)] = 0
    else:
        joints = data.lifted[at].astype(np.float32)
        true = rng.random(count) < TRUE_SHARE
        joints[true] = data.truth[at[true]]
        joints += rng.normal(0, NOISE_M, (count, 1, 17, 3)) + rng.normal(0, NOISE_M, joints.shape)
        x = torch.from_numpy(joints.astype(np.float32))
    return INPUTS[kind](x), torch.from_numpy(data.actions[streams])


def fit(
    net: Encoder,
    kind: str,
    data: Streams,
    text: Tensor,
    rng: np.random.Generator,
    rate: float,
    count: int,
    progress: Callable[[int], float],
) -> tuple[dict[str, Tensor], Tensor]:
    """Trains `net` on batches of `count` windows until `progress` of the steps taken is 1; running mean of its weights,
    and the logarithm of the scale."""
    log_scale = torch.nn.Parameter(torch.tensor(math.log(12.0)))
    opt = torch.optim.AdamW([*net.parameters(), log_scale], rate, weight_decay=0.05)
    average = {k: v.detach().clone() for k, v in net.state_dict().items()}
    step, log = 0, []
    while (done := progress(step)) < 1:
        for group in opt.param_groups:
            group["lr"] = rate * min(1, (step + 1) / 100) * (0.5 * (1 + math.cos(math.pi * done)) + 1e-3)
        x, positive = batch(data, kind, count, rng)
        loss = info_nce(net(x), text, positive, log_scale)
        opt.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        opt.step()
        with torch.no_grad():
            log_scale.clamp_(math.log(5.0), math.log(40.0))
        step += 1
        keep = min(0.995, step / (step + 20))
        for name, value in net.state_dict().items():
            average[name].lerp_(value, 1 - keep) if value.dtype.is_floating_point else average[name].copy_(value)
        log.append(loss.item())
        if step % 200 == 0:
            scale = round(log_scale.exp().item(), 1)
            print(kind, step, f"{done:.2f}", round(float(np.mean(log[-200:])), 3), scale, flush=True)
    return average, log_scale.detach()


def elapsed(begin_s: float, minutes: float, _: int) -> float:
    """Share of the time that has gone since `begin_s`."""
    return (time.monotonic() - begin_s) / (60 * minutes)


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--data", type=Path, nargs="+", required=True)
    p.add_argument("--phrases", type=Path, required=True, help="folder with phrases.json and phrases.safetensors")
    p.add_argument("--minutes", type=float, required=True, help="for each encoder")
    p.add_argument("--out", type=Path, required=True)
    p.add_argument("--without", nargs="*", default=[], help="phrases whose motion is kept out")
    p.add_argument("--init", type=Path)
    p.add_argument("--rate", type=float, default=2e-3)
    p.add_argument("--batch", type=int, default=192)
    p.add_argument("--seed", type=int, default=1)
    a = p.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(a.seed)
    rng = np.random.default_rng(a.seed)
    names = [row["phrase"] for row in json.loads((a.phrases / "phrases.json").read_text())]
    with safe_open(a.phrases / "phrases.safetensors", "pt") as file:
        text = file.get_tensor("text")
    data = Streams(a.data, {names.index(w) for w in a.without})
    print(len(data.start), "streams", flush=True)
    saved: dict[str, dict[str, Tensor]] = {}
    start_from = torch.load(a.init, weights_only=True) if a.init else {}
    for kind in ("rays", "motion"):
        net = Encoder(CHANNELS[kind])
        if kind in start_from:
            net.load_state_dict(start_from[kind])
        average, log_scale = fit(
            net, kind, data, text, rng, a.rate, a.batch, partial(elapsed, time.monotonic(), a.minutes)
        )
        saved[kind] = average
        saved[f"{kind}_scale"] = {"log": log_scale}
        torch.save(saved, a.out)


if __name__ == "__main__":
    main()
