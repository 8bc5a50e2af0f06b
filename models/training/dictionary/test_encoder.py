"""The encoders as they are stored and read, and the keypoints of slower cameras."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from encoder import CHANNELS, STEPS, Encoder, Stored, export
from streams import slower

torch.manual_seed(1)


def test_what_is_stored_is_read_back(tmp_path: Path) -> None:
    stored = {kind: Stored.of(Encoder(channels)) for kind, channels in CHANNELS.items()}
    export(stored, {}, {}, tmp_path / "encoder.safetensors")
    for kind, encoder in stored.items():
        x = torch.randn(8, STEPS, CHANNELS[kind])
        again = Stored.read(tmp_path / "encoder.safetensors", kind)
        assert torch.allclose(again(x), encoder(x), atol=1e-6)


def test_a_slower_camera_is_joined_by_straight_lines_or_leaves_gaps() -> None:
    keypoints = np.ones((31, 17, 3), np.float32)
    keypoints[..., 0] = np.linspace(0, 1, 31)[:, None]
    assert np.allclose(slower(keypoints, 3.0, True), keypoints, atol=1e-6)
    gaps = slower(keypoints, 3.0, False)
    assert (gaps[::3, :, 2] == 1).all() and (gaps[1::3] == 0).all()
