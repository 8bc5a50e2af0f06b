"""Entries as Gaussians, and completion by them: conditioning on the lifter's joints, seen and hidden.

The device does the same (`src/motion/`). Everything is in the body frame of the window and in torso lengths.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor

from encoder import STEPS
from prior import normalised

Array = NDArray[np.float32]
SHRINK_WINDOWS = 30.0
"""Windows of all motions that an entry's covariance is mixed with."""
VARIANCE_MIN = 1e-6
"""Added to an entry's covariance in every direction."""
TIMES = tuple(range(5, STEPS, 6))
"""Frames of a window that are looked at: every sixth, the newest among them."""
SEEN_SIGMA = 0.05
"""Error of the lifter where it sees a joint, torso lengths, per axis. Where it does not, its own sigma counts."""
REPEATED = 4.0
"""The lifter's errors last: so many looks at the same joint count as one."""
CANDIDATES = 3
"""Entries that are conditioned at every frame."""


class Entries(NamedTuple):
    """Gaussians in the shared basis: E entries, rank R; the first is that of all motions."""

    names: list[str]
    mean: Tensor
    precision: Tensor
    log_det: Tensor
    """ln of the precision's determinant."""
    covariance: Tensor


def entries_of(z: Array, rows: NDArray[np.int64], labels: list[list[str]], phrases: list[str]) -> Entries:
    """Gaussians of all motions and of each phrase that has motion; z [W,R], the row of labels of each window."""
    z = z.astype(np.float64)
    shared = np.cov(z.T, bias=True)
    names, means, covariances = [""], [z.mean(0)], [shared]
    for phrase in phrases:
        mine = z[np.isin(rows, [i for i, actions in enumerate(labels) if phrase in actions])]
        if len(mine) == 0:
            continue
        apart = mine - mine.mean(0)
        names.append(phrase)
        means.append(mine.mean(0))
        covariances.append((apart.T @ apart + SHRINK_WINDOWS * shared) / (len(mine) + SHRINK_WINDOWS))
    covariance = np.stack(covariances) + VARIANCE_MIN * np.eye(z.shape[1])
    precision = np.linalg.inv(covariance)
    log_det = np.linalg.slogdet(precision)[1]
    mean, p, d, c = (torch.from_numpy(x.astype(np.float32)) for x in (np.stack(means), precision, log_det, covariance))
    return Entries(names, mean, p, d, c)


class Look(NamedTuple):
    """What one window says about z: precision [R,R] and information [R]; and the way back to the lifter's frame."""

    precision: Tensor
    information: Tensor
    rotation: Array
    torso: float


class Prior:
    """The shared basis, and completion in it."""

    def __init__(self, path: Path) -> None:
        tensors = {k: v.float() for k, v in load_file(path).items() if k.startswith("prior.")}
        self.mean = tensors["prior.mean"].reshape(STEPS, 17, 3)
        self.basis = tensors["prior.basis"].reshape(-1, STEPS, 17, 3)
        self.noise = tensors["prior.noise"]
        self.rank = len(self.basis)
        times = list(TIMES)
        self.looked_basis = self.basis[:, times, 1:].reshape(self.rank, -1).contiguous()
        self.looked_mean = self.mean[times, 1:].reshape(-1)
        self.newest_basis = self.basis[:, -1].reshape(self.rank, -1).contiguous()

    def look(self, lifted: Array, sigma: Array, seen: NDArray[np.bool_], known: NDArray[np.bool_]) -> Look:
        """Window lifted [60,17,3], sigma [60,17] metres, seen [60,17], known [60] (not known: before the first frame)."""
        x, rotation, torso = normalised(lifted[None])
        times = list(TIMES)
        variance = np.where(seen[times, 1:], SEEN_SIGMA**2, (sigma[times, 1:] / torso[0]) ** 2) * REPEATED
        weight = known[times, None] / (variance + self.noise[1:].numpy())
        w = torch.from_numpy(weight.astype(np.float32)).repeat_interleave(3, 1).reshape(-1)
        y = torch.from_numpy(x[0, times, 1:].reshape(-1)) - self.looked_mean
        weighted = self.looked_basis * w
        return Look(weighted @ self.looked_basis.T, weighted @ y, rotation[0], float(torso[0]))

    def complete(self, look: Look, entries: Entries, which: list[int]) -> tuple[Array, Array, Tensor]:
        """Newest pose [17,3] (the lifter's frame, metres), its variance [17] per axis, evidence [len(which)]."""
        precision, mean = entries.precision[which], entries.mean[which]
        own = torch.einsum("erk,ek->er", precision, mean)
        lower = torch.linalg.cholesky(precision + look.precision)
        right = own + look.information
        z = torch.cholesky_solve(right[..., None], lower)[..., 0]
        evidence = 0.5 * ((right * z).sum(1) - (own * mean).sum(1) + entries.log_det[which])
        evidence -= torch.diagonal(lower, dim1=1, dim2=2).log().sum(1)
        share = torch.softmax(evidence, 0)
        poses = self.mean[-1].reshape(-1) + z @ self.newest_basis
        pose = share @ poses
        best = int(share.argmax())
        spread = torch.linalg.solve_triangular(lower[best], self.newest_basis, upper=False).pow(2).sum(0)
        spread = spread + share @ (poses - pose).pow(2)
        variance = spread.reshape(17, 3).mean(1) + self.noise
        placed = (pose.reshape(17, 3).numpy() @ look.rotation) * look.torso
        return placed.astype(np.float32), (variance * look.torso**2).numpy(), evidence

    def evidence(self, look: Look, entries: Entries) -> Tensor:
        """Evidence [E] of a window for every entry."""
        return self.complete(look, entries, list(range(len(entries.names))))[2]
