"""The index of one site, and the picture."""

from pathlib import Path

import pytest
from streams_over_time import Curve, curves, draw, heights, one_site


def test_one_site_has_every_motion_once_in_an_order_that_the_seed_fixes() -> None:
    index = [{"id": str(number), "subject": "a", "file": "f"} for number in range(20)]
    site = one_site(index, 1)
    assert {motion["subject"] for motion in site} == {"everybody"}
    assert sorted(motion["id"] for motion in site) == sorted(motion["id"] for motion in index)
    assert site == one_site(index, 1) and site != one_site(index, 2)
    assert index[0]["subject"] == "a"


def test_a_minute_without_poses_is_a_gap_and_the_last_part_of_one_is_left_out() -> None:
    first, second, *rest = heights(Curve("s", "m", [30.0, None, 12.0]))
    assert first == 30.0 and second != second and not rest


def test_the_picture_is_the_same_each_time_and_a_missing_scenario_is_named(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    rows = [
        {"scenario": "all", "method": method, "pa_mpjpe_by_minute_mm": [30.0, None, 20.0, 5.0]}
        for method in ("factory", "latent")
    ]
    found = curves({"rows": rows})
    for name in ("a.svg", "b.svg"):
        draw(found, ["all"], tmp_path / name)
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()
    with pytest.raises(SystemExit, match="no scenario easy"):
        draw(found, ["easy"], tmp_path / "c.svg")
