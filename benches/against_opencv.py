"""`poised calibrate` and OpenCV on the same drawn pictures of a board, under eight lenses that are known.

    pip install -r benches/requirements-opencv.txt
    cargo build --bin poised
    python benches/against_opencv.py                     # about ten minutes
    python benches/against_opencv.py --lens fisheye-720p --views 24 --seed 3

For each lens: how far a pixel's direction is off, in pixels over the whole image (root mean square, of the part that the
board covered), by either; the largest error of a parameter in sigmas that `poised calibrate` gives; corners found; and
seconds. Then the pictures of a lens whose focal length is 1 % longer are compared with the calibration by `--check`,
and those of the same lens seen anew.
"""

from __future__ import annotations

import argparse
import math
import re
import subprocess
import sys
import tempfile
import time
import tomllib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parent.parent
Floats = NDArray[np.float64]

COLUMNS, ROWS, SQUARE_MM, MARKER_MM = 10, 7, 25.0, 18.0
"""The board that `poised calibrate` takes where nothing else is said."""
DOTS_PER_MM = 12
"""Of the board's picture: finer than any of the cameras sees it."""
PARTS = 3
"""Samples along each side of a pixel."""
SLOPE_MAX = 5.0
"""Of rays: 79 degrees off the axis."""
NODE_PX, MARGIN = 2, 4
"""Pixels between places at which the lens is inverted, and such places beyond each border."""
STRIP = 120 * PARTS
"""Rows of parts that are drawn at a time: a frame of 4K has 75 million parts."""
BLACK, WHITE, BEHIND = 35, 215, 120


@dataclass(frozen=True)
class Lens:
    """A camera: image size, focal lengths, principal point, distortion as OpenCV orders it, and how bad its images are."""

    name: str
    size: tuple[int, int]
    f: tuple[float, float]
    c: tuple[float, float]
    d: tuple[float, ...]
    blur_px: float = 0.7
    noise: float = 3.0
    fisheye: bool = False

    @property
    def k(self) -> Floats:
        """Its matrix [3,3]."""
        return np.array([[self.f[0], 0, self.c[0]], [0, self.f[1], self.c[1]], [0, 0, 1]], np.float64)

    @property
    def coefficients(self) -> tuple[str, ...]:
        """Names of the distortion's."""
        return ("k1", "k2", "k3", "k4") if self.fisheye else ("k1", "k2", "p1", "p2", "k3")

    def rays(self, pixels: Floats) -> Floats:
        """Slopes (x, y at z = 1) of pixels [N,2]; NaN where the lens sees nothing."""
        points = pixels[:, None].astype(np.float64)
        distortion = np.array(self.d)
        if self.fisheye:
            made = cv2.fisheye.undistortPoints(points, self.k, distortion)
        else:
            ends = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 100, 1e-10)
            made = cv2.undistortPoints(points, self.k, distortion, criteria=ends)
        rays = np.asarray(made[:, 0], np.float64)
        # Where the polynomial turns back, and to the side and behind, there is no answer.
        wrong = np.linalg.norm(self.pixels(rays) - pixels, axis=1) > 0.05
        rays[wrong | (np.linalg.norm(rays, axis=1) > SLOPE_MAX)] = np.nan
        return rays

    def pixels(self, rays: Floats) -> Floats:
        """Pixels [N,2] of slopes."""
        points = np.concatenate([rays, np.ones((len(rays), 1))], 1)[:, None]
        project = cv2.fisheye.projectPoints if self.fisheye else cv2.projectPoints
        made = project(points, np.zeros(3), np.zeros(3), self.k, np.array(self.d))[0]
        return np.asarray(made, np.float64).reshape(-1, 2)


