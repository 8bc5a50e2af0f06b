"""Errors of a detector as they were measured, over time, for the simulated views.

The parameters are those that ship in `src/lab/eval/detectors.toml`, and the arithmetic is that of `src/lab/eval/detector.rs`: errors
with a slow part and a quick one, a tail that lasts, confidence that tells something of the error, hidden keypoints that are given as if
they were seen, limbs that are exchanged. Lengths are shares of the person's size in the image.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numba import njit

from arrays import Floats
from skeleton import COCO_MIRROR, JOINTS

SHIPPED = Path(__file__).resolve().parents[3] / "src" / "lab" / "eval" / "detectors.toml"
LEAST_ERROR = 0.1
OUTSIDE = 0.1
"""Upper bound of the confidence of what the image does not hold."""

WEAKEST, STRONGEST = 0.3, 1.3
"""Each window's errors are between so many times the measured ones: other networks err less, and some views are harder."""
_LIMBS = np.array([[7, 9], [13, 15]], dtype=np.int64)


class Errors(NamedTuple):
    """A table of `detectors.toml`; see there for what each number means."""

    noise: Floats
    tail_share: float
    tail: float
    tail_s: float
    correlated: float
    lasts_s: float
    shared: float
    hidden: float
    confidence: float
    confidence_slope: float
    confidence_spread: float
    hallucinated: float
    hallucinated_spread: float
    swap_hz: float
    swap_s: float


def read_errors(path: Path = SHIPPED, name: str = "measured") -> Errors:
    """Read one detector; raises KeyError if the file has none of that name."""
    table = tomllib.loads(path.read_text())[name]
    mean, spread = table["hallucinated"]
    often, long_s = table["swap"]
    return Errors(
        np.array(table["noise"], dtype=np.float64),
        float(table["tail_share"]),
        float(table["tail"]),
        float(table["tail_s"]),
        float(table["correlated"]),
        float(table["lasts_s"]),
        float(table["shared"]),
        float(table["hidden"]),
        float(table["confidence"]),
        float(table["confidence_slope"]),
        float(table["confidence_spread"]),
        float(mean),
        float(spread),
        float(often),
        float(long_s),
    )


@njit(cache=True)
def vary(errors: Errors) -> Errors:
    """Draw a detector like this one: weaker or stronger errors, surer or less sure of itself."""
    scale = np.exp(np.random.uniform(np.log(WEAKEST), np.log(STRONGEST)))
    return Errors(
        errors.noise * scale * np.exp(0.2 * np.random.normal(0.0, 1.0, JOINTS)),
        errors.tail_share * np.random.uniform(0.3, 1.2),
        errors.tail * np.random.uniform(0.7, 1.1),
        errors.tail_s * np.exp(0.3 * np.random.normal()),
        min(errors.correlated * np.random.uniform(0.5, 1.5), 0.95),
        errors.lasts_s * np.exp(0.5 * np.random.normal()),
        errors.shared,
        errors.hidden * np.random.uniform(0.6, 1.1),
        errors.confidence + 0.4 * np.random.normal(),
        errors.confidence_slope * np.random.uniform(0.7, 1.5),
        errors.confidence_spread * np.random.uniform(0.6, 1.1),
        errors.hallucinated + 0.7 * np.random.normal(),
        errors.hallucinated_spread,
        errors.swap_hz * np.random.uniform(0.0, 1.5),
        errors.swap_s,
    )


@njit(cache=True)
def goes_on(on: bool, begins: float, long_s: float, step_s: float) -> bool:
    """Say whether what lasts `long_s` on the mean goes on, or begins with the chance `begins`, in this frame."""
    if on:
        return np.random.random() >= min(step_s / max(long_s, 1e-6), 1.0)
    return np.random.random() < begins


@njit(cache=True)
def err(
    errors: Errors, step_s: float, size: float, hidden: Floats, inside: Floats, points: Floats, conf: Floats
) -> None:
    """Replace true `points` [N,17,2] by what the detector says, and `conf` [N,17] by how sure it is.

    `hidden` and `inside` [N,17] are 0 or 1; frames are `step_s` apart; `size` is that of the person in the units of `points`.
    """
    kept = np.exp(-step_s / errors.lasts_s)
    fresh = np.sqrt(1.0 - kept * kept)
    common = np.random.normal(0.0, 1.0, 2)
    own = np.random.normal(0.0, 1.0, (JOINTS, 2))
    mood = np.random.normal(0.0, 1.0, JOINTS)
    wild = np.zeros(JOINTS, dtype=np.bool_)
    swapped = np.zeros(2, dtype=np.bool_)
    begins = min(step_s / max(errors.tail_s, step_s), 1.0) * errors.tail_share / (1.0 - errors.tail_share)
    slow, quick = np.sqrt(errors.correlated), np.sqrt(1.0 - errors.correlated)
    together, apart = np.sqrt(errors.shared), np.sqrt(1.0 - errors.shared)
    first = True
    for i in range(len(points)):
        for c in range(2):
            common[c] = kept * common[c] + fresh * np.random.normal()
        for j in range(JOINTS):
            mood[j] = kept * mood[j] + fresh * np.random.normal()
            if first:
                wild[j] = np.random.random() < errors.tail_share
            else:
                wild[j] = goes_on(wild[j], begins, errors.tail_s, step_s)
            length = 0.0
            for c in range(2):
                own[j, c] = kept * own[j, c] + fresh * np.random.normal()
                e = slow * (together * common[c] + apart * own[j, c]) + quick * np.random.normal()
                e *= errors.tail if wild[j] else 1.0
                length += e * e
                points[i, j, c] += e * (errors.hidden if hidden[i, j] > 0.0 else 1.0) * errors.noise[j] * size
            if hidden[i, j] > 0.0 or inside[i, j] == 0.0:
                logit = errors.hallucinated + errors.hallucinated_spread * mood[j]
            else:
                logit = errors.confidence - errors.confidence_slope * np.log(np.sqrt(length) + LEAST_ERROR)
                logit += errors.confidence_spread * mood[j]
            value = 1.0 / (1.0 + np.exp(-logit))
            conf[i, j] = value if inside[i, j] > 0.0 else min(value, OUTSIDE)
        for limb in range(2):
            swapped[limb] = goes_on(swapped[limb], errors.swap_hz * step_s, errors.swap_s, step_s)
            if swapped[limb]:
                for j in _LIMBS[limb]:
                    m = COCO_MIRROR[j]
                    for c in range(2):
                        points[i, j, c], points[i, m, c] = points[i, m, c], points[i, j, c]
                    conf[i, j], conf[i, m] = conf[i, m], conf[i, j]
        first = False
