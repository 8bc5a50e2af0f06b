"""Label latency: one action after the other, by the program's own commands.

`python latency.py --poised PROGRAM --motion DIR --work DIR --out rows.json`: of people that nothing was trained on, two
clips of the same person without a common action, joined where the first one stands and faces, over a third of a second;
`poised dictionary record` shows them to a simulated camera, `poised replay` names them. Times are from the moment
at which the second clip is all there is.
"""

from __future__ import annotations

import argparse
import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from streams import HELD_OUT

RATE_HZ = 30
FIRST, SECOND = 5 * RATE_HZ, 8 * RATE_HZ
"""Frames of the two clips at most; shorter ones than half of that are left out."""
FADE = 10
"""Frames over which one becomes the other."""

Array = NDArray[np.float32]


def heading(pose: Array) -> float:
    """Which way somebody faces, about the vertical, from the line of the hips."""
    left = pose[4] - pose[1]
    return float(np.arctan2(left[2], left[0]))


def joined(a: Array, b: Array) -> Array:
    """World joints of `b` after those of `a`, turned and moved to where `a` ends."""
    turn = heading(b[0]) - heading(a[-1])
    c, s = np.cos(turn), np.sin(turn)
    b = (b - b[0, 0]) @ np.array([[c, 0, -s], [0, 1, 0], [s, 0, c]], np.float32).T + np.array(
        [a[-1, 0, 0], b[0, 0, 1], a[-1, 0, 2]], np.float32
    )
    share = (np.arange(1, FADE + 1) / (FADE + 1))[:, None, None]
    between = (1 - share) * a[-1] + share * b[0]
    return np.concatenate([a, between.astype(np.float32), b])


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--poised", type=Path, required=True)
    p.add_argument("--models", type=Path)
    p.add_argument("--motion", type=Path, required=True)
    p.add_argument("--pairs", type=int, default=120)
    p.add_argument("--work", type=Path, required=True)
    p.add_argument("--out", type=Path, required=True)
    a = p.parse_args()
    a.work.mkdir(parents=True, exist_ok=True)
    rows = [row for part in ("train", "val") for row in json.loads((a.motion / f"index_{part}.json").read_text())]
    rows = [
        r for r in rows
        if (r["split"] == "val" or r["subject"] in HELD_OUT) and r["actions"] and r["frames"] >= SECOND // 2
    ]  # fmt: skip
    files = {f: load_file(a.motion / f) for f in {r["file"] for r in rows}}

    def joints(row: dict[str, Any]) -> Array:
        part = slice(row["start"], row["start"] + row["frames"])
        file = files[row["file"]]
        return np.asarray(file["joints17"][part].astype(np.float32) + file["pelvis"][part, None], np.float32)

    # The same number of pairs of everybody, as far as they go.
    rng = np.random.default_rng(1)
    people: dict[str, list[tuple[Any, Any]]] = {}
    for one in rows:
        for other in rows:
            if one["subject"] == other["subject"] and not set(one["actions"]) & set(other["actions"]):
                people.setdefault(one["subject"], []).append((one, other))
    for pairs in people.values():
        rng.shuffle(pairs)
    chosen: list[tuple[Any, Any]] = []
    while len(chosen) < a.pairs and any(people.values()):
        chosen += [pairs.pop() for pairs in people.values() if pairs]
    chosen = chosen[: a.pairs]
    motions, index, start = [], [], 0
    for at, (one, other) in enumerate(chosen):
        world = joined(joints(one)[-FIRST:], joints(other)[:SECOND])
        motions.append(world)
        index.append({
            "id": f"pair_{at}", "source": "pairs", "subject": one["subject"], "file": "pairs.safetensors", "row": at,
            "start": start, "frames": len(world), "fps": RATE_HZ, "actions": other["actions"],
        })  # fmt: skip
        start += len(world)
    world = np.concatenate(motions)
    tensors = {"joints17": (world - world[:, :1]).astype(np.float16), "pelvis": np.ascontiguousarray(world[:, 0])}
    save_file(tensors, a.work / "pairs.safetensors")
    (a.work / "index.json").write_text(json.dumps(index))
    models = ["--models", str(a.models)] if a.models else []
    clips = a.work / "clips"
    record = [a.poised, "dictionary", *models, "record", "--motions", a.work / "index.json", "-o", clips]
    subprocess.run([str(word) for word in record], check=True, stdout=subprocess.DEVNULL)
    table = []
    for at, ((one, other), row) in enumerate(zip(chosen, index, strict=True)):
        poses = a.work / "poses.jsonl"
        replay = [a.poised, "replay", clips / f"pair_{at}.easy.poses", *models, "--poses", poses]
        subprocess.run([str(word) for word in replay], check=True, capture_output=True)
        switch = row["frames"] - min(other["frames"], SECOND)
        labels: list[str | None] = []
        for line in poses.read_text().splitlines():
            people_seen = json.loads(line)["persons"]
            action = people_seen[0].get("action") if people_seen else None
            labels.append(action["label"] if action else None)
        before = labels[switch]
        after = labels[switch:]
        right = [t for t, label in enumerate(after) if label in other["actions"]]
        gone = [t for t, label in enumerate(after) if label not in one["actions"]]
        table.append({
            "subject": one["subject"], "from": one["actions"], "to": other["actions"], "before": before,
            "before_right": before in one["actions"], "named_s": right[0] / RATE_HZ if right else None,
            "gone_s": gone[0] / RATE_HZ if gone else None, "seconds": len(after) / RATE_HZ,
        })  # fmt: skip
    a.out.write_text("[\n" + ",\n".join(json.dumps(row) for row in table) + "\n]\n")
    report("all", table)
    report("first named rightly before", [row for row in table if row["before_right"]])


def report(name: str, table: list[dict[str, Any]]) -> None:
    """How many are named, and how soon."""
    named = np.array([row["named_s"] for row in table if row["named_s"] is not None])
    gone = np.array([row["gone_s"] for row in table if row["before_right"] and row["gone_s"] is not None])
    print(name, len(table), "pairs;", len(named), "named, seconds:", np.quantile(named, [0.1, 0.5, 0.9]).round(2))
    if len(gone):
        print("  the former label goes, seconds:", np.quantile(gone, [0.1, 0.5, 0.9]).round(2))


if __name__ == "__main__":
    main()
