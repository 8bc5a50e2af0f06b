"""The comparison's costs are those of the files, and the page shows the table of the stored figures."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from card import WHAT, card
from compare import MEASURED_ON, candidate, cost, markdown, training_of, untrained
from model import Lifter

LAB = Path(__file__).resolve().parents[4] / "docs" / "lab"


def test_costs_are_counted_on_the_graph_and_the_head() -> None:
    torch.manual_seed(0)
    found = cost(Lifter("gla-gcn").eval(), runs=3)
    assert found["head_parameters"] == 256 * 256 + 256 + 256 * 51 + 51 + 256 * 17 + 17
    assert 80_000 < found["backbone_parameters"] < 110_000
    numbers = found["backbone_parameters"] + found["head_parameters"]
    assert 4 * numbers < found["bytes"] < 4 * numbers + 40_000
    assert 0.0 < found["onnxruntime_ms"] < 1000.0


def test_a_candidate_says_how_it_was_trained(tmp_path: Path) -> None:
    model = Lifter("tcn-small")
    run = {"windows": 128, "minutes": 1.5, "batch": 128, "seed": 1}
    path = tmp_path / "small.pt"
    torch.save({"backbone": "tcn-small", "weights": model.state_dict(), "run": run}, path)
    one = candidate(f"{path}:rotation,intrinsics")
    assert (one.name, one.left_out, one.model.name) == ("small", ["rotation", "intrinsics"], "tcn-small")
    assert training_of(path) == run
    assert candidate(str(path)).left_out == []
    assert training_of(tmp_path) == {} and training_of(untrained("hot").path) == {}


def test_what_was_not_measured_is_a_dash() -> None:
    row = {
        "name": "a", "backbone_parameters": 1000, "head_parameters": 10, "bytes": 1_230_000, "onnxruntime_ms": 0.25,
        "training": {}, "errors": {"hdm05 clean": [90.04, 50.0]},
    }  # fmt: skip
    seen = row | {"name": "b", "tract_ms": 0.5, "training": {"windows": 12_800, "minutes": 1.5}}
    lines = markdown({"rows": [row, seen]}).splitlines()
    assert lines[2] == "| `a` | 1,000 + 10 | 1.23 | 0.25 | - | - | - |"
    assert lines[3] == "| `b` | 1,000 + 10 | 1.23 | 0.25 | 0.50 | 12,800 | 1.5 |"
    assert lines[7] == "| `a` | 90.0 / 50.0 |"
    cost_alone = {k: v for k, v in row.items() if k != "errors"}
    assert markdown({"rows": [cost_alone, row]}).splitlines()[5:] == lines[5:8]
    assert markdown({"rows": [cost_alone]}).splitlines() == lines[:3]


def test_the_page_shows_the_stored_figures() -> None:
    stored = LAB / "lifters.json"
    if not stored.exists():
        pytest.skip("docs/lab/lifters.json is not there")
    assert markdown(json.loads(stored.read_text())) in (LAB / "methods.md").read_text()


def test_cards_are_short_and_hold_the_figures() -> None:
    errors = {f"{name} {condition}": [91.26, 55.5] for name in ("cmu_val", "hdm05") for condition in MEASURED_ON}
    common = {"head_parameters": 83268, "bytes": 1_234_567, "onnxruntime_ms": 0.2, "errors": errors}
    run = {"windows": 1_234_560, "minutes": 1.5}
    rows = [{"name": name, "backbone_parameters": 123_456, "training": run, **common} for name in (*WHAT, "lifter")]
    for name in WHAT:
        text = card(name, {"count": 4000, "seed": 7, "rows": rows}, ["MatMul", "LayerNormalization", "Softmax"])
        lines = text.splitlines()
        assert len(lines) <= 60
        assert all(len(line) <= 120 for line in lines)
        assert f'"lifter-{name}"' in text and "91.3 / 55.5" in text and "123,456" in text and "1.23 MB" in text
