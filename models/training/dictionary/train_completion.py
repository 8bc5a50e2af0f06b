"""Train the completion: `python train_completion.py --data a.safetensors b.safetensors --check held.safetensors --out c.pt`."""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch

from complete import LAGS, Completion, Streams, load_streams

SHARE = {"cmu": 0.42, "mhad": 0.25, "accad": 0.33, "synthetic": 1.0}
"""Share of a file's windows that each source gives."""
BIAS_M = 0.02
"""Standard deviation of what is added to the joints of a window, metres."""
LAG_DROP = 0.08
"""Chance that a step of a window is not known."""
SEEN_WEIGHT = 0.05
"""Weight of joints that are seen, against hidden ones."""


def stream_weights(streams: Streams, rare_power: float) -> np.ndarray:
    """How often each stream is drawn: by source, root of its length, rareness of its actions."""
    length = np.diff(streams.starts)
    frames = (streams.actions * length[:, None]).sum(0).clip(1)
    rare = (streams.actions * frames**-rare_power).sum(1) / streams.actions.sum(1).clip(1)
    weight = np.sqrt(length) * np.where(rare > 0, rare, rare[rare > 0].min())
    source = np.array([name.split("_")[0] for name in streams.names])
    for name, share in SHARE.items():
        weight[source == name] *= share / max(weight[source == name].sum(), 1e-9)
    return np.asarray(weight / weight.sum())


def at_lifters_size(s: Streams) -> np.ndarray:
    """The truth of each frame as large as the lifter took the person for, from the torsos of the whole stream.

    How large somebody is cannot be told from one camera: a network that is asked for it learns the few people it is
    shown by heart, and makes a child's legs longer still where the lifter took the child for an adult.
    """
    torso = [np.linalg.norm(joints[:, 8] - joints[:, 0], axis=-1) for joints in (s.lifted, s.truth)]
    out = s.truth.copy()
    for a, b in zip(s.starts[:-1], s.starts[1:], strict=True):
        out[a:b] *= np.clip(np.median(torso[0][a:b]) / np.median(torso[1][a:b]), 0.6, 1.6)
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, nargs="+", required=True)
    parser.add_argument("--check", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--start", type=Path)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--batch", type=int, default=2048)
    parser.add_argument("--rare", type=float, default=0.35, help="how much more rare actions count")
    parser.add_argument("--without", nargs="*", default=[], help="leave trials out whose name holds one of these")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(args.seed)
    rng = np.random.default_rng(args.seed)
    sets = [load_streams(str(p)) for p in args.data]
    check = load_streams(str(args.check))
    weight = np.concatenate([stream_weights(s, args.rare) for s in sets]) / len(sets)
    weight[[any(x in n for x in args.without) for s in sets for n in s.names]] = 0.0
    weight /= weight.sum()
    offset = np.cumsum([0] + [len(s.lifted) for s in sets])
    first = np.concatenate([s.starts[:-1] + o for s, o in zip(sets, offset[:-1], strict=True)])
    last = np.concatenate([s.starts[1:] + o for s, o in zip(sets, offset[:-1], strict=True)])
    features = np.concatenate([s.features for s in sets])
    seen = np.concatenate([s.seen[:, 1:] for s in sets])
    goal = np.concatenate(
        [np.einsum("tac,tjc->tja", s.turns, at_lifters_size(s)[:, 1:] - s.lifted[:, 1:]) for s in sets]
    )
    lags = np.array(LAGS)
    sets.clear()
    model = Completion()
    if args.start:
        model.load_state_dict(torch.load(args.start, weights_only=True))
    decay = [p for p in model.parameters() if p.ndim > 1]
    plain = [p for p in model.parameters() if p.ndim == 1]
    adam = torch.optim.AdamW(
        [{"params": decay, "weight_decay": 0.02}, {"params": plain, "weight_decay": 0.0}],
        lr=args.rate,
        betas=(0.9, 0.98),
    )
    begin, step, total = time.monotonic(), 0, []
    while (spent := (time.monotonic() - begin) / (60.0 * args.minutes)) < 1.0:
        for group in adam.param_groups:
            group["lr"] = args.rate * min(1.0, (step + 1) / 200) * (0.5 + 0.5 * np.cos(np.pi * spent)) + 1e-6
        rows = rng.choice(len(weight), args.batch, p=weight)
        at = (first[rows] + rng.random(args.batch) * (last[rows] - first[rows])).astype(np.int64)
        back = at[:, None] - lags
        known = back >= first[rows, None]
        x = torch.from_numpy(features[np.maximum(back, 0)]).to(torch.bfloat16)
        # Bodies of other sizes, and a lifter that is off in other ways for as long as a window lasts.
        size = torch.exp(0.08 * torch.randn(args.batch)).to(x.dtype)
        bias = (BIAS_M * torch.randn(args.batch, 1, 48)).to(x.dtype)
        noise = torch.cat([bias, bias], -1) + BIAS_M * torch.randn(args.batch, 1, 96).to(x.dtype)
        x[..., :96] = (x[..., :96] + noise) * size[:, None, None]
        x[..., 156:] *= size[:, None, None]
        known &= (rng.random(known.shape) > LAG_DROP) | (lags == 0)
        target = torch.from_numpy(goal[at]) * size.float()[:, None, None]
        with torch.autocast("cpu", torch.bfloat16):
            residual, log_sigma = model(x, torch.from_numpy(known).to(torch.bfloat16))
        error = (residual - target).norm(dim=-1)
        w = torch.from_numpy(np.where(seen[at] > 0, SEEN_WEIGHT, 1.0).astype(np.float32))
        likelihood = 3.0 * log_sigma + 0.5 * error.detach() ** 2 * torch.exp(-2.0 * log_sigma)
        loss = ((error + 0.01 * likelihood) * w).sum() / w.sum()
        adam.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        adam.step()
        step += 1
        hidden = w > 0.5
        base = target.norm(dim=-1)[hidden].mean().item()
        total.append((error.detach()[hidden].mean().item(), base))
        if step % 250 == 0:
            own, base = np.mean(total, 0) * 1e3
            total = []
            line = {"step": step, "spent": round(spent, 3), "hidden": round(own, 1), "lifter": round(base, 1)}
            if step % 1000 == 0:
                line |= measure(model, check)
                torch.save(model.state_dict(), args.out)
            print(json.dumps(line), flush=True)
    torch.save(model.state_dict(), args.out)
    print(json.dumps(measure(model, check)), flush=True)


