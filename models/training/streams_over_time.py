"""One site for a quarter of an hour, and its error over time as a picture.

    python streams_over_time.py index MOTION/index_val.json > MOTION/index_site.json
    poised eval --motions MOTION/index_site.json --methods factory,latent,replay,semantic --json > site.json
    python streams_over_time.py draw site.json --out streams.svg

The first command takes an index of motions (docs/motion-format.md) and makes one in which everybody is
one `subject`, in random order: one visitor after the other before the same camera. Its `file`s lie
beside the index, so it must be written there too. The third draws PA-MPJPE by minute of the stream
(`pa_mpjpe_by_minute_mm`) for each method, over all frames of a scenario.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from pathlib import Path
from typing import Any, NamedTuple

STYLES = {
    "factory": ("#888888", "-"),
    "latent": ("#1f77b4", "--"),
    "replay": ("#ff7f0e", "-"),
    "semantic": ("#2ca02c", "-"),
}
"""Colour and line of each method, told apart without colour as well."""
COLUMNS = 3
"""Panels in a row."""


class Curve(NamedTuple):
    """One method in one scenario."""

    scenario: str
    method: str
    minutes: list[float | None]
    """PA-MPJPE of each minute, millimetres; `None` where no frame of it has a pose."""


def one_site(index: list[dict[str, Any]], seed: int) -> list[dict[str, Any]]:
    """The motions of an index as those of one subject, in an order that the seed fixes."""
    motions = [{**motion, "subject": "everybody"} for motion in index]
    random.Random(seed).shuffle(motions)
    return motions


def curves(table: dict[str, Any]) -> list[Curve]:
    """The curves of what `poised eval --json` printed, without the rows over several scenarios."""
    rows = [row for row in table["rows"] if row["scenario"] not in ("all", "hard")]
    return [Curve(row["scenario"], row["method"], row["pa_mpjpe_by_minute_mm"]) for row in rows]


def draw(found: list[Curve], scenarios: list[str], out: Path) -> None:
    """Draws a panel for each scenario; without `scenarios`, all of them."""
    import matplotlib

    matplotlib.use("Agg")
    # The same bytes for the same table.
    matplotlib.rcParams["svg.hashsalt"] = "streams"
    import matplotlib.pyplot as plt

    names = scenarios or list(dict.fromkeys(curve.scenario for curve in found))
    across = min(COLUMNS, len(names))
    down = -(-len(names) // across)
    figure, axes = plt.subplots(down, across, figsize=(3.4 * across, 2.4 * down), squeeze=False, sharex=True)
    for axis in axes.flat[len(names) :]:
        axis.set_visible(False)
    for axis, name in zip(axes.flat, names, strict=False):
        for curve in (curve for curve in found if curve.scenario == name):
            colour, line = STYLES.get(curve.method, ("#000000", ":"))
            # The last minute is a part of one; its few frames would look like an event.
            minutes = curve.minutes[:-1] if len(curve.minutes) > 1 else curve.minutes
            heights = [float("nan") if value is None else value for value in minutes]
            centres = [minute + 0.5 for minute in range(len(heights))]
            axis.plot(centres, heights, color=colour, linestyle=line, linewidth=1.4, label=curve.method)
        axis.set_title(name, fontsize=9)
        axis.set_ylim(bottom=0)
        axis.grid(alpha=0.3)
        axis.tick_params(labelsize=8)
    for axis in axes[-1]:
        axis.set_xlabel("minute of the stream", fontsize=8)
    for axis in axes[:, 0]:
        axis.set_ylabel("PA-MPJPE, mm", fontsize=8)
    handles, labels = axes.flat[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="upper center", ncol=len(labels), fontsize=8, frameon=False)
    figure.tight_layout(rect=(0, 0, 1, 0.96))
    figure.savefig(out, dpi=110, metadata={"Date": None} if out.suffix == ".svg" else None)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    index = commands.add_parser("index", help="an index of motions as that of one site, to standard output")
    index.add_argument("motions", type=Path, help="index of motions (docs/motion-format.md)")
    index.add_argument("--seed", type=int, default=1, help="fixes the order")
    picture = commands.add_parser("draw", help="error over time as a picture")
    picture.add_argument("table", type=Path, help="what `poised eval --json` printed")
    picture.add_argument("--scenarios", nargs="*", default=[], help="these only, in this order")
    picture.add_argument("--out", type=Path, required=True, help="picture to write; .svg or .png")
    options = parser.parse_args()
    if options.command == "index":
        motions = one_site(json.loads(options.motions.read_text()), options.seed)
        json.dump(motions, sys.stdout, indent=1)
        print()
    else:
        draw(curves(json.loads(options.table.read_text())), options.scenarios, options.out)


if __name__ == "__main__":
    main()
