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

import torch
from sem_torch import encoder


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
    encode = encoder(sys.argv[1])
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