@torch.no_grad()
def predict(model: Completion, s: Streams) -> tuple[np.ndarray, np.ndarray]:
    """Joints [N,17,3] with the residual added everywhere, and sigmas [N,17], stream by stream."""
    model.eval()
    lags = torch.tensor(LAGS)
    pose, sigma = s.lifted.copy(), s.sigma.copy()
    for a, b in zip(s.starts[:-1], s.starts[1:], strict=True):
        codes = model.codes(torch.from_numpy(s.features[a:b].astype(np.float32)))
        codes = torch.cat([torch.zeros(int(lags[-1]), codes.shape[1]), codes])
        at = torch.arange(b - a)[:, None] + lags[-1] - lags
        residual, log_sigma = model.answer(codes[at].flatten(1))
        pose[a:b, 1:] += np.einsum("tac,tja->tjc", s.turns[a:b], residual.numpy())
        sigma[a:b, 1:] = log_sigma.exp().numpy()
    model.train()
    return pose, sigma


def measure(model: Completion, s: Streams) -> dict[str, float]:
    """Hidden joints of a set, millimetres, at the lifter's size: lifter, completion."""
    pose, _ = predict(model, s)
    hidden = s.seen == 0
    hidden[:, 0] = False
    truth = at_lifters_size(s)
    lifter = np.linalg.norm(s.lifted - truth, axis=-1)[hidden].mean() * 1e3
    own = np.linalg.norm(pose - truth, axis=-1)[hidden].mean() * 1e3
    return {"check_lifter": round(float(lifter), 1), "check": round(float(own), 1)}


if __name__ == "__main__":
    main()
