"""Each shipped network on tract (one thread) and on ONNX Runtime (one and two), in turns in one run.

    pip install -r benches/requirements.txt
    cargo bench --profile dev --bench networks --no-run
    python benches/against_onnxruntime.py

Prints medians a run of both engines, and their ratio: processor milliseconds where ONNX Runtime has one thread, the
milliseconds that pass where it has two.
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
THREADS = (1, 2)
ROOT = Path(__file__).resolve().parent.parent


def tract() -> list[dict[str, Any]]:
    """One round of the Rust bench: a row for each network."""
    command = ["cargo", "bench", "--quiet", "--profile", "dev", "--bench", "networks"]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    rows: list[dict[str, Any]] = json.loads(done.stdout.strip().splitlines()[-1])
    return rows


def session(file: str, threads: int) -> ort.InferenceSession:
    """A network on some threads of ONNX Runtime."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    return ort.InferenceSession(file, options, providers=["CPUExecutionProvider"])


def onnxruntime(row: dict[str, Any], network: ort.InferenceSession, threads: int) -> float:
    """Median milliseconds of a run, on the input the Rust bench uses."""
    count = int(np.prod(row["shape"]))
    image = ((np.arange(count) % 97) / 97.0).astype(np.float32).reshape(row["shape"])
    clock = time.process_time_ns if threads == 1 else time.perf_counter_ns
    times = []
    for _ in range(WARM_UP + RUNS):
        before = clock()
        network.run(None, {row["input"]: image})
        times.append((clock() - before) * 1e-6)
    return statistics.median(times[WARM_UP:])


def main() -> None:
    ours: dict[tuple[str, int], list[float]] = {}
    theirs: dict[tuple[str, int], list[float]] = {}
    sessions: dict[tuple[str, int], ort.InferenceSession] = {}
    for _ in range(ROUNDS):
        for row in tract():
            for threads in THREADS:
                key = (row["network"], threads)
                if key not in sessions:
                    sessions[key] = session(row["file"], threads)
                ours.setdefault(key, []).append(row["ms" if threads == 1 else "wall_ms"])
                theirs.setdefault(key, []).append(onnxruntime(row, sessions[key], threads))
    print(f"{'network':<18} {'threads':>7} {'tract ms':>9} {'onnxruntime ms':>15} {'ratio':>6}")
    for (name, threads), values in sorted(ours.items()):
        a, b = statistics.median(values), statistics.median(theirs[name, threads])
        print(f"{name:<18} {threads:7} {a:9.2f} {b:15.2f} {a / b:6.2f}")


if __name__ == "__main__":
    main()
