"""Train the completion: `python train_completion.py --data a.safetensors b.safetensors --check held.safetensors --out c.pt`.

The files are those of `examples/pose_streams.rs`, simulated keypoints and drawn people; each is shown in a mirror as well.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor, nn

from complete import LAGS, LIMBS, OWN, Completion, Streams, load_streams, mirrored_streams

SHARE = {"cmu": 0.42, "mhad": 0.25, "accad": 0.33}
"""Share of a file's windows that each source gives."""
DRAWN = 0.45
"""Share of all windows that shows drawn people."""
BIAS_M = 0.01
"""Standard deviation of what is added to the joints of a window, metres."""
LAG_DROP = 0.08
"""Chance that a step of a window is not known."""
SEEN_LOSS = 0.7
"""Weight of joints that are seen, against hidden ones."""
SHAPE_WEIGHT = 1.5
"""Weight of the distance after the best similarity, beside that in place."""
STEADY_WEIGHT = 0.1
"""Weight of the error's second difference: what is right on the mean must not tremble."""


def shows_drawn(streams: Streams) -> bool:
    """Whether a file shows drawn people."""
    return all(name == "drawn" for name in streams.names)


def stream_weights(sets: list[Streams]) -> np.ndarray:
    """How often each stream of all sets is drawn: by source and root of its length; drawn people by their length."""
    weights = []
    for streams in sets:
        length = np.diff(streams.starts)
        source = np.array([name.split("_")[0] for name in streams.names])
        weight = length.astype(np.float64) if shows_drawn(streams) else np.sqrt(length)
        for name, share in SHARE.items():
            weight[source == name] *= share / max(weight[source == name].sum(), 1e-9)
        weights.append(weight if shows_drawn(streams) else weight / weight.sum())
    for kind, share in ((True, DRAWN), (False, 1.0 - DRAWN)):
        mine = [w for w, streams in zip(weights, sets, strict=True) if shows_drawn(streams) == kind]
        total = sum(w.sum() for w in mine)
        for weight in mine:
            weight *= share / total
    joined = np.concatenate(weights)
    return np.asarray(joined / joined.sum())


def at_lifters_size(s: Streams) -> np.ndarray:
    """The truth of each frame as large as the lifter took the person for, from the torsos of the whole stream.

    How large somebody is cannot be told from one camera: a network that is asked for it learns the few people it is
    shown by heart, and makes a child's legs longer still where the lifter took the child for an adult.
    """
    torso = [np.linalg.norm(joints[:, 8] - joints[:, 0], axis=-1) for joints in (s.poses.lifted, s.truth)]
    out = s.truth.copy()
    for a, b in s.spans():
        fresh = s.fresh[a:b] > 0
        out[a:b] *= np.clip(np.median(torso[0][a:b][fresh]) / np.median(torso[1][a:b][fresh]), 0.6, 1.6)
    return out


