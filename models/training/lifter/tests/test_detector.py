"""The simulated detector errs by as much, and as often, as its table says."""

from __future__ import annotations

from pathlib import Path
from statistics import NormalDist

import numpy as np
import pytest

from arrays import Floats
from detector import OUTSIDE, STRONGEST, WEAKEST, Errors, err, read_errors, vary
from simulate import seed_random
from skeleton import COCO_MIRROR, JOINTS

FRAMES, STEP_S = 40_000, 1.0 / 30.0
WRIST = 9


def errors(**changed: float) -> Errors:
    """The measured detector without what a test does not look at: tails, swaps and a slow part."""
    calm = read_errors()._replace(tail_share=0.0, swap_hz=0.0, correlated=0.0)
    return calm._replace(**changed)


def said(table: Errors, hidden: float = 0.0, inside: float = 1.0, apart: float = 0.0) -> tuple[Floats, Floats]:
    """What a detector says of a person of size 1 who stands still: errors [N,17,2], confidence [N,17].

    Keypoint j is at (apart * j, 0).
    """
    shape = (FRAMES, JOINTS)
    points, confidence = np.zeros((*shape, 2)), np.empty(shape)
    points[..., 0] = apart * np.arange(JOINTS)
    seed_random(5)
    err(table, STEP_S, 1.0, np.full(shape, hidden), np.full(shape, inside), points, confidence)
    return points, confidence


def test_noise_is_that_of_the_joint_and_larger_where_it_is_hidden() -> None:
    table = errors()
    for hidden, factor in ((0.0, 1.0), (1.0, table.hidden)):
        spread = said(table, hidden)[0].std((0, 2))
        np.testing.assert_allclose(spread, factor * table.noise, rtol=0.03)


def test_the_slow_part_lasts_as_long_as_stated_and_adds_nothing() -> None:
    table = errors(correlated=0.6, lasts_s=1.0, shared=0.0)
    found = said(table)[0][:, WRIST, 0]
    assert found.std() == pytest.approx(table.noise[WRIST], rel=0.06)
    for lag, want in ((1, 0.6 * np.exp(-STEP_S)), (30, 0.6 * np.exp(-1.0))):
        assert np.corrcoef(found[:-lag], found[lag:])[0, 1] == pytest.approx(want, abs=0.06)


def test_what_is_shared_moves_all_keypoints_together() -> None:
    found = said(errors(correlated=0.9, lasts_s=0.2, shared=0.5))[0][..., 0]
    assert np.corrcoef(found[:, 5], found[:, 16])[0, 1] == pytest.approx(0.9 * 0.5, abs=0.05)


def test_so_large_a_share_of_frames_is_far_off_and_for_so_long() -> None:
    table = errors(tail_share=0.2, tail=50.0, tail_s=0.5)
    far = np.hypot(*said(table)[0].transpose(2, 0, 1)) > 5.0 * table.noise
    assert far.mean() == pytest.approx(0.2, abs=0.02)
    ends = (far[:-1] & ~far[1:]).sum() / far[:-1].sum()
    # A tail of 50 is at times small by chance, which looks like an end.
    assert STEP_S / ends == pytest.approx(0.5, rel=0.15)


def test_confidence_tells_of_the_error_and_hidden_joints_are_at_times_given_as_seen() -> None:
    table = errors()
    found, confidence = said(table)
    far = np.log(np.hypot(*found.transpose(2, 0, 1)) / table.noise + 0.1)
    logit = np.log(confidence / (1.0 - confidence))
    slope, at_one = np.polyfit(far.ravel(), logit.ravel(), 1)
    assert slope == pytest.approx(-table.confidence_slope, abs=0.1)
    assert at_one == pytest.approx(table.confidence, abs=0.2)
    hidden = said(table, hidden=1.0)[1]
    # A normal logit is over zero as often as its distribution function says.
    share = NormalDist().cdf(table.hallucinated / table.hallucinated_spread)
    assert (hidden > 0.5).mean() == pytest.approx(share, abs=0.04)
    assert (confidence > 0.5).mean() > (hidden > 0.5).mean() + 0.3


def test_outside_the_image_nothing_is_sure() -> None:
    assert said(errors(hallucinated=5.0), inside=0.0)[1].max() <= OUTSIDE


def test_limbs_are_exchanged_as_often_and_as_long_as_stated() -> None:
    table = errors(swap_hz=0.5, swap_s=0.4)._replace(noise=np.full(JOINTS, 1e-6))
    at = np.rint(said(table, apart=1.0)[0][..., 0]).astype(int)
    assert (at[:, [0, 5, 6, 11, 12]] == [0, 5, 6, 11, 12]).all()
    swapped = at[:, WRIST] == COCO_MIRROR[WRIST]
    assert ((at[:, WRIST] == WRIST) | swapped).all() and (at[:, 7] == np.where(swapped, 8, 7)).all()
    starts = (~swapped[:-1] & swapped[1:]).sum()
    assert starts / ((~swapped).sum() * STEP_S) == pytest.approx(0.5, rel=0.15)
    assert swapped.sum() * STEP_S / starts == pytest.approx(0.4, rel=0.15)


def test_detectors_vary_around_the_measured_one() -> None:
    table = read_errors()
    seed_random(2)
    drawn = [vary(table) for _ in range(2000)]
    scale = np.array([np.exp(np.log(one.noise / table.noise).mean()) for one in drawn])
    assert WEAKEST * 0.8 < scale.min() and scale.max() < STRONGEST * 1.2
    assert all(0.0 <= one.correlated <= 0.95 and 0.0 <= one.tail_share < 1.0 for one in drawn)
    # Both harder and easier ones than what was measured.
    assert 0.1 < (scale > 1.0).mean() < 0.5


def test_a_table_that_is_not_there_is_named() -> None:
    with pytest.raises(KeyError, match="imagined"):
        read_errors(name="imagined")


def test_a_table_without_a_number_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text("[measured]\nhallucinated = [0.0, 1.0]\nswap = [0.0, 0.1]\n")
    with pytest.raises(KeyError, match="noise"):
        read_errors(tmp_path / "a.toml")
