"""Trains the motion denoiser: `python train_denoiser.py --motion DIR --out denoiser.pt`; `--resume` goes on from `--out`.

Recorded windows of people to train on get errors such as the lifter makes: quick and slow ones, limbs that are held for a while, and
frames that are masked. The loss is the L1 distance of all frames from the recorded motion, in the body frame of the window with
errors. What is written is the running mean of the weights. Each step draws from a generator of its own, so that a run that was
stopped ends as one that was not. At the end it prints how far masked frames of people who were held out are from the truth, beside
linear interpolation and the input itself.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from denoiser import CENTRE, CHANNELS, STEPS, Denoiser, entered, network_input, random_masks

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lifter"))

from motion import Motion, load_training  # noqa: E402
from skeleton import H36M_MIRROR, PARENTS  # noqa: E402

QUICK_M = (0.003, 0.02)
"""Standard deviation of a joint's error that is another in each frame, metres, per axis: of a window, log-uniform."""
SLOW_M = (0.01, 0.05)
"""The same of an error that changes slowly. On the device the mean error of a joint is 50 to 100 mm, most of it slow."""
SLOW_FRAMES = (6, 30)
"""Frames between two independent values of a slow error: 0.2 to 1 s."""
FAR = (0.0, 0.6, 0.8, 1.0, 0.6, 0.8, 1.0, 0.4, 0.5, 0.6, 0.7, 0.6, 0.9, 1.3, 0.6, 0.9, 1.3)
"""How much larger than the mean the error of each joint is: ends of limbs are known least."""
LIMBS = ((2, 3), (5, 6), (12, 13), (15, 16), (2, 3, 5, 6))
"""Joints that are hidden together, and then held where they were seen last."""
HELD_SHARE = 0.3
"""Share of windows in which a limb is held for a while."""
SPAN_SHARE = 0.2
"""Share of windows in which a span of frames is masked as well."""
SPAN_FRAMES = (5, 20)
"""Length of such a span, and of that for which a limb is held."""
AVERAGED = 0.998
"""Memory of the running mean of the weights."""
MASKS = 4
"""Masks whose outputs the device averages."""
SAVE_EVERY = 250
"""Steps between two checkpoints."""


def draw(motion: Motion, count: int, rng: np.random.Generator) -> Tensor:
    """Random windows [count,60,17,3], metres, relative to joint 0; another speed, another body, half of them mirrored."""
    trial = np.searchsorted(motion.cumulative, rng.random(count)).clip(max=len(motion.cumulative) - 1)
    first, end = motion.starts[trial], motion.starts[trial + 1]
    at = np.arange(STEPS) * np.exp(rng.uniform(-0.2, 0.2, (count, 1)))
    at += first[:, None] + rng.random((count, 1)) * np.maximum(end - first - at[:, -1] - 1, 0)[:, None]
    at = np.minimum(at, end[:, None] - 1)
    low = at.astype(np.int64)
    high, share = np.minimum(low + 1, end[:, None] - 1), (at - low).astype(np.float32)[..., None, None]
    joints = motion.joints[low] * (1 - share) + motion.joints[high] * share
    mirrored = rng.random(count) < 0.5
    joints[mirrored] = joints[mirrored][:, :, H36M_MIRROR] * np.array([-1, 1, 1], np.float32)
    bones = np.exp(rng.normal(0, 0.05, (count, 17))) * rng.uniform(0.85, 1.15, (count, 1))
    bones[:, [4, 5, 6]], bones[:, [11, 12, 13]] = bones[:, [1, 2, 3]], bones[:, [14, 15, 16]]
    out = np.zeros_like(joints)
    for j in range(1, 17):
        bone = joints[:, :, j] - joints[:, :, PARENTS[j]]
        out[:, :, j] = out[:, :, PARENTS[j]] + bone * bones[:, j, None, None].astype(np.float32)
    return torch.from_numpy(out)


