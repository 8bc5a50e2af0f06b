"""The completion that ships: lifter, Gaussian of the action and network, weighed; and how sure it is."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
GAUSS_WEIGHT, NET_WEIGHT = 0.3, 0.7
"""Weights of the Gaussian (times the gate) and of the network; the lifter, corrected, has the rest."""
SEEN_WEIGHT, PICTURE_WEIGHT = 0.5, 1.0
"""Weight of the network's residual where the head saw keypoints alone, and where it saw the picture. The first opinion below is
that pose, hidden joints included."""
GATE_LOW, GATE_HIGH = -10.0, 14.0
"""Evidence of the best entry less that of all motions: the Gaussian is left out below, has its full weight above."""
SIGMA_FACTOR = 1.2
"""Makes 90 % of the errors of held-out people lie within 2.5 sigma, size included, in `poised eval`."""
SIGMA_MIN_M = 0.01
RAMP_STEPS = 6.0
"""Steps of 1/30 s after which a hidden joint is completed with the full weights. Of a joint that was there a moment ago the
lifter knows most. Applied on the device, per joint; legs that are hidden for a second are hardly touched by it."""


def gate(margin: float) -> float:
    """Share of the Gaussian's weight."""
    return min(max((margin - GATE_LOW) / (GATE_HIGH - GATE_LOW), 0.0), 1.0)


def blend(poses: tuple[Array, ...], variances: tuple[Array, ...], open_gate: Array) -> tuple[Array, Array]:
    """Joints [N,17,3] and sigmas [N,17] of (corrected lifter, Gaussian, network), variances [N,17] per axis, gate [N].

    The variance is that of a mixture: the weighted mean of the variances and of the squared distances from the mean
    (a third of them for each axis).
    """
    gauss = GAUSS_WEIGHT * open_gate
    weights = (1.0 - gauss - NET_WEIGHT, gauss, np.full_like(gauss, NET_WEIGHT))
    pose = sum(w[:, None, None] * p for w, p in zip(weights, poses, strict=True))
    variance = sum(
        w[:, None] * (v + ((p - pose) ** 2).sum(-1) / 3.0) for w, v, p in zip(weights, variances, poses, strict=True)
    )
    sigma = np.maximum(SIGMA_FACTOR * np.sqrt(variance), SIGMA_MIN_M)
    return np.asarray(pose, np.float32), np.asarray(sigma, np.float32)