LENSES = (
    Lens("webcam-480p", (640, 480), (610, 608), (322, 236), (0.06, -0.12, 0, 0, 0)),
    Lens("wide-720p", (1280, 720), (910, 908), (652, 351), (-0.28, 0.08, 0.0005, -0.0004, 0)),
    Lens("wide-1080p", (1920, 1080), (1150, 1150), (940, 550), (-0.32, 0.12, 0, 0, 0)),
    Lens("straight-1080p", (1920, 1080), (1480, 1476), (968, 533), (0, 0, 0, 0, 0)),
    Lens("noisy-tele-1080p", (1920, 1080), (2600, 2600), (955, 545), (0.1, 0, 0, 0, 0), blur_px=1.6, noise=9.0),
    Lens("sensor-4k", (3840, 2160), (2950, 2948), (1935, 1072), (-0.11, 0.05, 0, 0, 0), blur_px=1.2),
    Lens("fisheye-480p", (640, 480), (250, 250), (318, 243), (0.02, -0.006, 0, 0), fisheye=True),
    Lens("fisheye-720p", (1280, 720), (430, 430), (645, 352), (0.01, -0.003, 0.001, 0), fisheye=True),
)


def board_picture() -> tuple[Any, Any]:
    """The board of OpenCV, and its picture."""
    dictionary = cv2.aruco.getPredefinedDictionary(cv2.aruco.DICT_4X4_50)
    board = cv2.aruco.CharucoBoard((COLUMNS, ROWS), SQUARE_MM, MARKER_MM, dictionary)
    side = round(SQUARE_MM * DOTS_PER_MM)
    picture = board.generateImage((COLUMNS * side, ROWS * side))
    return board, BLACK + picture.astype(np.float32) / 255 * (WHITE - BLACK)


