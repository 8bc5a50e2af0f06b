"""Measures how a person network errs, for the simulated detector of `poised eval` (src/lab/eval/detector.rs).

    cargo run --example drawn_errors -- DATA/motion/index_train.json RUN/drawn.safetensors --clips 120 --seed 71
    python detector_errors.py ../../person/person.onnx --photos RUN/marked --drawn RUN/drawn.safetensors \\
        --write ../../../src/lab/eval/detectors.toml

How large the errors of seen keypoints are, and what the visibility tells of them, is measured on photographs that people marked and no
network was trained on: drawn people are easier. How long errors last, what keypoints have in common, and how often limbs are exchanged
and people missed, on drawn people who do recorded motion, since photographs have no time; and what becomes of keypoints behind furniture,
since people mark only those hidden keypoints whose place they can tell. Lengths are shares of the person: the longer side of the box
around the keypoints. `--check` prints the same figures of other photographs and other drawn people beside them.
"""

from __future__ import annotations

import argparse
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from safetensors.numpy import load_file

from answers import Floats, NetworkFault, Person, answers, logit, sha256
from photos import IndexFault, Photo, open_folders, read_index, read_photo

RAYLEIGH = 1.1774
"""Median of the length of a plane error whose axes have a standard deviation of 1."""
LEAST_ERROR = 0.1
GATE = 0.2
"""As in src/lab/eval/detector.rs and src/pose/mod.rs."""
CLIPPED = 6.0
"""Errors beyond so many usual ones count as this in correlations, which a few wild ones would rule."""
WILD = 3.0
"""Errors beyond so many usual ones are of the tail: of a normal one, one in a hundred is as large."""
LAGS_S = np.arange(1, 31) / 15
"""Times over which errors are compared with themselves, seconds: multiples of both frame rates of the clips."""
HEIGHT_MIN_PX = 80.0
"""Smaller people are left out: their labels are as unsure as the answers."""
APART_MIN = 0.1
"""Limbs nearer to each other than this are not told from exchanged ones."""
PAIRS = ((7, 8, 9, 10), (13, 14, 15, 16))
"""Left and right elbow and wrist, knee and ankle."""
FACE, ANKLES = slice(0, 5), slice(15, 17)
LIMBS = np.arange(5, 17)
"""Keypoints that are joints: drawn faces are not those of photographs."""


@dataclass
class Still:
    """Keypoints of photographs: errors as shares of the person [n], visibilities, which keypoint, whether it is seen; and of how many
    people."""

    error: Floats
    visibility: Floats
    keypoint: Any
    seen: Any
    people: int


def on_photographs(net: Person, folders: list[tuple[Path, list[Photo]]], held_out: bool) -> Still:
    """What the network says of people who were marked by hand, boxes from the labels."""
    rows: list[tuple[float, float, int, bool]] = []
    count = 0
    for folder, photos in folders:
        for photo in photos:
            people = [p for p in photo.people if p.box[3] >= HEIGHT_MIN_PX]
            if not people or (held_out and not photo.held_out):
                continue
            picture = read_photo(folder, photo)
            said = answers(net, [(picture, p.box) for p in people])
            for person, xy, visibility in zip(people, said.xy, said.visibility, strict=True):
                k = person.keypoints
                marked = k[:, 2] > 0
                # Of people whose legs are cut off, the longer side says nothing of how large they are.
                if not (marked[ANKLES].any() and marked[FACE].any()):
                    continue
                count += 1
                size = float(np.ptp(k[marked, :2], axis=0).max())
                apart = np.hypot(*(xy - k[:, :2]).T) / size
                rows += [
                    (float(apart[j]), float(visibility[j]), int(j), bool(k[j, 2] == 2)) for j in np.flatnonzero(marked)
                ]
    if not rows:
        raise IndexFault("no person of these photographs was marked by hand and kept from training")
    error, visibility, keypoint, seen = (np.array(column) for column in zip(*rows, strict=True))
    return Still(error, visibility, keypoint, seen, count)


def mixture(units: Floats) -> tuple[float, float, float]:
    """Share and factor of the tail, and scale of the core, of lengths of plane errors: the likeliest on a grid."""
    best = (-np.inf, 0.0, 1.0, 1.0)
    for share in np.arange(0.0, 0.41, 0.02):
        for factor in np.exp(np.linspace(np.log(1.5), np.log(12), 16)):
            for scale in np.linspace(0.5, 1.05, 12):
                core = units / scale**2 * np.exp(-(units**2) / (2 * scale**2))
                wide = units / (scale * factor) ** 2 * np.exp(-(units**2) / (2 * (scale * factor) ** 2))
                likelihood = float(np.log((1 - share) * core + share * wide + 1e-12).sum())
                best = max(best, (likelihood, float(share), float(factor), float(scale)))
    return best[1:]


