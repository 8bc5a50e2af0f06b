"""Figures of the networks that see people: one JSON that the measuring scripts write, one Markdown table that is made of it.

    python figures.py ../../../docs/lab/people.json ../../../docs/lab/people.md

`evaluate_photos.py`, `evaluate_finder.py`, `presence.py` and `confidence.py` put their sections into the JSON with `--json`. A section keeps the
figures of networks measured before on the same photographs, so that a new network alone can be measured. No figure is typed.
"""

from __future__ import annotations

import argparse
import datetime
import json
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[3]
Section = dict[str, Any]


class FiguresFault(ValueError):
    """A file of figures that cannot be used: the message names the file and what is wrong."""


def shown(argument: str) -> str:
    """An argument without this machine's folders: relative to the checkout, or its last two parts."""
    name, sign, value = argument.rpartition("=")
    path = Path(value)
    if not path.is_absolute():
        return argument
    inside = path.is_relative_to(ROOT)
    return f"{name}{sign}{path.relative_to(ROOT) if inside else '/'.join(path.parts[-2:])}"


def made_by() -> dict[str, str]:
    """Command, commit and date of this run."""
    git = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True)
    command = shlex.join([Path(sys.argv[0]).name, *(shown(a) for a in sys.argv[1:])])
    return {"command": command, "commit": git.stdout.strip(), "date": datetime.date.today().isoformat()}


def read(path: Path) -> dict[str, Section]:
    """The sections of a file of figures; none where there is no file."""
    if not path.exists():
        return {}
    try:
        sections = json.loads(path.read_text())
    except json.JSONDecodeError as error:
        raise FiguresFault(f"{path}: {error}; wanted the JSON of a measuring script") from None
    if not isinstance(sections, dict):
        raise FiguresFault(f"{path}: a {type(sections).__name__}, wanted an object of sections")
    return sections


def record(path: Path, name: str, measured_on: dict[str, Any], networks: dict[str, Any]) -> None:
    """Puts the figures of `networks` into section `name` of the file, beside those of other networks on the same data."""
    sections = read(path)
    before = sections.get(name, {})
    kept = before.get("networks", {}) if before.get("measured_on") == measured_on else {}
    by = made_by()
    fresh = {network: {**figures, "made_by": by} for network, figures in networks.items()}
    sections[name] = {"measured_on": measured_on, "networks": {**kept, **fresh}}
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    part.write_text(json.dumps(sections, indent=1) + "\n")
    part.replace(path)


def number(value: float | None, digits: int = 3) -> str:
    """A figure, or a dash where there is none."""
    return "-" if value is None else f"{value:.{digits}f}"


def table(head: list[str], rows: list[list[str]]) -> list[str]:
    """Lines of a Markdown table."""
    lines = ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
    return [*lines, *("| " + " | ".join(row) + " |" for row in rows), ""]


def with_interval(figure: Section) -> str:
    """A share with its interval."""
    low, high = figure["interval"]
    return f"{figure['all']:.3f} ({low:.2f} to {high:.2f})"


def person_part(section: Section) -> list[str]:
    """Tables of `evaluate_photos.py`."""
    on = section["measured_on"]
    lines = [
        "## Keypoints",
        "",
        f"{on['people']} people of {on['height_px_min']} px and more with {on['labels_min']} labels or more,",
        f"{on['keypoints']} keypoints labelled by hand, the labels' boxes for all networks. PCK is the share of keypoints nearer than",
        "0.1 or 0.2 torso lengths (middle of the shoulders to middle of the hips; 0.35 of the box's height where one is not",
        "labelled), in brackets the 95 % interval over people. AP is COCO's, of keypoints, on these boxes.",
        "",
    ]
    rows = []
    for name, network in section["networks"].items():
        for way, f in network["ways"].items():
            a, b, ap = f["pck_0.1"], f["pck_0.2"], f["coco"]
            figures = [with_interval(a), with_interval(b), number(b["visible"])]
            rows.append([name, way, *figures, number(ap["AP"]), number(ap["AP50"]), number(ap["AP75"])])
    lines += table(["network", "crops", "PCK@0.1", "PCK@0.2", "PCK@0.2, visible", "AP", "AP50", "AP75"], rows)
    first = {name: next(iter(n["ways"].values()))["pck_0.2"] for name, n in section["networks"].items()}
    counts = next(iter(first.values()))
    lines += ["PCK@0.2 by joint (keypoints), one upright crop:", ""]
    joints = list(counts["joints"])
    head = ["network", *(f"{j} ({counts['joints'][j]['keypoints']})" for j in joints)]
    lines += table(head, [[n, *(number(f["joints"][j]["all"], 2) for j in joints)] for n, f in first.items()])
    lines += ["PCK@0.2 by the person's height in the photograph, px (keypoints), one upright crop:", ""]
    heights = list(counts["heights"])
    head = ["network", *(f"{h} ({counts['heights'][h]['keypoints']})" for h in heights)]
    return lines + table(head, [[n, *(number(f["heights"][h]["all"], 2) for h in heights)] for n, f in first.items()])


