"""Poses from motion capture."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

F = np.float32


class Motion:
    """Frames of motion capture; weights by source and the square root of the trial's length."""

    def __init__(self, folder: Path, sources: dict[str, float], rng: np.random.Generator) -> None:
        self.rng = rng
        self.parts: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
        for name in sources:
            t = load_file(str(folder / f"motion_{name}.safetensors"))
            length = np.diff(t["starts"])
            p = np.sqrt(length) / np.sqrt(length).sum()
            self.parts.append((t["rot6d"], t["starts"], p))
        self.shares = np.array(list(sources.values())) / sum(sources.values())

    def window(self, frames: int = 27) -> np.ndarray:
        """Rotations [frames,22,3,3], newest last."""
        r6, st, p = self.parts[self.rng.choice(len(self.parts), p=self.shares)]
        k = self.rng.choice(len(p), p=p)
        t = self.rng.integers(st[k], st[k + 1])
        ix = np.maximum(np.arange(t - frames + 1, t + 1), st[k])
        a = r6[ix].astype(F).reshape(frames, 22, 2, 3)
        x = a[..., 0, :] / np.linalg.norm(a[..., 0, :], axis=-1, keepdims=True)
        y = a[..., 1, :] - (a[..., 1, :] * x).sum(-1, keepdims=True) * x
        y /= np.maximum(np.linalg.norm(y, axis=-1, keepdims=True), 1e-6)
        return np.stack([x, y, np.cross(x, y)], -1)