def rays_of_parts(lens: Lens) -> NDArray[np.float32]:
    """Slopes of all parts of all pixels [height * PARTS, width * PARTS, 2], true to 0.01 pixels: linear between nodes `NODE_PX` apart."""
    width, height = lens.size
    x, y = (NODE_PX * (np.arange(-MARGIN, n // NODE_PX + MARGIN) + 0.5) - 0.5 for n in (width, height))
    nodes = np.stack(np.meshgrid(x, y), -1)
    rays = lens.rays(nodes.reshape(-1, 2)).reshape(nodes.shape)
    scale, margin = NODE_PX * PARTS, MARGIN * NODE_PX * PARTS
    size = (len(x) * scale, len(y) * scale)
    fine = cv2.resize(rays, size, interpolation=cv2.INTER_LINEAR)[margin:-margin, margin:-margin]
    return np.ascontiguousarray(fine, np.float32)


def drawn(
    lens: Lens,
    rays: NDArray[np.float32],
    board: Any,
    rotation: Floats,
    place: Floats,
    rng: np.random.Generator,
) -> NDArray[np.uint8]:
    """What the camera sees of the board [height,width]; `rotation` and `place` (mm) take it from its frame into the camera's."""
    to_board = np.linalg.inv(np.column_stack([rotation[:, 0], rotation[:, 1], place])).astype(np.float32)
    rows = []
    for top in range(0, len(rays), STRIP):
        strip = rays[top : top + STRIP]
        at = strip @ to_board[:, :2].T + to_board[:, 2]
        with np.errstate(divide="ignore", invalid="ignore"):
            dots = at[..., :2] / at[..., 2:] * DOTS_PER_MM - 0.5
        dots[~(at[..., 2] > 0)] = -1e6
        seen = cv2.remap(board, dots, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=BEHIND)
        rows.append(cv2.resize(seen, (lens.size[0], len(strip) // PARTS), interpolation=cv2.INTER_AREA))
    image = cv2.GaussianBlur(np.concatenate(rows), (0, 0), lens.blur_px)
    image += rng.normal(0, lens.noise, image.shape).astype(np.float32)
    return np.asarray(image.round().clip(0, 255), np.uint8)


def views(lens: Lens, count: int, rng: np.random.Generator) -> list[tuple[Floats, Floats]]:
    """Poses of the board: in all parts of the picture, tilted by up to 40 degrees, a third to all of it."""
    across, down = math.ceil(math.sqrt(count)), math.ceil(count / math.ceil(math.sqrt(count)))
    poses = []
    for i in range(count):
        cell = np.array([(i % across + 0.5) / across, (i // across + 0.5) / down])
        pixel = (0.12 + 0.76 * cell) * lens.size + rng.normal(0, 0.03, 2) * lens.size
        ray = lens.rays(pixel[None])[0]
        toward = np.append(ray, 1.0) / math.hypot(*ray, 1.0)
        tilt = rng.uniform(15, 40) * rng.choice([-1, 1], 2) * rng.permutation([1.0, 0.4])
        turned, _ = cv2.Rodrigues(np.radians(np.array([*tilt, rng.normal(0, 15)])))
        # Facing the camera where it is, then tilted.
        facing, _ = cv2.Rodrigues(np.cross([0, 0, 1], toward))
        rotation = facing @ turned
        size = np.array([COLUMNS, ROWS]) * SQUARE_MM
        distance = lens.f[0] * size[0] / (rng.uniform(0.35, 0.7) * lens.size[0])
        poses.append((rotation, toward * distance - rotation[:, :2] @ size / 2))
    return poses


def taken(lens: Lens, count: int, seed: int, folder: Path) -> list[NDArray[np.uint8]]:
    """Pictures of a lens, also written into `folder`."""
    rng = np.random.default_rng(seed)
    _, picture = board_picture()
    rays = rays_of_parts(lens)
    images = [drawn(lens, rays, picture, *pose, rng) for pose in views(lens, count, rng)]
    folder.mkdir()
    for i, image in enumerate(images):
        cv2.imwrite(str(folder / f"{i:02}.png"), image)
    return images


@dataclass
class Result:
    """What came of a calibration."""

    lens: Lens
    corners: int
    seconds: float
    sigmas: dict[str, float]


def ours(program: Path, lens: Lens, folder: Path, out: Path) -> Result:
    """`poised calibrate` on a folder."""
    model = "equidistant" if lens.fisheye else "plumb_bob"
    began = time.perf_counter()
    command = [str(part) for part in (program, "calibrate", folder, "--model", model, "--out", out, "--force")]
    done = subprocess.run(command, capture_output=True, text=True)
    seconds = time.perf_counter() - began
    if not out.exists():
        sys.exit(f"{lens.name}: poised calibrate, exit code {done.returncode}:\n{done.stdout}{done.stderr}")
    rows = re.findall(r"^([fckp]\w) +-?[\d.]+ +([\d.]+)$", done.stdout, re.M)
    corners = re.search(r"over (\d+) corners", done.stdout)
    camera = tomllib.loads(out.read_text())
    pinhole, distortion = camera["intrinsics"], camera["distortion"]
    found = replace(
        lens,
        f=(pinhole["fx_px"], pinhole["fy_px"]),
        c=(pinhole["cx_px"], pinhole["cy_px"]),
        d=tuple(distortion[name] for name in lens.coefficients),
    )
    sigmas = {name: float(sigma) for name, sigma in rows}
    return Result(found, int(corners[1]) if corners else 0, seconds, sigmas)


def opencv(lens: Lens, images: list[NDArray[np.uint8]]) -> Result | None:
    """OpenCV on the same pictures: `calibrateCamera` with k3 held at 0, `fisheye.calibrate`; `None` where that fails."""
    board, _ = board_picture()
    detector = cv2.aruco.CharucoDetector(board)
    began = time.perf_counter()
    objects, points = [], []
    for image in images:
        corners, ids, *_ = detector.detectBoard(image)
        if ids is None or len(ids) < 8:
            continue
        on_board, in_image = board.matchImagePoints(corners, ids)
        objects.append(on_board.reshape(-1, 1, 3).astype(np.float64))
        points.append(in_image.reshape(-1, 1, 2).astype(np.float64))
    try:
        if lens.fisheye:
            objects, points = ([each.reshape(1, *each.shape[::2]) for each in some] for some in (objects, points))
            flags = cv2.CALIB_RECOMPUTE_EXTRINSIC | cv2.CALIB_FIX_SKEW
            _, k, d, *_ = cv2.fisheye.calibrate(objects, points, lens.size, None, None, flags=flags)
        else:
            objects = [o.astype(np.float32) for o in objects]
            points = [p.astype(np.float32) for p in points]
            _, k, d, *_ = cv2.calibrateCamera(objects, points, lens.size, None, None, flags=cv2.CALIB_FIX_K3)
    except cv2.error as error:
        print(f"{lens.name}: OpenCV: {error.err}", file=sys.stderr)
        return None
    found = replace(lens, f=(k[0, 0], k[1, 1]), c=(k[0, 2], k[1, 2]), d=tuple(np.ravel(d)))
    return Result(found, sum(each.size // 2 for each in points), time.perf_counter() - began, {})


def off_px(found: Lens, truth: Lens) -> float:
    """Root mean square of how far the truth's directions of pixels are off in the lens that was found, pixels."""
    x, y = (np.linspace(0.06, 0.94, 40) * n for n in truth.size)
    pixels = np.stack(np.meshgrid(x, y), -1).reshape(-1, 2)
    rays = truth.rays(pixels)
    seen = np.isfinite(rays).all(1)
    apart = found.pixels(rays[seen]) - pixels[seen]
    return float(np.sqrt((apart**2).sum(1).mean()))


def worst(found: Result, truth: Lens) -> str:
    """The parameter that is furthest off in its sigmas."""
    names = ("fx", "fy", "cx", "cy", *truth.coefficients)
    values = [dict(zip(names, (*lens.f, *lens.c, *lens.d), strict=False)) for lens in (found.lens, truth)]
    of = {name: abs(values[0][name] - values[1][name]) / sigma for name, sigma in found.sigmas.items() if sigma > 0}
    name = max(of, key=lambda name: of[name])
    return f"{of[name]:.1f} ({name})"


def checked(program: Path, lens: Lens, folder: Path, old: Path) -> str:
    """What `--check` says of a calibration."""
    model = "equidistant" if lens.fisheye else "plumb_bob"
    command = [str(part) for part in (program, "calibrate", folder, "--model", model, "--check", old)]
    done = subprocess.run(command, capture_output=True, text=True)
    said = re.search(r"^old calibration: (.*?)[;:]?( any more.*)?$", done.stdout, re.M)
    return said[1].split(":")[0] if said else f"exit code {done.returncode}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", type=Path, default=ROOT / "target" / "debug" / "poised")
    parser.add_argument(
        "--lens", choices=[lens.name for lens in LENSES], nargs="+", help="some of them; by default all"
    )
    parser.add_argument("--views", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    print(
        "| lens | `poised`: px off | worst parameter, sigmas | corners | s | OpenCV: px off | corners | s | ratio of px |"
        " --check, same lens | focused 1 % longer |"
    )
    print("| --- " * 11 + "|")
    for lens in LENSES:
        if arguments.lens and lens.name not in arguments.lens:
            continue
        with tempfile.TemporaryDirectory() as scratch:
            folder, out = Path(scratch), Path(scratch) / "found.toml"
            images = taken(lens, arguments.views, arguments.seed, folder / "first")
            own = ours(arguments.program, lens, folder / "first", out)
            other = opencv(lens, images)
            taken(lens, arguments.views, arguments.seed + 100, folder / "again")
            longer = replace(lens, f=(1.01 * lens.f[0], 1.01 * lens.f[1]))
            taken(longer, arguments.views, arguments.seed + 200, folder / "longer")
            says = [checked(arguments.program, lens, folder / name, out) for name in ("again", "longer")]
        off = off_px(own.lens, lens)
        row = [lens.name, f"{off:.2f}", worst(own, lens), str(own.corners), f"{own.seconds:.1f}"]
        if other:
            theirs = off_px(other.lens, lens)
            row += [f"{theirs:.2f}", str(other.corners), f"{other.seconds:.1f}", f"{off / theirs:.1f}"]
        else:
            row += ["failed", "", "", ""]
        print("| " + " | ".join(row + says) + " |", flush=True)


if __name__ == "__main__":
    main()