def finder_part(section: Section) -> list[str]:
    """Tables of `evaluate_finder.py`."""
    on = section["measured_on"]
    lines = [
        "## Finder",
        "",
        f"Recall at IoU 0.5 by the person's height in the photograph, px, on {on['frames']} photographs labelled by hand. A box that is",
        f"on no person, or on one who has a box already, is false. Empty: {on['empty_reported']} photographs without people, neither trained",
        f"on nor used to choose the threshold; {on['empty_chosen_on']} others were for that.",
        "",
    ]
    rows, heights = [], []
    for name, network in section["networks"].items():
        for point in network["points"]:
            heights = list(point["recall"])
            recall = [f"{number(r['share'], 2)} of {r['people']}" for r in point["recall"].values()]
            empty = [number(point["empty_share"])]
            empty.append(number(point["false_boxes_a_frame"], 2))
            rows.append([name, f"{point['threshold']:.2f} ({point['why']})", *recall, *empty])
    empty_head = ["empty frames with a box", "false boxes a frame"]
    return lines + table(["finder", "threshold", *heights, *empty_head], rows)


def presence_part(section: Section) -> list[str]:
    """Table of `presence.py`."""
    on = section["measured_on"]
    lines = [
        "## People who are shown",
        "",
        "A box of the finder becomes a person where both networks together give it a chance of a half or more. Recall and false",
        f"people on {on['frames']} photographs labelled by hand, empty frames as above. The chance is fitted, and its bias set so that a",
        f"person is shown in at most one in twenty of {on['empty_chosen_on']} empty photographs, on photographs that no network was trained on.",
        "",
    ]
    rows, heights = [], []
    for name, f in section["networks"].items():
        heights = list(f["recall"])
        recall = [f"{number(r['share'], 2)} of {r['people']}" for r in f["recall"].values()]
        rest = [number(f["empty_share"]), number(f["false_people_a_frame"], 2), number(f["boxes_an_empty_frame"], 2)]
        rows.append([name, *recall, *rest])
    head = ["empty frames with a person", "false people a frame", "boxes looked into in an empty frame"]
    return lines + table(["networks", *heights, *head], rows)


def summary(sections: dict[str, Section]) -> list[str]:
    """The figures in short, and what the names of rows mean."""
    lines = []
    if "person" in sections:
        of = sections["person"]["networks"].items()
        right = [f"{name} {number(f['ways']['upright']['pck_0.2']['all'], 2)}" for name, f in of]
        lines.append(f"- PCK@0.2 of keypoints on hand-labelled photographs, upright crops: {', '.join(right)}.")
    if "presence" in sections:
        of = sections["presence"]["networks"].items()
        shown = [f"{name} {number(f['recall']['80 and more']['share'], 2)}" for name, f in of]
        lines.append(f"- People of 80 px and more who are shown: {', '.join(shown)}.")
    lines.append(
        "- *Shipped*, *now* of the finder: this version. *Before*: the first networks, which had seen rendered people only."
    )
    return [*lines, ""]


def confidence_part(section: Section) -> list[str]:
    """Tables of `confidence.py`."""
    lines = [
        "## Confidence",
        "",
        "A keypoint's confidence as the chance that it lies within 0.2 torso lengths. ECE: expected calibration error, 15 bins of as",
        "many keypoints each; in brackets what a perfectly calibrated confidence would show with so few keypoints.",
        "",
    ]
    rows = []
    for name, network in section["networks"].items():
        for data, by_way in network["checks"].items():
            for way, c in by_way.items():
                ece = f"{c['ece']:.3f} ({c['ece_of_a_perfect_one']:.3f})"
                rest = [number(c["mean_confidence"], 2), number(c["share_right"], 2), number(c["auroc"], 3)]
                rows.append([name, data, way, str(c["keypoints"]), ece, *rest])
    head = ["network", "data", "confidence", "keypoints", "ECE", "mean", "right", "AUROC"]
    lines += table(head, rows)
    for name, network in section["networks"].items():
        for data, by_way in network["checks"].items():
            curve = by_way.get("fitted")
            if curve is None:
                continue
            lines += [f"Reliability of {name}, fitted, {data}:", ""]
            bins = curve["curve"]
            lines += table(
                ["confidence", *(number(b["confidence"], 2) for b in bins)],
                [["right", *(number(b["right"], 2) for b in bins)]],
            )
    return lines


PARTS: dict[str, Callable[[Section], list[str]]] = {
    "person": person_part,
    "finder": finder_part,
    "presence": presence_part,
    "confidence": confidence_part,
}


def render(sections: dict[str, Section]) -> str:
    """The Markdown page."""
    lines = ["# Networks that see people", "", "Made by `models/training/people/figures.py` from `people.json`.", ""]
    lines += summary(sections)
    for name, part in PARTS.items():
        if name in sections:
            lines += part(sections[name])
    commands: dict[str, list[str]] = {}
    for section in sections.values():
        for name, network in section["networks"].items():
            by = network["made_by"]
            commands.setdefault(f"`{by['command']}` ({by['commit']}, {by['date']})", []).append(name)
    lines += ["## Commands", "", *(f"- {', '.join(names)}: {c}" for c, names in commands.items())]
    return "\n".join(lines) + "\n"


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("figures", type=Path)
    p.add_argument("page", type=Path)
    a = p.parse_args()
    if not a.figures.exists():
        raise SystemExit(f"{a.figures}: no such file; evaluate_photos.py --json writes it")
    a.page.write_text(render(read(a.figures)))


if __name__ == "__main__":
    main()
