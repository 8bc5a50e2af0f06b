"""The shard format of training crops: raw arrays in a folder (README.md says what they mean)."""

from __future__ import annotations

import json
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

CROP_H, CROP_W = 192, 144
HELD_OUT = 250
"""The first rows of a shard are for measuring."""
SHAPES: dict[str, tuple[tuple[int, ...], type]] = {
    "image": ((CROP_H, CROP_W, 3), np.uint8),
    "keypoints": ((17, 4), np.float32),
    "mask": ((48, 36), np.uint8),
    "joints": ((17, 3), np.float32),
    "rays": ((27, 17, 2), np.float32),
    "camera": ((4,), np.float32),
}
FLUSH_EVERY = 500


class Writer:
    """Appends rows to a shard; the count on disk never runs ahead of the rows."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.count = folder, 0
        self.files = {name: (folder / f"{name}.bin").open("wb") for name in SHAPES}

    def __enter__(self) -> Writer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.flush()
        for file in self.files.values():
            file.close()

    def add(self, row: dict[str, NDArray[Any]]) -> None:
        """One crop."""
        for name, (shape, kind) in SHAPES.items():
            array: NDArray[Any] = np.ascontiguousarray(row[name], kind)
            if array.shape != shape:
                raise ValueError(f"{name}: shape {array.shape}, wanted {shape}")
            self.files[name].write(array.tobytes())
        self.count += 1
        if self.count % FLUSH_EVERY == 0:
            self.flush()

    def flush(self) -> None:
        """Rows first, then the count."""
        for file in self.files.values():
            file.flush()
        (self.folder / "count.json").write_text(json.dumps({"count": self.count}))


def open_shard(folder: Path) -> tuple[dict[str, NDArray[Any]], int]:
    """Read-only maps of a shard's arrays [N, ...] and N."""
    path = folder / "count.json"
    count = int(json.loads(path.read_text())["count"]) if path.exists() else 0
    if not count:
        return {}, 0
    return {n: np.memmap(folder / f"{n}.bin", t, "r", shape=(count, *s)) for n, (s, t) in SHAPES.items()}, count
