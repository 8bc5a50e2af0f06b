"""Teaching by the program's own commands: actions kept out of encoders and dictionary, taught from three clips each.

`python teach.py --poised PROGRAM --models DIR --motion DIR [--more index.json] --out rows.json`. `--models` is a model folder
whose encoders never saw motion of the actions (README.md). For each action: `poised dictionary build` without any of
them, `record` the clips as a simulated camera sees them, `teach` from three, `query` the rest and clips of other
actions. A window counts as named where the taught entry is the best and has the probability from which it becomes a
label (0.4, `src/motion/label.rs`).
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

from streams import HELD_OUT

KEPT_OUT = (
    "jumping jacks", "clap hands", "crawl", "cartwheel", "salsa dance", "swing a sword", "balance on one leg", "climb stairs",
    "squat", "touch elbow to knee", "rotate arms", "hop", "throw a ball with both hands",
)  # fmt: skip
"""Actions without whose motion the encoders were trained."""
CLIPS = 3
"""Clips that an action is taught from, of as many people as there are."""
FRAMES_MIN = 75
"""Shortest clip: two seconds and a half at 30 frames a second."""
VISIBLE = re.compile("a person is seen for|no person is seen|no window of two seconds")
"""What the program says of a clip in which too little of the person is in the picture."""
LONG = 3.0
"""A clip so many times as long as the median of its action shows much else (labels cover whole trials): nobody teaches
from it."""
MOST = 23
"""Most clips of an action."""
ENTER = 0.4


def run(*command: object) -> str:
    """What the program prints; an error of it is ours."""
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{command}: {done.stderr}")
    return done.stdout


def first_of_everybody(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows in turns of people, so that any few at the beginning are of as many people as possible."""
    turn: dict[str, int] = defaultdict(int)
    keys = []
    for row in rows:
        keys.append((turn[row["subject"]], row["subject"]))
        turn[row["subject"]] += 1
    return [rows[at] for at in sorted(range(len(rows)), key=lambda at: keys[at])]


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--poised", type=Path, required=True)
    p.add_argument("--models", type=Path, required=True)
    p.add_argument("--motion", type=Path, required=True)
    p.add_argument("--more", type=Path, help="a further index for the dictionary")
    p.add_argument("--work", type=Path, required=True, help="an empty folder for what is made")
    p.add_argument("--out", type=Path, required=True)
    a = p.parse_args()
    a.work.mkdir(parents=True, exist_ok=True)
    rows = [row for part in ("train", "val") for row in json.loads((a.motion / f"index_{part}.json").read_text())]
    rows = [row for row in rows if row["frames"] >= FRAMES_MIN]
    for file in {row["file"] for row in rows}:
        link = a.work / file
        if not link.exists():
            link.symlink_to((a.motion / file).resolve())
    chosen: dict[str, dict[str, Any]] = {}
    of_action: dict[str, list[str]] = {}
    for action in KEPT_OUT:
        mine = [row for row in rows if action in row["actions"]]
        long = LONG * np.median([row["frames"] for row in mine])
        mine = first_of_everybody([row for row in mine if row["frames"] <= long])[:MOST]
        if len(mine) >= CLIPS + 3:
            of_action[action] = [row["id"] for row in mine]
            chosen |= {row["id"]: row for row in mine}
    strange = [
        r
        for r in rows
        if r["split"] == "val" or r["subject"] in HELD_OUT or (r["source"] == "hdm05" and r["row"] % 4 == 0)
    ]
    chosen |= {row["id"]: row for row in strange}
    (a.work / "index.json").write_text(json.dumps(list(chosen.values())))
    base = a.work / "without.dictionary"
    out = [word for action in KEPT_OUT for word in ("--leave-out", action)]
    out += [word for subject in HELD_OUT for word in ("--leave-out", subject + "_")]
    more = ["--motions", a.more] if a.more else []
    models = ["--models", a.models]
    train = a.motion / "index_train.json"
    # HDM05 is measured on only.
    print(
        run(
            a.poised,
            "dictionary",
            *models,
            "build",
            "--motions",
            train,
            *more,
            *out,
            "--leave-out",
            "hdm05",
            "-o",
            base,
        )
    )
    clips = a.work / "clips"
    print(run(a.poised, "dictionary", *models, "record", "--motions", a.work / "index.json", "-o", clips))

    def query(dictionary: Path, motion: str) -> list[dict[str, Any]]:
        clip = clips / f"{motion}.easy.poses"
        done = subprocess.run(
            [str(w) for w in (a.poised, "dictionary", *models, "--dictionary", dictionary, "--json", "query", clip)],
            capture_output=True, text=True,
        )  # fmt: skip
        if done.returncode == 0:
            windows: list[dict[str, Any]] = json.loads(done.stdout)
            return windows
        if VISIBLE.search(done.stderr):
            return []
        sys.exit(f"{clip}: {done.stderr}")

    table = []
    for action, ids in of_action.items():
        own = a.work / "own.dictionary"
        shutil.copyfile(base, own)
        # The dictionary may know the words already; they are made way for the taught entry.
        run(a.poised, "dictionary", *models, "--dictionary", own, "remove", action)
        ids = [motion for motion in ids if query(base, motion)]  # those in which enough of the person is seen
        if len(ids) < CLIPS + 3:
            continue
        taught = [clips / f"{motion}.easy.poses" for motion in ids[:CLIPS]]
        run(a.poised, "dictionary", *models, "--dictionary", own, "teach", "--name", action, *taught)
        others = [row["id"] for row in chosen.values() if action not in row["actions"]]
        found = [query(own, motion) for motion in [*ids[CLIPS:], *others]]

        def share(windows: list[dict[str, Any]], first: bool, action: str = action) -> float:
            hits = [
                w["best"][0]["label"] == action and (not first or w["best"][0]["probability"] >= ENTER) for w in windows
            ]
            return float(np.mean(hits)) if hits else 0.0

        mine, other = (
            [found[at] for at in places if found[at]]
            for places in (range(len(ids) - CLIPS), range(len(ids) - CLIPS, len(found)))
        )
        people = {chosen[motion]["subject"] for motion in ids[:CLIPS]}
        new = [found[at] for at, m in enumerate(ids[CLIPS:]) if found[at] and chosen[m]["subject"] not in people]
        row = {
            "action": action, "clips": len(mine), "windows": sum(map(len, mine)), "taught_people": len(people),
            "recall": round(share(sum(mine, []), True), 3), "best": round(share(sum(mine, []), False), 3),
            "recall_new_people": round(share(sum(new, []), True), 3) if new else None,
            "clips_named": round(float(np.mean([share(w, True) > 0 for w in mine])), 3),
            "others": len(other), "other_windows": sum(map(len, other)),
            "false_alarms": round(share(sum(other, []), True), 4),
            "clips_false": round(float(np.mean([share(w, True) > 0 for w in other])), 3),
        }  # fmt: skip
        table.append(row)
        print(json.dumps(row), flush=True)
    a.out.write_text("[\n" + ",\n".join(json.dumps(row) for row in table) + "\n]\n")


if __name__ == "__main__":
    main()
