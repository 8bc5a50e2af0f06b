"""Each shipped network on tract and on ONNX Runtime, one thread each, in turns in one run.

    pip install -r benches/requirements.txt
    cargo bench --profile dev --bench networks --no-run
    python benches/against_onnxruntime.py

Prints the median processor milliseconds a run of both engines, and their ratio.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

ROUNDS = 5
WARM_UP, RUNS = 10, 60
ROOT = Path(__file__).resolve().parent.parent


def tract() -> list[dict[str, Any]]:
    """One round of the Rust bench: a row for each network."""
    command = ["cargo", "bench", "--quiet", "--profile", "dev", "--bench", "networks"]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    rows: list[dict[str, Any]] = json.loads(done.stdout.strip().splitlines()[-1])
    return rows


def session(file: str) -> ort.InferenceSession:
    """A network on one thread of ONNX Runtime."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    return ort.InferenceSession(file, options, providers=["CPUExecutionProvider"])


def onnxruntime(row: dict[str, Any], network: ort.InferenceSession) -> float:
    """Median processor milliseconds of a run, on the input the Rust bench uses."""
    count = int(np.prod(row["shape"]))
    image = ((np.arange(count) % 97) / 97.0).astype(np.float32).reshape(row["shape"])
    times = []
    for _ in range(WARM_UP + RUNS):
        before = time.process_time_ns()
        network.run(None, {row["input"]: image})
        times.append((time.process_time_ns() - before) * 1e-6)
    return statistics.median(times[WARM_UP:])


def main() -> None:
    ours: dict[str, list[float]] = {}
    theirs: dict[str, list[float]] = {}
    sessions: dict[str, ort.InferenceSession] = {}
    for _ in range(ROUNDS):
        for row in tract():
            name = row["network"]
            if name not in sessions:
                sessions[name] = session(row["file"])
            ours.setdefault(name, []).append(row["ms"])
            theirs.setdefault(name, []).append(onnxruntime(row, sessions[name]))
    print(f"{'network':<18} {'tract ms':>9} {'onnxruntime ms':>15} {'ratio':>6}")
    for name, values in ours.items():
        a, b = statistics.median(values), statistics.median(theirs[name])
        print(f"{name:<18} {a:9.2f} {b:15.2f} {a / b:6.2f}")


if __name__ == "__main__":
    main()
