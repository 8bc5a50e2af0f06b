"""The motion encoder in PyTorch on one thread: the peer of `cargo bench --bench semantics`.

`python benches/semantics_torch.py models/dictionary/encoder.safetensors` prints milliseconds of one window forward, and
forward and backward to the joints, as medians of 200 runs.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors import safe_open

sys.path.insert(0, str(Path(__file__).parents[1] / "models" / "training" / "dictionary"))

from encoder import motion_input  # noqa: E402


def milliseconds(run: Callable[[], object]) -> float:
    """Median of 200 runs after 20."""
    taken = []
    for k in range(220):
        start = time.perf_counter()
        run()
        if k >= 20:
            taken.append((time.perf_counter() - start) * 1e3)
    return round(statistics.median(taken), 3)


def main() -> None:
    torch.set_num_threads(1)
    with safe_open(sys.argv[1], "pt") as file:
        shape = json.loads(file.metadata()["poised"])["encoders"]["motion"]
        get = {k: file.get_tensor(k).float() for k in file.keys() if k.startswith("motion.")}  # noqa: SIM118
    layers = [
        (
            get[f"motion.conv{k}.weight"].permute(0, 2, 1).contiguous(),
            get[f"motion.conv{k}.bias"],
            c["stride"],
            c["pad"],
        )
        for k, c in enumerate(shape["convs"])
    ]

    def encode(joints: torch.Tensor) -> torch.Tensor:
        y = motion_input(joints).transpose(1, 2)
        for weight, bias, stride, pad in layers:
            y = torch.nn.functional.silu(torch.nn.functional.conv1d(y, weight, bias, stride, pad))
        y = y.mean(2) @ get["motion.linear0.weight"].T + get["motion.linear0.bias"]
        return torch.nn.functional.normalize(y, dim=-1)

    joints = torch.randn(1, 60, 17, 3)
    target = torch.nn.functional.normalize(torch.randn(384), dim=0)

    def forward() -> None:
        with torch.no_grad():
            encode(joints)

    def both() -> None:
        x = joints.clone().requires_grad_()
        (1 - (encode(x) * target).sum()).backward()

    print(json.dumps({"forward_ms": milliseconds(forward), "forward_and_backward_ms": milliseconds(both)}))


if __name__ == "__main__":
    main()
