"""The shape's distance is that of the table, and its gradient does not see what a similarity undoes."""

import math

import torch

from evaluate import align
from train_image_layer import shape_distance


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
