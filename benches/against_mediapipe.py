"""MediaPipe Pose and `poised replay` on the same films, in turns in one run.

    pip install -r benches/requirements-mediapipe.txt
    cargo build --bin poised --example draw_film
    python benches/against_mediapipe.py FILM [FILM ...]

The drawn camera's own frames are a film too. Prints processor milliseconds a frame (all threads of the one process; decoding
left out for MediaPipe, reading from the decoder left in for poised), peak memory and their ratios, medians of five rounds.
Where `ORT_DYLIB_PATH` names ONNX Runtime's library (and the program was built with `--features onnxruntime`), poised runs on that as well.
poised does more with a frame: it lifts to metres, refines, names, completes, and with `--adapt semantic` learns.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROUNDS = 5
ROOT = Path(__file__).resolve().parent.parent
PROGRAM = ROOT / "target" / "debug" / "poised"
WIDTH, HEIGHT, FRAMES = 640, 480, 300

Figures = tuple[float, float]
"""Processor milliseconds a frame, and peak memory in MB."""


def mediapipe(film: Path) -> None:
    """Runs MediaPipe Pose over a film and prints its figures; in a process of its own."""
    import cv2
    import mediapipe as mp

    pose = mp.solutions.pose.Pose(model_complexity=1)
    source = cv2.VideoCapture(str(film))
    frames, spent_s = 0, 0.0
    while True:
        there, bgr = source.read()
        if not there:
            break
        before = time.process_time()
        pose.process(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB))
        spent_s += time.process_time() - before
        frames += 1
    print(json.dumps({"cpu_ms": 1e3 * spent_s / frames, "frames": frames}))


def measured(command: list[str]) -> Figures:
    """Runs a command that prints `cpu_ms` as JSON, and watches its memory."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as child:
        peak_kb = 0
        while child.poll() is None:
            try:
                status = Path(f"/proc/{child.pid}/status").read_text()
            except OSError:
                break
            peak_kb = max(
                [peak_kb, *(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))]
            )
            time.sleep(0.02)
        out = child.stdout.read() if child.stdout else ""
    if child.returncode != 0:
        raise SystemExit(f"{command[0]} failed with {child.returncode}")
    return float(json.loads(out[out.index("{") :])["cpu_ms"]), peak_kb * 1.024e-3


def drawn(folder: Path) -> Path:
    """Frames of the drawn camera as a film without loss."""
    program = ROOT / "target" / "debug" / "examples" / "draw_film"
    frames, film = folder / "frames.rgb", folder / "drawn.mkv"
    subprocess.run([str(program), str(frames), str(FRAMES), str(WIDTH), str(HEIGHT)], check=True)
    raw = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{WIDTH}x{HEIGHT}", "-r", "30", "-i", str(frames)]
    subprocess.run(["ffmpeg", "-loglevel", "error", *raw, "-c:v", "ffv1", str(film)], check=True)
    return film


def race(film: Path, name: str) -> None:
    """Both in turns on one film, a line each."""
    runs = {
        "MediaPipe Pose": [sys.executable, __file__, "--one", str(film)],
        "poised": [str(PROGRAM), "replay", str(film), "--json", "--engine", "tract"],
    }
    runs["poised, no learning"] = [*runs["poised"], "--adapt", "latent"]
    if "ORT_DYLIB_PATH" in os.environ:
        runs["poised, onnxruntime"] = [*runs["poised"][:-1], "onnxruntime"]
    figures: dict[str, list[Figures]] = {what: [] for what in runs}
    for _ in range(ROUNDS):
        for what, command in runs.items():
            figures[what].append(measured(command))
    peer = [statistics.median(values) for values in zip(*figures["MediaPipe Pose"], strict=True)]
    print(name)
    for what, rows in figures.items():
        cpu, memory = (statistics.median(values) for values in zip(*rows, strict=True))
        print(f"  {what:<20} {cpu:6.2f} ms {cpu / peer[0]:5.2f}   {memory:6.1f} MB {memory / peer[1]:5.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("films", type=Path, nargs="*")
    parser.add_argument("--one", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        mediapipe(arguments.one)
        return
    for film in arguments.films:
        race(film, film.name)
    with tempfile.TemporaryDirectory() as folder:
        race(drawn(Path(folder)), f"drawn camera, {WIDTH}x{HEIGHT}")


if __name__ == "__main__":
    main()
