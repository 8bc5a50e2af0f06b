"""Tests of the completion: its features, the Gaussian's algebra, the blend, and clips drawn from entries."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import mixture
from complete import (
    AWAY_STEPS,
    COCO_OF_H36M,
    H36M_MIRROR,
    INPUTS,
    LIMBS,
    MISS_GAIN,
    OWN,
    Completion,
    Poses,
    Streams,
    mirrored_poses,
    stream_features,
)
from detector import read_errors
from gaussian import Entries, Prior
from prior import fit, normalised, windows_of
from sample_clips import rigid
from streams import PARENTS, detect_as_measured, slower
from train_completion import DRAWN, SHARE, stream_weights
from window import CONF_GATE

SHIPPED = Path(__file__).resolve().parents[2] / "dictionary"
RNG = np.random.default_rng(0)


def walk(count: int) -> np.ndarray:
    """A figure of 17 joints that swings its limbs, camera frame (y down), relative to the pelvis, metres."""
    pose = np.array(
        [
            [0, 0, 0], [-0.1, 0, 0], [-0.1, 0.45, 0], [-0.1, 0.9, 0], [0.1, 0, 0], [0.1, 0.45, 0], [0.1, 0.9, 0],
            [0, -0.25, 0], [0, -0.5, 0], [0, -0.6, 0], [0, -0.7, 0], [0.2, -0.5, 0], [0.25, -0.2, 0], [0.25, 0, 0],
            [-0.2, -0.5, 0], [-0.25, -0.2, 0], [-0.25, 0, 0],
        ],
        np.float32,
    )  # fmt: skip
    out = np.repeat(pose[None], count, 0)
    swing = 0.3 * np.sin(np.arange(count) / 5.0)
    out[:, 3, 2] += swing
    out[:, 6, 2] -= swing
    return out


def test_a_measured_detector_errs_and_gives_nothing_it_did_not_see() -> None:
    body = walk(3000) + np.array([0.0, 0.0, 4.0], np.float32)
    errors = read_errors()
    found = detect_as_measured(body, 1.0, np.random.default_rng(3), 0.0, errors, True)
    again = detect_as_measured(body, 1.0, np.random.default_rng(3), 0.0, errors, True)
    np.testing.assert_array_equal(found, again)
    seen = found[..., 2] > 0.0
    assert (found[~seen] == 0.0).all() and 0.5 < seen[:, 5:].mean() < 1.0
    assert (found[seen][:, 2] >= CONF_GATE).all()
    # A hip of a person who stands still, 1.6 of 4 m tall in the image: half of its errors are below their standard deviation.
    hip = found[seen[:, 11], 11, :2]
    spread = np.median(abs(hip - np.median(hip, 0)))
    size = 1.6 / 4.0
    assert 0.3 < spread / (errors.noise[11] * size) < 1.5
    # Weaker and stronger ones where it is not to be taken as it is.
    other = detect_as_measured(body, 1.0, np.random.default_rng(3), 0.0, errors, False)
    assert not np.array_equal(found, other)


def features(seen: np.ndarray, lifted: np.ndarray) -> np.ndarray:
    count = len(lifted)
    out, turns = np.empty((count, INPUTS), np.float32), np.empty((count, 3, 3), np.float32)
    stream_features(poses_of(seen, lifted), out, turns)
    return out


def poses_of(seen: np.ndarray, lifted: np.ndarray) -> Poses:
    """Somebody three metres away whose poses nothing has changed."""
    count = len(lifted)
    return Poses(
        lifted, lifted, lifted, np.zeros_like(lifted), np.full((count, 3), [0.0, 0.0, 3.0], np.float32),
        np.full((count, 17), 0.05, np.float32), seen, np.full((count, 17, 3), 0.5, np.float32), np.zeros(count, np.float32),
    )  # fmt: skip


@pytest.mark.parametrize("step", [1.0, 1.5, 2.0, 2.3])
def test_a_slower_camera_shows_every_frame_of_its_own_and_nothing_between(step: float) -> None:
    keypoints = np.arange(1, 61, dtype=np.float32)[:, None, None] * np.ones((1, 17, 3), np.float32)
    shown = slower(keypoints, step, joined=False)
    own = np.flatnonzero(shown[:, 0, 2])
    assert len(own) in (int(60 / step), int(60 / step) + 1)
    assert np.ptp(np.diff(own)) <= 1
    np.testing.assert_array_equal(shown[own], keypoints[own])
    # What moves evenly lies on the lines, up to the last frame.
    np.testing.assert_allclose(slower(keypoints, step, joined=True)[: own[-1]], keypoints[: own[-1]], rtol=1e-5)


def test_drawn_people_have_their_share_of_all_windows() -> None:
    def of(names: list[str], lengths: list[int]) -> Streams:
        empty, poses = np.zeros(0, np.float32), poses_of(np.zeros((0, 17), np.uint8), walk(0))
        return Streams(poses, empty.astype(np.float16), empty, empty, empty.astype(np.uint8), np.cumsum([0, *lengths]),
                       empty.astype(np.uint8), names)  # fmt: skip

    drawn = [of(["drawn", "drawn"], [100, 300]), of(["drawn"], [400])]
    simulated = of(["cmu_01_01", "mhad_02", "accad_x"], [50, 50, 1000])
    weight = stream_weights([simulated, *drawn, simulated])
    assert np.isclose(weight.sum(), 1.0)
    np.testing.assert_allclose(weight[3:6], DRAWN * np.array([1, 3, 4]) / 8)
    # Each file of simulated keypoints has the same, and of it each source its share.
    np.testing.assert_allclose(weight[:3], weight[6:])
    np.testing.assert_allclose(weight[:3] / weight[:3].sum(), [SHARE["cmu"], SHARE["mhad"], SHARE["accad"]])
    np.testing.assert_allclose(stream_weights(drawn), np.array([1, 3, 4]) / 8)


def test_a_hidden_joint_is_held_where_it_was_seen_last() -> None:
    lifted = walk(40)
    seen = np.ones((40, 17), np.uint8)
    seen[20:, 3] = 0
    x = features(seen, lifted)
    held = x[:, 48 + 3 * 2 : 48 + 3 * 3]
    assert np.allclose(held[20:], held[19])
    assert np.isclose(x[25, 130 + 3], 6 / AWAY_STEPS)
    assert x[25, 113 + 3] == 0 and x[19, 113 + 3] == 1


def test_in_a_mirror_the_features_are_those_of_the_other_side() -> None:
    p = poses_of(np.ones((20, 17), np.uint8), walk(20) + RNG.normal(0, 0.01, (20, 17, 3)).astype(np.float32))
    p = p._replace(apart=RNG.normal(0, 0.02, p.lifted.shape).astype(np.float32), raw=p.lifted + 0.01)
    other = mirrored_poses(p)
    for mine, back in zip(p, mirrored_poses(other), strict=True):
        np.testing.assert_array_equal(mine, back)
    x, y = (np.empty((20, INPUTS), np.float32) for _ in range(2))
    turns = np.empty((20, 3, 3), np.float32)
    stream_features(p, x, turns)
    stream_features(other, y, turns)
    swapped = H36M_MIRROR[1:] - 1
    for first, sign in ((0, 1.0), (48, 1.0), (213, -1.0), (261, 1.0)):
        mine, theirs = (f[:, first : first + 48].reshape(20, 16, 3) for f in (x, y))
        # Axes are left, up, forward; the first look takes the place of the mirrored one.
        np.testing.assert_allclose(theirs, sign * mine[:, swapped] * [-1, 1, 1], atol=1e-5)


def test_features_do_not_depend_on_where_the_person_faces() -> None:
    lifted = walk(20)
    seen = np.ones((20, 17), np.uint8)
    turn = np.array([[0.6, 0, 0.8], [0, 1, 0], [-0.8, 0, 0.6]], np.float32)
    assert np.allclose(features(seen, lifted)[:, :96], features(seen, lifted @ turn.T)[:, :96], atol=1e-5)


def test_what_a_ray_is_missed_by_is_told_in_the_body_s_axes() -> None:
    lifted = walk(5)
    poses = poses_of(np.ones((5, 17), np.uint8), lifted)
    at = lifted + poses.root[:, None]
    rays = np.zeros((5, 17, 3), np.float32)
    for joint in LIMBS:
        rays[:, COCO_OF_H36M[joint], :2] = at[:, joint, :2] / at[:, joint, 2:]
        rays[:, COCO_OF_H36M[joint], 2] = 0.9
    wrong = int(LIMBS[4])
    rays[:, COCO_OF_H36M[wrong], 1] += 0.01
    out, turns = np.empty((5, INPUTS), np.float32), np.empty((5, 3, 3), np.float32)
    stream_features(poses._replace(rays=rays), out, turns)
    miss = out[-1, OWN : OWN + 36].reshape(12, 3) / MISS_GAIN
    # The image's down is the body's down.
    assert np.allclose(miss[4], [0, -0.01 * at[-1, wrong, 2], 0], atol=1e-6)
    assert np.abs(np.delete(miss, 4, 0)).max() < 1e-6


@pytest.fixture
def prior(tmp_path: Path) -> Prior:
    windows = normalised(windows_of(walk(400), 2))[0].reshape(-1, 3060)
    windows = windows + RNG.normal(0, 0.01, windows.shape).astype(np.float32)
    weight = np.full(len(windows), 1 / len(windows), np.float32)
    save_file({k: torch.from_numpy(v) for k, v in fit(windows, weight, 6).items()}, tmp_path / "prior.safetensors")
    return Prior(tmp_path / "prior.safetensors")


def test_a_hidden_leg_is_completed_from_the_one_that_is_seen(prior: Prior) -> None:
    window = walk(77)[17:]
    seen, sigma = np.ones((60, 17), bool), np.full((60, 17), 0.03, np.float32)
    seen[:, 3], sigma[:, 3] = False, 0.3
    wrong = window.copy()
    wrong[:, 3] += [0.2, -0.2, 0.3]
    variance = 1.0
    entries = Entries(
        ["", "walk"],
        torch.zeros(2, 6),
        torch.eye(6).repeat(2, 1, 1) / variance,
        torch.zeros(2),
        torch.eye(6).repeat(2, 1, 1),
    )
    look = prior.look(wrong, sigma, seen, np.ones(60, bool))
    pose, spread, evidence = prior.complete(look, entries, [0, 1])
    assert np.linalg.norm(pose[3] - window[-1, 3]) < 0.3 * np.linalg.norm(wrong[-1, 3] - window[-1, 3])
    assert np.isclose(*evidence.tolist())
    assert (spread > 0).all()


def test_without_weight_the_lifter_stays() -> None:
    poses = tuple(RNG.normal(size=(4, 17, 3)).astype(np.float32) for _ in range(3))
    variances = tuple(np.full((4, 17), 0.01, np.float32) for _ in range(3))
    mixed, sigma = mixture.blend(poses, variances, np.zeros(4, np.float32))
    share = mixture.NET_WEIGHT
    assert np.allclose(mixed, (1 - share) * poses[0] + share * poses[2], atol=1e-6)
    assert (sigma >= mixture.SIGMA_MIN_M).all()
    assert mixture.gate(mixture.GATE_LOW) == 0.0 and mixture.gate(mixture.GATE_HIGH) == 1.0


def test_bones_of_a_drawn_clip_keep_their_length() -> None:
    clips = rigid(RNG.normal(size=(2, 60, 17, 3)).astype(np.float32))
    for j in range(1, 17):
        length = np.linalg.norm(clips[:, :, j] - clips[:, :, PARENTS[j]], axis=-1)
        assert np.allclose(length, length[:, :1], rtol=1e-4)


def test_the_weights_that_ship_fit_the_network() -> None:
    tensors = load_file(SHIPPED / "completion.safetensors")
    golden = load_file(SHIPPED / "golden_completion.safetensors")
    model = Completion().eval()
    model.load_state_dict({k.removeprefix("complete."): v for k, v in tensors.items() if ".all." not in k})
    poses = Poses(*(golden[f"complete.{k}"][0].numpy() for k in Poses._fields))
    out, turns = np.empty((60, INPUTS), np.float32), np.empty((60, 3, 3), np.float32)
    stream_features(poses._replace(seen=poses.seen.astype(np.uint8)), out, turns)
    assert np.allclose(out[-1], golden["complete.features"][0].numpy(), atol=1e-5)
