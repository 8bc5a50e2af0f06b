"""One site for a quarter of an hour, and its error over time as a picture.

    python streams_over_time.py index MOTION/index_val.json > MOTION/index_site.json
    poised eval --motions MOTION/index_site.json --methods factory,latent,replay,semantic --json > site.json
    python streams_over_time.py draw site.json --out streams.svg

The first command takes an index of motions (docs/reference/motion-format.md) and makes one in which everybody is
one `subject`, in random order: one visitor after the other before the same camera. Its `file`s lie
beside the index, so it must be written there too. The third draws PA-MPJPE by minute of the stream
(`pa_mpjpe_by_minute_mm`) for each method, over all frames of a scenario. What people do differs from minute
to minute and takes all curves up and down together; the ratio shows what a method does.
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
SCENARIOS = ["easy", "highcam", "bias", "mix", "all"]
"""Columns of the picture, unless others are asked for; `all` is over every scenario of the table."""


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
    """The curves of what `poised eval --json` printed."""
    return [Curve(row["scenario"], row["method"], row["pa_mpjpe_by_minute_mm"]) for row in table["rows"]]


def heights(curve: Curve) -> list[float]:
    """The curve without its last minute, a part of one, whose few frames would look like an event."""
    minutes = curve.minutes[:-1] if len(curve.minutes) > 1 else curve.minutes
    return [float("nan") if value is None else value for value in minutes]


def draw(found: list[Curve], scenarios: list[str], out: Path) -> None:
    """Draws a column for each scenario: millimetres above, the ratio to `factory` below."""
    import matplotlib

    matplotlib.use("Agg")
    # The same bytes for the same table.
    matplotlib.rcParams.update({"svg.hashsalt": "streams", "svg.fonttype": "none"})
    import matplotlib.pyplot as plt

    size = (2.5 * len(scenarios), 4.6)
    figure, axes = plt.subplots(2, len(scenarios), figsize=size, squeeze=False, sharex=True, sharey="row")
    for (above, below), name in zip(axes.T, scenarios, strict=True):
        shown = {curve.method: heights(curve) for curve in found if curve.scenario == name}
        if "factory" not in shown:
            raise SystemExit(f"no scenario {name} with the method factory in the table")
        for method, minutes in shown.items():
            colour, line = STYLES.get(method, ("#000000", ":"))
            centres = [minute + 0.5 for minute in range(len(minutes))]
            ratios = [own / base for own, base in zip(minutes, shown["factory"], strict=True)]
            for axis, values in ((above, minutes), (below, ratios)):
                axis.plot(centres, values, color=colour, linestyle=line, linewidth=1.4, label=method)
        above.set_title(name, fontsize=9)
        below.set_xlabel("minute of the stream", fontsize=8)
    for axis in axes.flat:
        axis.grid(alpha=0.3)
        axis.tick_params(labelsize=8)
    axes[0, 0].set_ylim(bottom=0)
    axes[0, 0].set_ylabel("PA-MPJPE, mm", fontsize=8)
    axes[1, 0].set_ylabel("ratio to factory", fontsize=8)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="upper center", ncol=len(labels), fontsize=8, frameon=False)
    figure.tight_layout(rect=(0, 0, 1, 0.95))
    figure.savefig(out, dpi=110, metadata={"Date": None} if out.suffix == ".svg" else None)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    index = commands.add_parser("index", help="an index of motions as that of one site, to standard output")
    index.add_argument("motions", type=Path, help="index of motions (docs/reference/motion-format.md)")
    index.add_argument("--seed", type=int, default=1, help="fixes the order")
    picture = commands.add_parser("draw", help="error over time as a picture")
    picture.add_argument("table", type=Path, help="what `poised eval --json` printed")
    picture.add_argument("--scenarios", nargs="+", default=SCENARIOS, help="columns, in this order")
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
