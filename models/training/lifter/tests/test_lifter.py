"""Tests of the lifter's geometry, input, simulation and networks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from safetensors.torch import load_file

from detector import read_errors
from evaluate import align, load_head, measures
from export import STANDING, golden_cases
from model import Head, losses
from motion import Motion
from simulate import CLEAN, TRAINING, camera_rotation, seed_random, simulate_batch
from skeleton import (
    COCO_MIRROR,
    COCO_OF_H36M,
    H36M_MIRROR,
    H36M_NAMES,
    H36M_OF_COCO,
    JOINTS,
    coco_of_pose,
    face_hidden,
    head_axes,
)
from window import CONF_GATE, FRAMES, normalise, resample, rotation_to_axis, window_input


def made_motion() -> Motion:
    """One trial of a made-up person that walks along +z for four seconds."""
    steps = np.arange(120)[:, None, None] * np.array([0.0, 0.0, 0.03])
    joints = (STANDING[None] + steps).astype(np.float32)
    return Motion(joints=joints, starts=np.array([0, 120]), cumulative=np.array([1.0]))


def coco(pose: np.ndarray) -> np.ndarray:
    out = np.empty((JOINTS, 3))
    coco_of_pose(pose, out)
    return out


def test_face_looks_forward_and_sides_are_right() -> None:
    points = coco(STANDING)
    assert points[0, 2] > STANDING[10, 2] + 0.09  # nose ahead, facing +z
    assert points[1, 0] > 0 > points[2, 0]  # left eye on +x
    assert points[3, 0] > 0.05 and points[4, 0] < -0.05
    assert points[5, 0] > 0 > points[6, 0]
    axes = np.empty((3, 3))
    head_axes(STANDING, axes)
    assert np.allclose(axes @ axes.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(axes) == pytest.approx(1.0)


def test_index_tables_agree() -> None:
    for j, k in enumerate(COCO_OF_H36M):
        if k >= 0:
            assert H36M_OF_COCO[k] == j
            assert COCO_OF_H36M[H36M_MIRROR[j]] == COCO_MIRROR[k]


@pytest.mark.parametrize(
    ("turn", "hidden"), [(0.0, [0, 0, 0, 0, 0]), (np.pi, [1, 1, 1, 0, 0]), (np.pi / 2, [0, 0, 1, 0, 1])]
)
def test_face_points_hide_when_the_head_turns(turn: float, hidden: list[int]) -> None:
    # Camera on +z looking at the person; the person turns to the own right, showing the left side.
    c, s = np.cos(-turn), np.sin(-turn)
    about_y = np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])
    to_camera = np.diag([1.0, -1.0, -1.0])
    pose = (STANDING - STANDING[0]) @ about_y.T @ to_camera.T + [0, 0, 4]
    axes, out = np.empty((3, 3)), np.zeros(5)
    head_axes(pose, axes)
    face_hidden(pose[10], axes, out)
    assert out.tolist() == hidden


def test_camera_keeps_up_and_sides() -> None:
    # Yaw 0: the camera stands on +z and looks along -z, so a person facing +z is seen from the front.
    seen = (STANDING - STANDING[0]) @ camera_rotation(0.0, 0.0, 0.0).T
    assert seen[10, 1] < 0 < seen[3, 1]  # head up = negative y
    assert seen[11, 0] > 0 > seen[14, 0]  # the person's left is on the image's right
    assert coco(STANDING)[0, 2] > 0
    assert ((coco(STANDING)[0] - STANDING[0]) @ camera_rotation(0.0, 0.0, 0.0).T)[2] < 0
    # Pitch < 0 looks down: a point ahead on the optical axis lies below the camera.
    ahead = camera_rotation(0.0, -0.3, 0.0).T @ np.array([0.0, 0.0, 1.0])
    assert ahead[1] < 0


def test_rotation_centres_its_ray() -> None:
    r = np.empty((3, 3))
    for u, v in [(0.0, 0.0), (0.7, -0.4), (-1.5, 1.1)]:
        rotation_to_axis(u, v, r)
        turned = r @ np.array([u, v, 1.0])
        assert np.allclose(turned[:2], 0.0, atol=1e-12)
        assert np.allclose(r @ r.T, np.eye(3), atol=1e-12)
        assert np.linalg.det(r) == pytest.approx(1.0)


def sampled(times: list[float], conf: np.ndarray, rays: np.ndarray) -> np.ndarray:
    out = np.empty((FRAMES, JOINTS, 3))
    resample(np.array(times), rays, conf, out)
    return out


def test_resampling_follows_its_rules() -> None:
    conf = np.full((4, JOINTS), 0.6)
    conf[3] = 0.8
    conf[2, 3] = CONF_GATE - 0.01
    rays = np.zeros((4, JOINTS, 2))
    rays[:, :, 0] = np.arange(4.0)[:, None]
    out = sampled([-0.6, -0.3, -0.1, 0.0], conf, rays)
    assert out[26, 0].tolist() == [3.0, 0.0, 0.8]  # newest: as it is
    assert out[25, 0, 0] == pytest.approx(2.0 + 2.0 / 3.0)  # at -1/30, between -0.1 and 0
    assert out[25, 0, 2] == pytest.approx(0.6 + 0.2 * 2.0 / 3.0)
    assert out[25, 3].tolist() == [0.0, 0.0, 0.0]  # neighbour below the gate
    assert out[23, 3, 2] == 0.0 and out[23, 0, 0] == 2.0  # at -0.1: exact
    assert out[20, 0, 0] == pytest.approx(1.5)  # at -0.2: 0.2 s apart
    assert out[14, 0, 2] == 0.0  # at -0.4: 0.3 s apart is too far
    assert out[17, 0, 0] == 1.0  # at -0.3: exact again
    assert (out[:8, :, 2] == 0.0).all()  # before the first observation


def test_resampling_takes_an_observation_within_five_milliseconds() -> None:
    conf = np.full((3, JOINTS), 0.9)
    conf[1, 4] = 0.1
    rays = np.zeros((3, JOINTS, 2))
    rays[1] = 5.0
    out = sampled([-2 / 30, -1 / 30 + 0.004, 0.0], conf, rays)
    assert out[25, 0, 0] == 5.0
    assert out[25, 4, 2] == 0.0  # the exact observation is below the gate: missing
    out = sampled([-2 / 30, -1 / 30 + 0.006, 0.0], conf, rays)
    assert 0.0 < out[25, 0, 0] < 5.0


def test_input_does_not_depend_on_where_the_camera_points() -> None:
    # Turning the camera about its centre moves the rays; after rotation to the box they are the
    # same up to the box centre's perspective, so scale and coordinates stay close.
    rng = np.random.default_rng(0)
    body = rng.normal(0.0, 0.4, (JOINTS, 3)) + [0.0, 0.0, 4.0]
    turned = body @ camera_rotation(0.3, 0.2, 0.0).T @ np.diag([1.0, -1.0, -1.0]).T
    inputs = []
    for points in (body, turned):
        samples = np.ones((FRAMES, JOINTS, 3))
        samples[:, :, :2] = points[:, :2] / points[:, 2:]
        kp, r = np.empty((FRAMES, JOINTS, 4)), np.empty((3, 3))
        normalise(samples, kp, r)
        inputs.append(kp)
    assert np.abs(inputs[0][..., 3] - inputs[1][..., 3]).max() < 0.05
    assert np.abs(inputs[0][..., :2] - inputs[1][..., :2]).max() < 0.3


def test_missing_keypoints_are_zero_and_bounds_hold() -> None:
    for ns, rays, conf in golden_cases().values():
        kp, rotation, scale = window_input(ns, rays.astype(np.float64), conf.astype(np.float64))
        assert np.isfinite(kp).all() and 0.02 <= scale <= 3.0
        missing = kp[..., 2] == 0.0
        assert (kp[missing][:, :2] == 0.0).all()
        assert np.abs(kp[..., :2]).max() <= 4.0
        assert np.allclose(rotation @ rotation.T, np.eye(3), atol=1e-12)


def run(view: object, count: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    motion = made_motion()
    kp = np.empty((count, FRAMES, JOINTS, 4), np.float32)
    truth = np.empty((count, JOINTS, 3), np.float32)
    seen = np.empty((count, JOINTS), np.float32)
    seed_random(seed)
    simulate_batch(motion.joints, motion.starts, motion.cumulative, view, read_errors(), kp, truth, seen)
    return kp, truth, seen


def test_clean_simulation_projects_its_truth() -> None:
    kp, truth, seen = run(CLEAN, 50, 1)
    bones = np.linalg.norm(truth[:, 2] - truth[:, 1], axis=-1)
    assert np.allclose(bones, np.linalg.norm(STANDING[2] - STANDING[1]), atol=1e-5)
    shared = [j for j in range(JOINTS) if COCO_OF_H36M[j] >= 0]
    for n in range(50):
        # The root that fits the rays (linear in the root) leaves no residual on clean rays.
        use = [j for j in shared if seen[n, j] > 0.5]
        xy = kp[n, -1, COCO_OF_H36M[use], :2] * np.exp(kp[n, -1, 0, 3])
        rows, right = [], []
        for (u, v), (x, y, z) in zip(xy, truth[n, use], strict=True):
            rows += [[1.0, 0.0, -u], [0.0, 1.0, -v]]
            right += [u * z - x, v * z - y]
        root, *_ = np.linalg.lstsq(np.array(rows), np.array(right), rcond=None)
        assert root[2] > 0.3
        placed = truth[n, use] + root
        assert np.abs(placed[:, :2] / placed[:, 2:] - xy).max() < 2e-4


def test_training_simulation_is_seeded_and_sound() -> None:
    first, again = run(TRAINING, 400, 3), run(TRAINING, 400, 3)
    for a, b in zip(first, again, strict=True):
        assert np.array_equal(a, b)
    kp, truth, seen = first
    assert np.isfinite(kp).all() and np.isfinite(truth).all()
    present = kp[..., 2] > 0.0
    assert (kp[..., 2][present] >= CONF_GATE - 1e-6).all() and kp[..., 2].max() <= 1.0
    assert 0.3 < present.mean() < 0.95
    assert seen[:, H36M_NAMES.index("l_ankle")].mean() < 0.95
    assert (truth[:, 0] == 0.0).all()


def test_head_switches_and_root() -> None:
    torch.manual_seed(0)
    head = Head(with_image=True)
    f, g = torch.randn(5, 256), torch.randn(5, 128)
    pose, log_sigma = head(f, g)
    assert pose.shape == (5, JOINTS, 3) and log_sigma.shape == (5, JOINTS)
    assert (pose[:, 0] == 0).all()
    assert torch.allclose(head(f, g, image_on=0.0)[0], head(f)[0])
    assert not torch.allclose(pose, head(f)[0])
    assert torch.allclose(head(f, g, lift_on=0.0)[0], head(torch.zeros(5, 256), g, lift_on=0.0)[0])


def test_likelihood_is_smallest_at_the_true_spread() -> None:
    torch.manual_seed(0)
    truth = torch.zeros(20000, JOINTS, 3)
    pose = 0.05 * torch.randn(20000, JOINTS, 3)
    values = [losses(pose, torch.full((20000, JOINTS), np.log(s)), truth)[1] for s in (0.04, 0.05, 0.06)]
    assert values[1] < values[0] and values[1] < values[2]
    row = measures(pose, torch.full((20000, JOINTS), np.log(0.05)), truth, torch.ones(20000, JOINTS))
    assert row["z2"] == pytest.approx(1.0, abs=0.01)
    assert row["within90"] == pytest.approx(0.9, abs=0.01)


def test_alignment_undoes_a_similarity() -> None:
    torch.manual_seed(0)
    truth = torch.randn(4, JOINTS, 3, dtype=torch.float64)
    r = torch.from_numpy(camera_rotation(1.0, 0.4, -0.3))
    moved = 1.7 * truth @ r.T + torch.tensor([1.0, -2.0, 3.0])
    assert (align(moved, truth) - truth).abs().max() < 1e-9
    mirrored = truth * torch.tensor([-1.0, 1.0, 1.0])
    assert (align(mirrored, truth) - truth).norm(dim=-1).mean() > 0.1


def test_shipped_golden_vectors_follow_from_their_observations() -> None:
    folder = Path(__file__).resolve().parents[3] / "lifter"
    golden, head = load_file(folder / "golden.safetensors"), load_head(folder / "head.safetensors")
    session = onnxruntime.InferenceSession(str(folder / "backbone.onnx"), providers=["CPUExecutionProvider"])
    cases = {name.split(".")[0] for name in golden}
    assert cases == set(golden_cases())
    for case in cases:
        t = {name.split(".")[1]: value for name, value in golden.items() if name.startswith(case + ".")}
        kp, rotation, scale = window_input(
            t["times_ns"].numpy(), t["rays"].numpy().astype(np.float64), t["conf"].numpy().astype(np.float64)
        )
        assert np.allclose(kp, t["kp"][0].numpy(), atol=1e-6)
        assert np.allclose(rotation, t["rotation"].numpy(), atol=1e-6)
        assert scale == pytest.approx(t["scale"].item(), rel=1e-6)
        (feature,) = session.run(None, {"kp": t["kp"].numpy()})
        assert np.allclose(feature, t["feat"].numpy(), atol=1e-4)
        with torch.no_grad():
            pose, log_sigma = head(t["feat"])
        assert torch.allclose(pose[0], t["y"], atol=1e-5)
        assert torch.allclose(log_sigma[0], t["log_sigma"], atol=1e-5)