def slow_errors(count: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Errors [count,60,17,3] of standard deviation 1 that change slowly: cosines between random values."""
    every = rng.uniform(*SLOW_FRAMES, (count, 1))
    at = np.arange(STEPS) / every + rng.random((count, 1))
    low = at.astype(np.int64)
    share = (0.5 - 0.5 * np.cos(np.pi * (at - low)))[..., None, None]
    knots = rng.normal(size=(count, STEPS // SLOW_FRAMES[0] + 3, 17, 3))
    of = np.arange(count)[:, None]
    mixed = knots[of, low] * (1 - share) + knots[of, low + 1] * share
    return np.asarray(mixed / np.sqrt(share**2 + (1 - share) ** 2))


def spans(count: int, share: float, rng: np.random.Generator) -> NDArray[np.int64]:
    """First and last frame [count,2] of a span in that share of windows; elsewhere the span is empty."""
    length = rng.integers(*SPAN_FRAMES, count, endpoint=True)
    first = (1 + rng.random(count) * (STEPS - length)).astype(np.int64)
    return np.stack([first, np.where(rng.random(count) < share, first + length, first)], 1)


def with_errors(joints: Tensor, rng: np.random.Generator) -> Tensor:
    """Windows [B,60,17,3], metres, with errors such as the lifter makes."""
    count = len(joints)
    noisy = joints.numpy().copy()
    far = np.array(FAR)[None, None, :, None]

    def level(low: float, high: float) -> NDArray[np.float64]:
        return np.asarray(np.exp(rng.uniform(math.log(low), math.log(high), (count, 1, 1, 1))))

    noisy += (far * level(*QUICK_M) * rng.normal(size=noisy.shape)).astype(np.float32)
    noisy += (far * level(*SLOW_M) * slow_errors(count, rng)).astype(np.float32)
    for window, (first, last) in enumerate(spans(count, HELD_SHARE, rng)):
        limb = list(LIMBS[rng.integers(len(LIMBS))])
        noisy[window, first:last, limb] = noisy[window, first - 1, limb][:, None]
    noisy[:, :, 0] = 0.0
    return torch.from_numpy(noisy)


def batch(motion: Motion, count: int, rng: np.random.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Input [B,60,51] with errors, the truth in the same frame, and which frames are masked, bool [B,60]."""
    truth = draw(motion, count, rng)
    x, rotation, torso = network_input(with_errors(truth, rng))
    masked = random_masks(count, torch.Generator().manual_seed(int(rng.integers(1 << 62))))
    for window, (first, last) in enumerate(spans(count, SPAN_SHARE, rng)):
        masked[window, first:last] = True
    return x, entered(truth, rotation, torso), masked


def interpolated(x: Tensor, masked: Tensor) -> Tensor:
    """Masked frames of [B,60,51] on straight lines between their neighbours; at the ends the nearest frame."""
    out = x.numpy().copy()
    for window, hidden in zip(out, masked.numpy(), strict=True):
        kept = np.flatnonzero(~hidden)
        for channel in range(CHANNELS):
            window[:, channel] = np.interp(np.arange(STEPS), kept, window[kept, channel])
    return torch.from_numpy(out)


def averaged(x: Tensor, frames: float) -> Tensor:
    """[B,60,51] averaged over time with a Gaussian of so many frames, as method `sem` smooths where it has no denoiser."""
    apart = (torch.arange(STEPS)[:, None] - torch.arange(STEPS)[None]) / frames
    weight = torch.where(apart.abs() <= 3.0, torch.exp(-0.5 * apart**2), 0.0)
    return torch.einsum("ts,bsc->btc", weight / weight.sum(1, keepdim=True), x)


@torch.no_grad()
def measure(model: nn.Module, motion: Motion, seed: int, windows: int) -> dict[str, float]:
    """Mean distance of a joint from the truth, thousandths of a torso length, of so many windows."""
    x, truth, _ = batch(motion, windows, np.random.default_rng(seed))
    masked = random_masks(windows, torch.Generator().manual_seed(seed))
    span = torch.zeros_like(masked)
    span[:, CENTRE - 7 : CENTRE + 8] = True

    def error(pose: Tensor, of: Tensor) -> float:
        apart = (pose - truth).unflatten(2, (17, 3))[:, :, 1:].norm(dim=-1)
        return round(1e3 * float(apart[of].mean()), 1)

    def denoised(hidden: Tensor) -> Tensor:
        out: Tensor = model(x * ~hidden[..., None])
        return out

    out = {}
    more = torch.Generator().manual_seed(seed + 1)
    several = torch.stack([denoised(random_masks(windows, more)) for _ in range(MASKS)]).mean(0)
    for name, hidden in (("masked", masked), ("span of 15", span)):
        out[f"{name}: input"] = error(x, hidden)
        out[f"{name}: interpolated"] = error(interpolated(x, hidden), hidden)
        out[f"{name}: denoiser"] = error(denoised(hidden), hidden)
    everything = torch.ones_like(masked)
    out["all: input"] = error(x, everything)
    out["all: averaged"] = error(averaged(x, 2.0), everything)
    out["all: denoiser, a mask"] = error(denoised(masked), everything)
    out[f"all: denoiser, mean of {MASKS} masks"] = error(several, everything)
    return out


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--motion", type=Path, required=True)
    p.add_argument("--out", type=Path, required=True)
    p.add_argument("--resume", action="store_true", help="go on from --out where a run was stopped")
    p.add_argument("--steps", type=int, default=4000)
    p.add_argument("--stop", type=int, help="stop after so many of them")
    p.add_argument("--check", type=int, default=2048, help="windows of people who were held out")
    p.add_argument("--rate", type=float, default=2e-3)
    p.add_argument("--batch", type=int, default=128)
    p.add_argument("--seed", type=int, default=1)
    a = p.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(a.seed)
    model = Denoiser()
    mean = {k: v.detach().clone() for k, v in model.state_dict().items()}
    adam = torch.optim.Adam(model.parameters(), a.rate, betas=(0.9, 0.98))
    step = 0
    if a.resume and a.out.exists():
        saved: dict[str, Any] = torch.load(a.out, weights_only=True)
        model.load_state_dict(saved["live"])
        adam.load_state_dict(saved["adam"])
        mean, step = saved["net"], saved["step"]
    began = step
    motion = load_training(a.motion)
    begin, losses = time.monotonic(), []

    def save() -> None:
        part = a.out.with_suffix(".part")
        torch.save({"net": mean, "live": model.state_dict(), "adam": adam.state_dict(), "step": step}, part)
        part.replace(a.out)

    last = min(a.steps, a.stop or a.steps)
    while step < last:
        for group in adam.param_groups:
            group["lr"] = a.rate * min(1, (step + 1) / 100) * (0.5 * (1 + math.cos(math.pi * step / a.steps)) + 1e-3)
        x, truth, masked = batch(motion, a.batch, np.random.default_rng((a.seed, step)))
        loss = (model(x * ~masked[..., None]) - truth).abs().mean()
        adam.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        adam.step()
        step += 1
        with torch.no_grad():
            for name, value in model.state_dict().items():
                mean[name].lerp_(value, 1 - min(AVERAGED, step / (step + 20)))
        losses.append(loss.item())
        if step % SAVE_EVERY == 0 or step == last:
            spent = round(time.monotonic() - begin)
            print(json.dumps({"step": step, "loss": round(float(np.mean(losses)), 5), "seconds": spent}), flush=True)
            losses = []
            save()
    model.load_state_dict(mean)
    model.eval()
    print(json.dumps(measure(model, load_training(a.motion, "held_out"), a.seed, a.check), indent=1))
    print("done", step - began)


if __name__ == "__main__":
    main()