def align(pose: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
    """Rotations [N,3,3] and scales [N] of the best similarity from poses to truths [N,J,3] (Umeyama 1991)."""
    a, b = pose - pose.mean(1, keepdim=True), truth - truth.mean(1, keepdim=True)
    u, s, vh = torch.linalg.svd(a.transpose(1, 2) @ b)
    sign = torch.ones_like(s)
    sign[:, 2] = torch.sign(torch.det(u @ vh))
    return (u * sign[:, None]) @ vh, (s * sign).sum(1) / a.pow(2).sum((1, 2)).clamp(min=1e-9)


def shape_distance(pose: Tensor, truth: Tensor) -> Tensor:
    """Distance of joints after the best similarity, metres [N]; the similarity is held constant in the gradient."""
    with torch.no_grad():
        turn, scale = align(pose, truth)
    placed = scale[:, None, None] * ((pose - pose.mean(1, keepdim=True)) @ turn) + truth.mean(1, keepdim=True)
    return (placed - truth).norm(dim=-1).mean(1)


class Windows:
    """All windows of some sets: three that end one step after the other are drawn together."""

    def __init__(self, sets: list[Streams], rng: np.random.Generator) -> None:
        self.weight = stream_weights(sets)
        offset = np.cumsum([0] + [len(s.features) for s in sets])
        self.first = np.concatenate([s.starts[:-1] + o for s, o in zip(sets, offset, strict=False)])
        self.end = np.concatenate([s.starts[1:] + o for s, o in zip(sets, offset, strict=False)])
        self.features = np.concatenate([s.features for s in sets])
        self.turns = np.concatenate([s.turns for s in sets])
        self.seen = np.concatenate([s.poses.seen[:, 1:] for s in sets])
        self.fresh = np.concatenate([s.fresh for s in sets])
        self.pose = np.concatenate([np.einsum("tac,tjc->tja", s.turns, s.poses.lifted[:, 1:]) for s in sets])
        truth = [np.einsum("tac,tjc->tja", s.turns, at_lifters_size(s)[:, 1:]) for s in sets]
        self.goal = np.concatenate(truth) - self.pose
        self.rng = rng

    def draw(self, count: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Rows [3 count] and first rows of their streams."""
        which = self.rng.choice(len(self.weight), count, p=self.weight)
        first, end = self.first[which], self.end[which]
        begin = (first + self.rng.random(count) * np.maximum(end - first - 2, 1)).astype(np.int64)
        rows = np.minimum(begin[:, None] + np.arange(3), end[:, None] - 1)
        return rows.reshape(-1), np.repeat(first, 3)


def shipped(path: Path) -> dict[str, Tensor]:
    """Weights of a completion.safetensors."""
    tensors = load_file(path)
    return {f"{layer}.{part}": tensors[f"complete.{layer}.{part}"] for layer in ("code", "mix0", "mix1", "out") for part in ("weight", "bias")}  # fmt: skip


def losses(model: Completion, windows: Windows, triples: int) -> tuple[Tensor, Tensor, Tensor]:
    """Loss, mean error and mean error of the lifter of a batch, metres."""
    rng, lags = windows.rng, np.array(LAGS)
    at, first = windows.draw(triples)
    back = at[:, None] - lags
    known = back >= first[:, None]
    x = torch.from_numpy(windows.features[np.maximum(back, 0)]).to(torch.bfloat16)
    # Bodies of other sizes, and a lifter that is off in other ways for as long as a window lasts.
    size = torch.exp(0.08 * torch.randn(triples)).to(x.dtype).repeat_interleave(3)
    bias = (BIAS_M * torch.randn(triples, 1, 48)).to(x.dtype).repeat_interleave(3, 0)
    x[..., :96] = (x[..., :96] + torch.cat([bias, bias], -1)) * size[:, None, None]
    for part in (slice(156, OWN + 3 * len(LIMBS)), slice(213, 357)):
        x[..., part] *= size[:, None, None]
    known &= np.repeat(rng.random((triples, len(lags))) > LAG_DROP, 3, 0) | (lags == 0)
    target = torch.from_numpy(windows.goal[at]) * size.float()[:, None, None]
    pose = torch.from_numpy(windows.pose[at]) * size.float()[:, None, None]
    fresh = torch.from_numpy(windows.fresh[at].astype(np.float32))
    with torch.autocast("cpu", torch.bfloat16):
        residual, log_sigma = model(x, torch.from_numpy(known).to(torch.bfloat16))
    error = (residual - target).norm(dim=-1)
    weight = torch.from_numpy(np.where(windows.seen[at] > 0, SEEN_LOSS, 1.0).astype(np.float32)) * fresh[:, None]
    likelihood = 3.0 * log_sigma + 0.5 * error.detach() ** 2 * torch.exp(-2.0 * log_sigma)
    loss = ((error + 0.01 * likelihood) * weight).sum() / weight.sum()
    pelvis = torch.zeros(len(pose), 1, 3)
    shape = shape_distance(torch.cat([pelvis, pose + residual], 1), torch.cat([pelvis, pose + target], 1))
    loss = loss + SHAPE_WEIGHT * (shape * fresh).sum() / fresh.sum()
    turns = torch.from_numpy(windows.turns[at])
    apart = torch.einsum("tac,tja->tjc", turns, residual - target).unflatten(0, (triples, 3))
    # Steps without a pose of their own show a slow camera, not somebody who trembles.
    even = fresh.unflatten(0, (triples, 3)).prod(1)
    tremble = (apart[:, 2] - 2.0 * apart[:, 1] + apart[:, 0]).norm(dim=-1).mean(1)
    loss = loss + STEADY_WEIGHT * (tremble * even).sum() / even.sum().clamp(min=1.0)
    return loss, error.detach().mean(), target.norm(dim=-1).mean()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, nargs="+", required=True)
    parser.add_argument("--check", type=Path, nargs="+", required=True)
    parser.add_argument("--start", type=Path, help="completion.safetensors to begin with")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=15.0)
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--batch", type=int, default=1536)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=4)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    data = [load_streams(str(p)) for p in args.data]
    windows = Windows(data + [mirrored_streams(s) for s in data], np.random.default_rng(args.seed))
    model = Completion()
    if args.start is not None:
        model.load_state_dict(shipped(args.start))
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
        loss, own, lifter = losses(model, windows, args.batch // 3)
        adam.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        adam.step()
        step += 1
        total.append((own.item(), lifter.item()))
        if step % 500 == 0:
            own_mm, lifter_mm = np.mean(total, 0) * 1e3
            total = []
            print(json.dumps({"step": step, "spent": round(spent, 3), "own": round(own_mm, 1), "lifter": round(lifter_mm, 1)}))  # fmt: skip
            torch.save(model.state_dict(), args.out)
    torch.save(model.state_dict(), args.out)
    for path in args.check:
        print(json.dumps({"check": path.stem} | measure(model, load_streams(str(path)))), flush=True)


@torch.no_grad()
def predict(model: Completion, s: Streams) -> tuple[np.ndarray, np.ndarray]:
    """Joints [N,17,3] with the residual added everywhere, and sigmas [N,17], stream by stream."""
    model.eval()
    lags = torch.tensor(LAGS)
    pose, sigma = s.poses.lifted.copy(), s.poses.sigma.copy()
    for a, b in s.spans():
        codes = model.codes(torch.from_numpy(s.features[a:b].astype(np.float32)))
        codes = torch.cat([torch.zeros(int(lags[-1]), codes.shape[1]), codes])
        at = torch.arange(b - a)[:, None] + int(lags[-1]) - lags
        residual, log_sigma = model.answer(codes[at].flatten(1))
        pose[a:b, 1:] += np.einsum("tac,tja->tjc", s.turns[a:b], residual.numpy())
        sigma[a:b, 1:] = log_sigma.exp().numpy()
    model.train()
    return pose, sigma


def measure(model: Completion, s: Streams) -> dict[str, float]:
    """Millimetres, lifter and network: shape in all frames and in those where all is seen; hidden joints in place."""
    answer, _ = predict(model, s)
    fresh = s.fresh > 0
    truth, sized = torch.from_numpy(s.truth[fresh]), at_lifters_size(s)[fresh]
    seen = s.poses.seen[fresh] > 0
    hidden = ~seen
    hidden[:, 0] = False
    out = {}
    for name, pose in (("lifter", s.poses.lifted[fresh]), ("network", answer[fresh])):
        shape = shape_distance(torch.from_numpy(pose), truth).numpy()
        out[f"{name}_shape"] = float(shape.mean())
        out[f"{name}_shape_all_seen"] = float(shape[seen.all(1)].mean())
        out[f"{name}_hidden"] = float(np.linalg.norm(pose - sized, axis=-1)[hidden].mean())
    return {key: round(1e3 * value, 2) for key, value in out.items()}


if __name__ == "__main__":
    main()
