"""The shape's distance is that of the table, and its gradient does not see what a similarity undoes."""

import argparse
import math
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from evaluate import align
from model import Head
from train_image_layer import Frames, shape_distance, tensors_of, train


def test_it_is_the_distance_after_the_best_similarity() -> None:
    torch.manual_seed(1)
    truth = torch.randn(6, 17, 3)
    pose = truth + 0.1 * torch.randn(6, 17, 3)
    want = (align(pose, truth) - truth).norm(dim=-1).mean()
    assert torch.isclose(shape_distance(pose, truth), want, rtol=1e-4)


def test_a_turned_and_larger_body_costs_nothing() -> None:
    torch.manual_seed(2)
    truth = torch.randn(3, 17, 3)
    c, s = math.cos(0.7), math.sin(0.7)
    turn = torch.tensor([[c, 0.0, s], [0.0, 1.0, 0.0], [-s, 0.0, c]])
    pose = (1.3 * truth @ turn).requires_grad_()
    distance = shape_distance(pose, truth)
    assert distance.item() < 1e-5


def test_a_file_without_a_tensor_or_of_another_shape_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "drawn.safetensors"
    save_file({"features": torch.zeros(2, 256), "image": torch.zeros(2, 64)}, path)
    with pytest.raises(SystemExit, match=r"image has rows of \(64,\), expected \(128,\)"):
        tensors_of(path, {"features": (256,), "image": (128,)})
    with pytest.raises(SystemExit, match="no tensor joints"):
        tensors_of(path, {"features": (256,), "joints": (17, 3)})


def test_without_a_picture_the_trained_head_is_the_one_before_to_the_bit() -> None:
    torch.manual_seed(3)
    head = Head(with_image=True)
    before = {name: value.clone() for name, value in head.state_dict().items()}
    frames = Frames("f", torch.randn(40, 256), torch.randn(40, 128), torch.randn(40, 17, 3), torch.arange(40) % 10 == 0)
    how = argparse.Namespace(rate=1e-2, decay=0.0, steps=3, batch=8)
    train(head, [frames], torch.zeros(128), torch.ones(128), how)
    changed = {name for name, value in head.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {"image.weight", "image.bias"}
