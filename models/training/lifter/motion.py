"""Motion-capture trials: loading, and how often each one is drawn.

Trials are world joints in metres, +y up, 30 frames a second; see the data set's README for
sources and licences. What ships is trained on CMU, MHAD and ACCAD; HDM05 (share-alike) and the
validation people are only ever measured on.
"""

from __future__ import annotations

import csv
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file

from arrays import Floats, Floats32, Ints

SOURCE_SHARE = {"train_cmu": 0.42, "train_mhad": 0.25, "train_accad": 0.33}
"""Share of the training windows that each source gives."""

HELD_OUT = ("cmu_127", "cmu_16", "cmu_49", "mhad_12")
"""People of the training sources kept out of training, for calibration and model selection."""

VALIDATION = {"cmu_val": "val_cmu", "mhad_val": "val_mhad", "hdm05": "train_hdm05"}
"""Name of a validation set -> its motion file."""


@dataclass(frozen=True)
class Motion:
    """Concatenated trials: joints [N,17,3] in metres, +y up; first frames [trials+1]; weights."""

    joints: Floats32
    starts: Ints
    cumulative: Floats
    """Cumulative probability of each trial, ends at 1."""


def _rows(folder: Path, name: str) -> list[dict[str, str]]:
    split = name.split("_")[0]
    with (folder / f"index_{split}.csv").open(newline="") as file:
        rows = [r for r in csv.DictReader(file) if r["file"] == f"motion_{name}.safetensors"]
    return sorted(rows, key=lambda r: int(r["row"]))


def _joints(folder: Path, name: str) -> tuple[Floats32, Ints]:
    tensors: dict[str, NDArray[np.generic]] = load_file(folder / f"motion_{name}.safetensors")
    joints = tensors["joints17"].astype(np.float32) + tensors["pelvis"].astype(np.float32)[:, None]
    return joints, tensors["starts"].astype(np.int64)


def trial_weights(rows: list[dict[str, str]]) -> Floats:
    """Return a weight for each trial, summing to 1.

    A trial counts by the square root of its length, so that long trials do not drown short ones,
    times the mean over its actions of (frames with that action)^-1/4, so that walking does not
    drown everything else.
    """
    frames_of: dict[str, float] = defaultdict(float)
    for row in rows:
        for action in row["actions"].split("|"):
            frames_of[action] += float(row["frames"])
    weights = np.array(
        [np.sqrt(float(r["frames"])) * np.mean([frames_of[a] ** -0.25 for a in r["actions"].split("|")]) for r in rows]
    )
    return np.asarray(weights / weights.sum(), dtype=np.float64)


def load_named(folder: Path, names: list[str], shares: list[float], people: str) -> Motion:
    """Join motion files; `people` is 'all', 'train' (without HELD_OUT) or 'held_out' (only those)."""
    joints, starts, weights = [], [np.zeros(1, dtype=np.int64)], []
    offset = 0
    for name, share in zip(names, shares, strict=True):
        rows = _rows(folder, name)
        values, first = _joints(folder, name)
        keep = np.array([people == "all" or (r["subject"] in HELD_OUT) == (people == "held_out") for r in rows])
        if not keep.any():
            continue
        joints.append(values)
        starts.append(first[1:] + offset)
        offset += len(values)
        weight = trial_weights(rows) * keep
        weights.append(share * weight / weight.sum())
    total = np.concatenate(weights)
    return Motion(
        joints=np.concatenate(joints),
        starts=np.concatenate(starts),
        cumulative=np.cumsum(total / total.sum()),
    )


def load_training(folder: Path, people: str = "train") -> Motion:
    """Load the three training sources with their shares."""
    return load_named(folder, list(SOURCE_SHARE), list(SOURCE_SHARE.values()), people)


def load_validation(folder: Path, name: str) -> Motion:
    """Load one of VALIDATION."""
    return load_named(folder, [VALIDATION[name]], [1.0], "all")
