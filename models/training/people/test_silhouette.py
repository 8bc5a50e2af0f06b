"""Checks of the silhouette of capsules and of what is measured with it. Needs no data folder."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from evaluate_silhouette import SETS, compared, drawn_again, mask_extent
from silhouette import (
    COLUMNS,
    ENDS,
    PART_OF,
    ROWS,
    Body2d,
    Method,
    Seen,
    SilhouetteFault,
    Template,
    Tie,
    capsules,
    cells,
    depths,
    disagreement,
    distances,
    extent,
    refine,
    silhouette,
    sizes_of,
    start,
    usable,
)

POSE = torch.tensor(
    [
        [72, 25], [75, 22], [69, 22], [79, 24], [65, 24], [88, 48], [56, 48], [104, 70], [40, 70], [112, 95], [32, 95],
        [82, 98], [62, 98], [90, 132], [54, 132], [92, 168], [52, 168],
    ],
    dtype=torch.float32,
)  # fmt: skip
TEMPLATE = Template()


def body(keypoints: torch.Tensor = POSE[None]) -> Body2d:
    sizes = sizes_of(keypoints, TEMPLATE)
    return Body2d(keypoints, sizes[:, None] * torch.tensor(TEMPLATE.radii, dtype=keypoints.dtype), sizes)


def seen_of(keypoints: torch.Tensor, mask: torch.Tensor) -> Seen:
    """A network that saw keypoints [17,2] and, sure of all, a mask [48,36] of clothes."""
    sure = torch.full((1, 17), 0.9)
    chances = torch.stack([1 - mask, torch.zeros_like(mask), mask])[None]
    return Seen(keypoints[None].clone(), 0.3 * sure, sure, chances, torch.ones(1, ROWS, COLUMNS))


def own_mask() -> torch.Tensor:
    """The hard mask [48,36] of the pose."""
    return (silhouette(body(), TEMPLATE)[0] > 0.5).float()


def test_a_capsule_covers_its_bone_up_to_its_radius_and_nothing_far_away() -> None:
    one = body()
    begins, ends = capsules(one.keypoints, one.sizes, TEMPLATE)
    z = depths(one, TEMPLATE, 2.0)[0]
    d = distances(cells(), begins, ends)[0]
    radii = one.radii[0, PART_OF]
    assert ((z > 0) == (d < radii)).all()
    covered = silhouette(one, TEMPLATE)[0]
    for k in range(len(PART_OF)):
        x, y = ((begins[0, k] + ends[0, k]) / 2).tolist()
        assert covered[round((y - 1.5) / 4), round((x - 1.5) / 4)] > 0.6, k
    assert covered[0, 0] < 1e-3
    assert covered[-1, 0] < 1e-3


def test_distances_are_those_to_segments() -> None:
    points = torch.tensor([[0.0, 3.0], [5.0, 4.0], [13.0, 4.0]])
    d = distances(points, torch.tensor([[[0.0, 0.0]]]), torch.tensor([[[10.0, 0.0]]]))
    np.testing.assert_allclose(d[0, :, 0], [3, 4, 5], atol=0.01)


def test_the_gradient_is_that_of_finite_differences() -> None:
    rng = np.random.default_rng(3)
    keypoints = (POSE + torch.from_numpy(rng.normal(0, 3, (17, 2)))).double()[None]
    one = body(keypoints)
    radii = one.radii.double().requires_grad_()
    keypoints.requires_grad_()
    mask, inside = own_mask().double()[None], torch.ones(1, ROWS, COLUMNS).double()
    share = torch.from_numpy(rng.uniform(0.2, 1, (1, len(PART_OF))))
    opacity = torch.from_numpy(rng.uniform(0.2, 1, (1, len(PART_OF))))

    def cost(k: torch.Tensor, r: torch.Tensor) -> torch.Tensor:
        return disagreement(Body2d(k, r, one.sizes.double()), TEMPLATE, 2.0, mask, inside, share, opacity).sum()

    cost(keypoints, radii).backward()
    step = 1e-4
    for value in (keypoints, radii):
        assert value.grad is not None
        for index in np.ndindex(*value.shape):
            apart = torch.zeros_like(value)
            apart[index] = step
            both = [(value.detach() + sign * apart) for sign in (1, -1)]
            ends = [(cost(b, radii) if value is keypoints else cost(keypoints, b)).item() for b in both]
            assert float(value.grad[index]) == pytest.approx((ends[0] - ends[1]) / (2 * step), rel=0.02, abs=0.03)


def test_the_cost_is_that_of_the_drawn_silhouette() -> None:
    one, mask = body(), own_mask()[None]
    every = torch.ones(1, len(PART_OF))
    cost = disagreement(one, TEMPLATE, 2.0, mask, torch.ones(1, ROWS, COLUMNS), every, every)
    covered = silhouette(one, TEMPLATE)
    wanted = -(mask * torch.log(0.05 + 0.9 * covered) + (1 - mask) * torch.log(0.95 - 0.9 * covered)).sum()
    assert float(cost) == pytest.approx(float(wanted), rel=0.01)


def test_keypoints_shifted_away_from_a_true_mask_come_nearer_again() -> None:
    rng = np.random.default_rng(5)
    shifted = POSE + torch.from_numpy(rng.normal(0, 5, (17, 2))).float()
    seen = seen_of(shifted, own_mask())
    for method in (
        Method(weight=0.3),
        Method(weight=0.3, radii="fixed"),
        Method(weight=0.3, tie="student"),
        Method(weight=0.3, tie="none"),
    ):
        found = refine(seen, TEMPLATE, Tie(), method).keypoints[0]
        before, after = ((k - POSE)[5:].norm(dim=1).mean() for k in (shifted, found))
        assert after < 0.85 * before, method


def test_a_wider_person_gets_wider_capsules() -> None:
    wide = body()
    wide = replace(wide, radii=1.4 * wide.radii)
    mask = (silhouette(wide, TEMPLATE)[0] > 0.5).float()
    found = refine(seen_of(POSE, mask), TEMPLATE, Tie(), Method(weight=0.3, widths_first=40, steps=0))
    assert (found.radii[0, 2:] > 1.15 * body().radii[0, 2:]).all()
    assert torch.equal(found.keypoints[0], POSE)


def test_an_empty_mask_changes_nothing() -> None:
    seen = seen_of(POSE, torch.zeros(ROWS, COLUMNS))
    assert not usable(seen).any()
    found, first = refine(seen, TEMPLATE, Tie(), Method()), start(seen, TEMPLATE)
    assert torch.equal(found.keypoints, seen.keypoints)
    assert torch.equal(found.radii, first.radii)


def test_limbs_alone_leave_the_rest_where_it_was() -> None:
    seen = seen_of(POSE + 4.0, own_mask())
    moved = (refine(seen, TEMPLATE, Tie(), Method(weight=0.3, moves="limbs")).keypoints - seen.keypoints)[0].norm(dim=1)
    assert (moved[[0, 1, 2, 3, 4, 5, 6, 11, 12]] == 0).all()
    assert (moved[[7, 8, 9, 10, 13, 14, 15, 16]] > 0).all()


def test_a_limb_that_cannot_be_seen_is_not_pushed_into_the_mask() -> None:
    mask = own_mask()
    mask[28:] = 0  # a table hides the legs
    hidden = seen_of(POSE, mask)
    hidden.visible[:, 13:] = 0.0
    hidden.visible[:, 11:13] = 0.0
    shown = seen_of(POSE, mask)
    moved = [
        (refine(s, TEMPLATE, Tie(), Method(weight=0.3)).keypoints[0] - POSE)[13:].norm(dim=1).mean()
        for s in (hidden, shown)
    ]
    assert moved[0] < 0.3 * moved[1]


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("mask", torch.full((1, 3, ROWS, COLUMNS), torch.nan), r"mask\[0, 0, 0, 0\]: nan, wanted a finite number"),
        ("mask", torch.full((1, 3, ROWS, COLUMNS), 2.0), "mask: values from 2 to 2, wanted chances from 0 to 1"),
        ("mask", torch.zeros(1, 3, 2, 2), r"mask: shape \(1, 3, 2, 2\), wanted \(1, 3, 48, 36\)"),
        ("keypoints", torch.full((1, 17, 2), torch.inf), r"keypoints\[0, 0, 0\]: inf, wanted a finite number"),
    ],
)
def test_what_is_no_mask_is_refused_by_name(name: str, value: torch.Tensor, message: str) -> None:
    seen = replace(seen_of(POSE, own_mask()), **{name: value})
    with pytest.raises(SilhouetteFault, match=message):
        refine(seen, TEMPLATE, Tie(), Method())


@pytest.mark.parametrize(
    ("method", "message"),
    [
        (Method(tie="loose"), "tie: 'loose', wanted gaussian, student, heatmap or none"),
        (Method(radii="large"), "radii: 'large', wanted fitted or fixed"),
        (Method(moves="head"), "moves: 'head', wanted all, limbs or unsure"),
        (Method(weight=float("nan")), "wanted a finite weight"),
        (Method(tie="heatmap"), "heat: none, wanted distributions"),
    ],
)
def test_a_method_that_is_none_is_refused_by_name(method: Method, message: str) -> None:
    with pytest.raises(SilhouetteFault, match=message):
        refine(seen_of(POSE, own_mask()), TEMPLATE, Tie(), method)


def test_every_capsule_has_its_limb_class_and_its_keypoints() -> None:
    begins, ends = capsules(POSE[None], torch.tensor([50.0]), TEMPLATE)
    assert begins.shape == ends.shape == (1, len(PART_OF), 2)
    assert len(ENDS) == len(PART_OF)


def test_extents_reach_from_end_to_end() -> None:
    up = torch.tensor([[0.0, -1.0]])
    mask = torch.zeros(1, ROWS, COLUMNS)
    mask[0, 10:20, 5] = 1
    assert float(mask_extent(mask, up)) == 40
    one = body()
    long = extent(one, TEMPLATE, up)
    assert 150 < float(long) < 190


def test_a_change_is_measured_in_pairs_of_the_same_people() -> None:
    rng = np.random.default_rng(2)
    before = rng.uniform(0, 0.4, (60, 17))
    before[:, 3] = np.nan
    row = compared(before, 0.9 * before, drawn_again(np.arange(60)))
    assert row["keypoints"] == 60 * 16
    assert row["error"]["change"] == pytest.approx(-0.1, abs=1e-3)
    assert row["error"]["interval"] == pytest.approx([-0.1, -0.1], abs=1e-3)
    assert row["pck_0.2"]["change"] > 0
    assert json.dumps(row)
    assert len(SETS) == 4