def of_photographs(still: Still) -> dict[str, Any]:
    """Parameters that photographs tell; prints what they say of the hidden keypoints that people could mark."""
    noise = np.zeros(17)
    for k in range(17):
        pair = still.seen & np.isin(still.keypoint, [k, k + 1 if k % 2 else k - 1] if k else [0])
        noise[k] = np.median(still.error[pair]) / RAYLEIGH
    units = still.error / noise[still.keypoint]
    share, factor, scale = mixture(np.maximum(units[still.seen], 1e-3))
    noise, units = noise * scale, units / scale
    hidden = float(np.median(units[~still.seen]) / np.median(units[still.seen]))
    said = logit(still.visibility)
    x = np.log(units[still.seen] + LEAST_ERROR)
    slope, level = np.polyfit(x, said[still.seen], 1)
    spread = float((said[still.seen] - slope * x - level).std())
    print(
        f"{still.people} people, {still.seen.sum()} keypoints seen; {(~still.seen).sum()} hidden ones that could be marked: "
        f"{hidden:.1f} times the error, {(still.visibility[~still.seen] >= GATE).mean():.2f} given as seen"
    )
    return {
        "noise": [round(float(n), 4) for n in noise],
        "tail_share": round(share, 3),
        "tail": round(factor, 2),
        "confidence": round(float(level), 3),
        "confidence_slope": round(max(-float(slope), 0.0), 3),
        "confidence_spread": round(spread, 3),
    }


def runs(there: Any, time: Floats) -> list[float]:
    """Lengths in seconds of the stretches in which something holds."""
    step = float(np.median(np.diff(time))) if len(time) > 1 else 0.0
    edges = np.diff(np.concatenate([[0], there.astype(int), [0]]))
    return [float(step * n) for n in np.flatnonzero(edges == -1) - np.flatnonzero(edges == 1)]


def rate_of(lengths: list[float], total_s: float) -> list[float]:
    """How often a second, and for how long, seconds."""
    return [round(len(lengths) / total_s, 4), round(float(np.mean(lengths)), 3) if lengths else 0.0]


def of_drawn(rows: dict[str, Any]) -> dict[str, Any]:
    """Parameters that need time."""
    found = rows["said"][..., 2].any(1)
    visible = rows["visible"].astype(bool)
    apart = (rows["said"][..., :2] - rows["truth"]) / rows["height"][:, None, None]
    # What lies outside the picture is not asked for.
    inside = ((rows["truth"] >= 0) & (rows["truth"] < rows["side"][:, None, None])).all(-1)
    usable = visible & found[:, None]
    usual = np.array([np.median(np.hypot(*apart[usable[:, k], k].T)) / RAYLEIGH for k in range(17)])
    units = apart / usual[:, None]
    length = np.hypot(units[..., 0], units[..., 1])
    units *= np.minimum(1, CLIPPED / np.maximum(length, 1e-9))[..., None]
    own = np.zeros(len(LAGS_S))
    count = np.zeros(len(LAGS_S))
    variance: list[float] = []
    common: list[float] = []
    missed: list[float] = []
    swapped: list[float] = []
    wild: list[float] = []
    total_s = 0.0
    for clip in np.unique(rows["clip"]):
        at = np.flatnonzero(rows["clip"] == clip)
        time = rows["time"][at]
        if len(at) < 10:
            continue
        total_s += float(time[-1] - time[0])
        step = float(np.median(np.diff(time)))
        u, ok = units[at][:, LIMBS], usable[at][:, LIMBS]
        variance.append(float((u**2).sum(-1)[ok].mean()) if ok.any() else np.nan)
        for i, lag in enumerate(LAGS_S):
            n = round(lag / step)
            if n < len(at):
                both = ok[n:] & ok[:-n]
                own[i] += float((u[n:] * u[:-n]).sum(-1)[both].sum())
                count[i] += both.sum()
        total = (u * ok[..., None]).sum(1)
        pairs = ok.sum(1) * (ok.sum(1) - 1)
        cross = (total**2).sum(-1) - ((u**2).sum(-1) * ok).sum(1)
        common.append(float(cross.sum() / max(pairs.sum(), 1)))
        for k in range(len(LIMBS)):
            wild += runs((length[at][:, LIMBS[k]] > WILD) & ok[:, k], time)
        seen = found[at]
        shown = visible[at][:, LIMBS].sum(1) >= 8
        begin = int(np.argmax(seen)) if seen.any() else len(at)
        missed += runs((~seen & shown)[begin:], time[begin:])
        swapped += exchanged(rows, at, usable, time)
    spread = float(np.nanmean(variance))
    kept = own / np.maximum(count, 1) / spread
    correlated, lasts_s = slow_part(kept)
    behind = ~visible & found[:, None] & inside
    behind[:, : LIMBS[0]] = False
    said = logit(rows["said"][..., 2][behind].astype(np.float64))
    return {
        "hidden": round(float(np.median(length[behind]) / np.median(length[:, LIMBS][usable[:, LIMBS]])), 2),
        "hallucinated": [round(float(said.mean()), 3), round(float(said.std()), 3)],
        "tail_s": round(float(np.mean(wild)), 3) if wild else 0.0,
        "correlated": round(correlated, 3),
        "lasts_s": round(lasts_s, 3),
        "shared": round(float(np.clip(np.mean(common) / spread / max(correlated, 1e-3), 0, 1)), 3),
        "swap": rate_of(swapped, total_s * len(PAIRS)),
        "freeze": [0.0, 0.0],
        "missed": rate_of(missed, total_s),
    }


