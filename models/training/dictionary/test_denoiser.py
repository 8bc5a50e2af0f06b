"""Tests of the motion denoiser: its shape, its masks, the errors it is trained with, its files, and a training that goes on."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file
from safetensors.torch import load_file

from denoiser import BLOCKS, CENTRE, CHANNELS, MASKED, STEPS, Denoiser, network_input, random_masks, shipped, write
from export_denoiser import golden
from train_denoiser import FAR, averaged, batch, draw, interpolated, load_training, measure, slow_errors, with_errors

HERE = Path(__file__).resolve().parent
SHIPPED = HERE.parents[1] / "dictionary"
SOURCES = ("cmu", "mhad", "accad")


@pytest.fixture
def motion(tmp_path: Path) -> Path:
    """A folder with a made-up trial of each source, and one of a person who is held out: limbs that swing."""
    at = np.arange(200)
    joints = np.zeros((400, 17, 3), np.float32)
    joints[:, :, 1] = [0, 0, -0.4, -0.8, 0, -0.4, -0.8, 0.25, 0.5, 0.6, 0.7, 0.5, 0.3, 0.1, 0.5, 0.3, 0.1]
    joints[:, :, 0] = np.array([0, -1, -1, -1, 1, 1, 1, 0, 0, 0, 0, 2, 2, 2, -2, -2, -2]) * 0.1
    joints[:, [3, 6, 13, 16], 2] += 0.3 * np.sin(np.tile(at, 2) / 6.0)[:, None]
    for source in SOURCES:
        name = f"motion_train_{source}.safetensors"
        pelvis = np.zeros((400, 3), np.float32)
        starts = np.array([0, 200, 400], np.int64)
        save_file({"joints17": joints, "pelvis": pelvis, "starts": starts}, tmp_path / name)
    rows = ["row,id,subject,file,start,frames,actions"]
    for source, held in zip(SOURCES, ("cmu_16", "mhad_12", "accad_1"), strict=True):
        for row, person in enumerate((f"{source}_99", held)):
            file = f"motion_train_{source}.safetensors"
            rows.append(f"{row},{person}_1,{person},{file},{200 * row},200,walk")
    (tmp_path / "index_train.csv").write_text("\n".join(rows) + "\n")
    return tmp_path


def test_it_has_the_size_of_the_paper_and_begins_as_a_mean() -> None:
    model = Denoiser()
    count = sum(p.numel() for p in model.parameters())
    assert count == 2 * (CHANNELS**2 + CHANNELS) + BLOCKS * (STEPS**2 + STEPS + 2 * CHANNELS) == 20352
    assert model(torch.randn(3, STEPS, CHANNELS)).abs().max() < 1e-6


def test_a_mask_has_the_centre_and_as_many_as_it_should() -> None:
    masks = random_masks(500, torch.Generator().manual_seed(1))
    assert (masks.sum(1) == MASKED).all() and masks[:, CENTRE].all()
    assert (masks[:, :CENTRE].float().mean(0) - (MASKED - 1) / (STEPS - 1)).abs().max() < 0.1


def test_windows_are_of_people_to_train_on_and_errors_move_all_but_the_pelvis(motion: Path) -> None:
    rng = np.random.default_rng(2)
    train = load_training(motion)
    truth = draw(train, 64, rng)
    assert truth.shape == (64, STEPS, 17, 3) and (truth[:, :, 0] == 0).all()
    noisy = with_errors(truth, rng)
    apart = (noisy - truth).norm(dim=-1)
    assert (apart[:, :, 0] == 0).all()
    assert 0.02 < apart.mean() < 0.12
    assert apart[:, :, 13].mean() > apart[:, :, 11].mean() and FAR[13] > FAR[11]
    slow = slow_errors(300, rng)
    assert abs(slow.std() - 1.0) < 0.05
    assert (np.diff(slow, axis=1).std() / slow.std()) < 0.35


def test_a_batch_is_in_the_body_frame_of_the_window_with_errors(motion: Path) -> None:
    x, truth, masked = batch(load_training(motion), 32, np.random.default_rng(3))
    assert x.shape == truth.shape == (32, STEPS, CHANNELS) and masked.shape == (32, STEPS)
    assert (masked.sum(1) >= MASKED).all()
    torso = x.unflatten(2, (17, 3))[:, :, 8].norm(dim=-1).median(1).values
    torch.testing.assert_close(torso, torch.ones(32))
    again, _, _ = batch(load_training(motion), 32, np.random.default_rng(3))
    torch.testing.assert_close(again, x)


def test_lines_and_averages() -> None:
    x = torch.arange(STEPS, dtype=torch.float32)[None, :, None].repeat(1, 1, CHANNELS)
    masked = torch.zeros(1, STEPS, dtype=torch.bool)
    masked[0, [0, 5, 6, 40]] = True
    lines = interpolated(x, masked)
    torch.testing.assert_close(lines[0, 1:], x[0, 1:])
    assert (lines[0, 0] == 1).all()
    torch.testing.assert_close(averaged(x, 2.0)[0, 10:50], x[0, 10:50])


def test_what_is_stored_is_what_is_read(tmp_path: Path) -> None:
    torch.manual_seed(1)
    model = Denoiser()
    torch.nn.init.normal_(model.outer.weight)
    write(model, tmp_path / "d.safetensors")
    again = shipped(tmp_path / "d.safetensors")
    torch.testing.assert_close(again.outer.weight, model.outer.weight.half().float())
    assert set(load_file(tmp_path / "d.safetensors")) == {f"denoiser.{k}" for k in model.state_dict()}


def test_the_golden_cases_are_what_ships_gives() -> None:
    stored = load_file(SHIPPED / "golden_denoiser.safetensors")
    model = shipped(SHIPPED / "denoiser.safetensors")
    made = golden(model, stored["denoiser.joints"], stored["denoiser.masked"] > 0)
    for name, value in made.items():
        torch.testing.assert_close(value, stored[name], atol=1e-4, rtol=1e-3)
    # Masked frames are nearer to what they were than the body's mean pose is.
    x, _, _ = network_input(stored["denoiser.joints"])
    masked = stored["denoiser.masked"] > 0
    assert (made["denoiser.output"] - x)[masked].abs().mean() < 0.5 * (x - x.mean(1, keepdim=True))[masked].abs().mean()


def test_a_training_that_was_stopped_ends_as_one_that_was_not(motion: Path, tmp_path: Path) -> None:
    def train(name: str, steps: int) -> dict[str, torch.Tensor]:
        out = tmp_path / f"{name}.pt"
        command = [sys.executable, str(HERE / "train_denoiser.py"), "--motion", str(motion), "--out", str(out)]
        options = ["--resume", "--batch", "8", "--steps", "6", "--stop", str(steps), "--check", "16"]
        said = subprocess.run([*command, *options], capture_output=True, text=True, check=True).stdout
        assert "done" in said
        net: dict[str, torch.Tensor] = torch.load(out, weights_only=True)["net"]
        return net

    whole = train("whole", 6)
    train("part", 4)
    for name, value in train("part", 6).items():
        torch.testing.assert_close(value, whole[name])
    figures = measure(Denoiser(), load_training(motion, "held_out"), 1, 16)
    assert figures["masked: input"] < figures["masked: denoiser"]
