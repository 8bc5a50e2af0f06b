"""A ring of simulated windows on disk: one process writes, the training reads.

`python pool.py --motion DIR --pool DIR` fills the ring and then keeps replacing its oldest
windows until it is stopped (or, with --once, stops when it is full).
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detector import read_errors
from motion import SOURCE_SHARE, load_named
from simulate import PARTS, TRAINING, seed_random, simulate_batch, without
from skeleton import JOINTS
from window import FRAMES

CHUNK = 4096


class Pool:
    """Memory-mapped ring: points f16 [N,27,51], ln s f32 [N], truth f32 [N,17,3], chunks written."""

    def __init__(self, folder: Path, size: int | None = None) -> None:
        """Open the ring in `folder`, or make one of `size` windows (a multiple of CHUNK)."""
        mode: str = "r"
        if size is not None:
            folder.mkdir(parents=True, exist_ok=True)
            mode = "w+"
            (folder / "size").write_text(str(size))
        n = int((folder / "size").read_text())
        self.size = n
        self.points: NDArray[np.float16] = self._open(folder / "points", mode, np.float16, (n, FRAMES, JOINTS * 3))
        self.log_scale: NDArray[np.float32] = self._open(folder / "log_scale", mode, np.float32, (n,))
        self.truth: NDArray[np.float32] = self._open(folder / "truth", mode, np.float32, (n, JOINTS, 3))
        self.written: NDArray[np.int64] = self._open(folder / "written", mode, np.int64, (1,))

    @staticmethod
    def _open(path: Path, mode: str, kind: type, shape: tuple[int, ...]) -> Any:
        return np.memmap(path, dtype=kind, mode=mode, shape=shape)  # type: ignore[call-overload]

    def filled(self) -> int:
        """Return how many windows can be read."""
        return min(int(self.written[0]) * CHUNK, self.size)

    def sample(
        self, rng: np.random.Generator, count: int, limit: int = 0
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return (frames [count,27,52], truth [count,17,3]) of windows drawn with replacement.

        With a `limit` only the first so many windows are drawn from.
        """
        rows = np.sort(rng.integers(0, min(self.filled(), limit or self.size), count))
        frames = np.empty((count, FRAMES, JOINTS * 3 + 1), dtype=np.float32)
        frames[:, :, : JOINTS * 3] = self.points[rows]
        frames[:, :, JOINTS * 3] = self.log_scale[rows, None]
        return frames, np.asarray(self.truth[rows])


def main() -> None:
    """Fill the ring."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--motion", type=Path, required=True)
    parser.add_argument("--pool", type=Path, required=True)
    parser.add_argument("--size", type=int, default=196 * CHUNK)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--once", action="store_true")
    parser.add_argument("--sources", nargs="+", default=list(SOURCE_SHARE), help="motion files, e.g. train_sampled")
    parser.add_argument("--without", nargs="+", choices=list(PARTS), default=[], help="halves of PersPose left out")
    args = parser.parse_args()
    view = without(TRAINING, args.without)
    shares = [SOURCE_SHARE.get(name, 1.0) for name in args.sources]
    motion = load_named(args.motion, args.sources, shares, "train")
    pool = Pool(args.pool, args.size)
    errors = read_errors()
    seed_random(args.seed)
    kp = np.empty((CHUNK, FRAMES, JOINTS, 4), dtype=np.float32)
    truth = np.empty((CHUNK, JOINTS, 3), dtype=np.float32)
    seen = np.empty((CHUNK, JOINTS), dtype=np.float32)
    chunk = 0
    while not (args.once and chunk * CHUNK >= args.size):
        simulate_batch(motion.joints, motion.starts, motion.cumulative, view, errors, kp, truth, seen)
        rows = slice(chunk * CHUNK % args.size, chunk * CHUNK % args.size + CHUNK)
        pool.points[rows] = kp[:, :, :, :3].reshape(CHUNK, FRAMES, JOINTS * 3)
        pool.log_scale[rows] = kp[:, 0, 0, 3]
        pool.truth[rows] = truth
        chunk += 1
        pool.written[0] = chunk


if __name__ == "__main__":
    main()