def exchanged(rows: dict[str, Any], at: Any, usable: Any, time: Floats) -> list[float]:
    """Lengths of the stretches in which a pair of limbs is exchanged."""
    out: list[float] = []
    for a, b, c, d in PAIRS:
        truth, said, height = rows["truth"][at], rows["said"][at][..., :2], rows["height"][at]
        straight = sum(np.hypot(*(said[:, k] - truth[:, k]).T) for k in (a, b, c, d))
        crossed = sum(np.hypot(*(said[:, k] - truth[:, m]).T) for k, m in ((a, b), (b, a), (c, d), (d, c)))
        between = np.hypot(*(truth[:, c] - truth[:, d]).T) / height
        clear = usable[at][:, [a, b, c, d]].all(1) & (between > APART_MIN)
        out += runs(clear & (crossed < 0.5 * straight), time)
    return out


def slow_part(kept: Floats) -> tuple[float, float]:
    """Share and time constant, seconds, of what is left of an error's variance over the lags: the best of a grid."""
    best = (np.inf, 0.0, 0.1)
    for lasts_s in np.exp(np.linspace(np.log(0.05), np.log(5), 60)):
        shape = np.exp(-LAGS_S / lasts_s)
        share = float(np.clip((kept @ shape) / (shape @ shape), 0, 1))
        best = min(best, (float(((kept - share * shape) ** 2).sum()), share, float(lasts_s)))
    return best[1], best[2]


def above_gate(parameters: dict[str, Any]) -> float:
    """Share of hidden keypoints that a detector with these parameters gives as seen."""
    mean, spread = parameters["hallucinated"]
    drawn = mean + spread * np.random.default_rng(1).standard_normal(100_000)
    return float((drawn >= np.log(GATE / (1 - GATE))).mean())


def section(name: str, network: Path, parameters: dict[str, Any]) -> str:
    """The detector as a table of TOML."""
    lines = [f"# {network.name}, sha256 {sha256(network)[:12]}", f"[{name}]"]
    lines += [f"{key} = {value}" for key, value in parameters.items()]
    return "\n".join(lines) + "\n"


def write(path: Path, name: str, text: str) -> None:
    """Puts a detector into a file, in place of the one of that name."""
    before = path.read_text() if path.exists() else ""
    rest = re.sub(rf"(?ms)^(# [^\n]*, sha256 [^\n]*\n)?\[{name}\]\n.*?(?=^\[|^# [^\n]*, sha256|\Z)", "", before)
    part = path.with_suffix(".part")
    part.write_text(rest.rstrip("\n") + "\n\n" + text)
    part.replace(path)


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("network", type=Path)
    p.add_argument("--photos", nargs="+", required=True, help="folders of photographs marked by hand (coco_labels.py)")
    p.add_argument("--drawn", type=Path, required=True, help="written by the example drawn_errors")
    p.add_argument("--name", default="measured", help="of the detector")
    p.add_argument("--write", type=Path, help="detectors.toml, to put it into")
    p.add_argument("--check", nargs=2, type=Path, metavar=("PHOTOS", "DRAWN"), help="others to print beside")
    a = p.parse_args()
    cv2.setNumThreads(1)
    try:
        net = Person(a.network)
        own = of_photographs(on_photographs(net, open_folders(a.photos), True)) | of_drawn(load_file(a.drawn))
        other = None
        if a.check:
            photos = [(a.check[0], read_index(a.check[0]))]
            other = of_photographs(on_photographs(net, photos, False)) | of_drawn(load_file(a.check[1]))
    except (IndexFault, NetworkFault, OSError) as fault:
        raise SystemExit(str(fault)) from None
    for key, value in own.items():
        print(f"{key:18} {value}" + (f"   | {other[key]}" if other else ""))
    print(f"hidden keypoints given as seen: {above_gate(own):.2f}" + (f"   | {above_gate(other):.2f}" if other else ""))
    if a.write:
        write(a.write, a.name, section(a.name, a.network, own))


if __name__ == "__main__":
    main()
