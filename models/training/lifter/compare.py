"""Compare trained lifters: one table of size, time and error, as JSON and as Markdown.

`python compare.py --motion DIR --weights a.pt b.pt ../../lifter --out lifters.json` trains nothing. Each row is a
checkpoint of train.py or the folder of a network that ships. `a.pt:rotation,intrinsics` is measured on input without
these halves of PersPose, as it was trained. `--tract FILE` adds what `examples/lifter_ms.rs` printed of the folders.
`--untrained NAME` is a row without errors: what a backbone costs does not depend on its weights. `--render
lifters.json` prints the table of a stored file.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from safetensors.torch import save_file

from evaluate import CONDITIONS, draw, load_lifter, measures, predict
from export import parameters, write_graph
from model import Lifter
from motion import VALIDATION, load_validation
from simulate import without
from skeleton import JOINTS
from window import FRAMES

MEASURED_ON = ("clean", "noisy", "measured")
"""Conditions of the table, of evaluate.py."""
RUNS = 400
"""Runs of a network that its time is the median of."""

Row = dict[str, Any]


@dataclass(frozen=True)
class Candidate:
    """A trained lifter and what its input leaves out."""

    name: str
    path: Path | None
    left_out: list[str]
    model: Lifter


def candidate(argument: str) -> Candidate:
    """Open `path` or `path:part,part`; the name is that of the file or folder."""
    path, _, parts = argument.partition(":")
    return Candidate(Path(path).stem, Path(path), parts.split(",") if parts else [], load_lifter(Path(path)))


def untrained(name: str) -> Candidate:
    """A backbone with random weights, of which only the cost is known."""
    return Candidate(name, None, [], Lifter(name).eval())


def cost(model: Lifter, runs: int = RUNS) -> Row:
    """Numbers and bytes of backbone and head, and processor milliseconds of a run in ONNX Runtime on one thread."""
    with tempfile.TemporaryDirectory() as folder:
        graph, head = Path(folder) / "backbone.onnx", Path(folder) / "head.safetensors"
        write_graph(model.backbone, graph)
        tensors = {k: v.detach().contiguous() for k, v in model.head.state_dict().items()}
        save_file(tensors, head)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        session = onnxruntime.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])
        kp = np.random.default_rng(0).normal(size=(1, FRAMES, JOINTS, 4)).astype(np.float32)
        times = []
        for _ in range(runs):
            start = time.thread_time()
            session.run(None, {"kp": kp})
            times.append(time.thread_time() - start)
        return {
            "backbone_parameters": parameters(graph),
            "head_parameters": sum(v.numel() for v in tensors.values()),
            "bytes": graph.stat().st_size + head.stat().st_size,
            "onnxruntime_ms": round(float(np.median(times)) * 1e3, 3),
        }


def training_of(path: Path | None) -> Row:
    """What train.py says of a checkpoint's run; nothing for a folder or random weights."""
    if path is None or path.is_dir():
        return {}
    run: Row = torch.load(path, weights_only=True).get("run", {})
    return run


def errors(candidates: list[Candidate], motion_folder: Path, count: int, seed: int) -> list[dict[str, list[float]]]:
    """[MPJPE, PA-MPJPE] in millimetres of each candidate on every set and condition, on the same windows."""
    found: list[dict[str, list[float]]] = [{} for _ in candidates]
    for name in VALIDATION:
        motion = load_validation(motion_folder, name)
        for condition in MEASURED_ON:
            windows: dict[tuple[str, ...], Any] = {}
            for row, one in zip(found, candidates, strict=True):
                parts = tuple(one.left_out)
                if parts not in windows:
                    windows[parts] = draw(motion, without(CONDITIONS[condition], one.left_out), count, seed)
                kp, truth, seen = windows[parts]
                pose, log_sigma = predict(one.model, kp)
                values = measures(pose, log_sigma, torch.from_numpy(truth), torch.from_numpy(seen))
                row[f"{name} {condition}"] = [round(values["mpjpe"], 1), round(values["pa_mpjpe"], 1)]
            print(json.dumps({"set": name, "condition": condition}), flush=True)
    return found


def markdown(table: Row) -> str:
    """The table's two parts as Markdown: what a lifter costs, and how far it is off."""
    lines = [
        "| lifter | parameters, backbone + head | MB | ONNX Runtime, ms | tract, ms | windows seen | minutes |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in table["rows"]:
        run = row["training"]
        numbers = f"{row['backbone_parameters']:,} + {row['head_parameters']:,}"
        tract = f"{row['tract_ms']:.2f}" if "tract_ms" in row else "-"
        seen = f"{run['windows']:,}" if run else "-"
        minutes = f"{run['minutes']:g}" if run else "-"
        lines.append(
            f"| `{row['name']}` | {numbers} | {row['bytes'] / 1e6:.2f} | {row['onnxruntime_ms']:.2f} | {tract} "
            f"| {seen} | {minutes} |"
        )
    trained = [row for row in table["rows"] if "errors" in row]
    if not trained:
        return "\n".join(lines) + "\n"
    columns = list(trained[0]["errors"])
    lines += ["", "| lifter | " + " | ".join(columns) + " |", "| --- " * (len(columns) + 1) + "|"]
    for row in trained:
        cells = [f"{mpjpe:.1f} / {pa:.1f}" for mpjpe, pa in row["errors"].values()]
        lines.append(f"| `{row['name']}` | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure, or only render."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--render", type=Path, help="print the table of this file and stop")
    parser.add_argument("--motion", type=Path)
    parser.add_argument("--weights", nargs="+", type=candidate, default=[])
    parser.add_argument("--untrained", nargs="+", type=untrained, default=[])
    parser.add_argument("--tract", type=Path, help="folder's name -> milliseconds, as JSON")
    parser.add_argument("--count", type=int, default=4000)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    if args.render is not None:
        print(markdown(json.loads(args.render.read_text())), end="")
        return
    if args.out is None or (args.motion is None and args.weights):
        parser.error("--out is needed, and --motion with --weights")
    torch.set_num_threads(1)
    tract = json.loads(args.tract.read_text()) if args.tract is not None else {}
    rows = []
    for one in args.weights + args.untrained:
        row = {"name": one.name, "left_out": one.left_out, **cost(one.model), "training": training_of(one.path)}
        folder = one.name if one.path is not None and one.path.is_dir() else f"lifter-{one.name}"
        if folder in tract:
            row["tract_ms"] = tract[folder]
        rows.append(row)
    if args.weights:
        found = errors(args.weights, args.motion, args.count, args.seed)
        for row, values in zip(rows, found, strict=False):
            row["errors"] = values
    table = {"count": args.count, "seed": args.seed, "rows": rows}
    args.out.write_text(json.dumps(table, indent=1) + "\n")
    print(markdown(table), end="")


if __name__ == "__main__":
    main()
