"""Joints triangulated from four calibrated cameras, and single-camera poses measured against them.

    python evaluate_calibrated.py DATA --reference joints.json
    python evaluate_calibrated.py DATA --reference joints.json --poses cam01=poses1.jsonl cam02=poses2.jsonl

The first form runs MoveNet on each camera of `real/calibrated_4cam_single`, triangulates the 17
COCO keypoints of each frame and writes them (world frame of the calibration, metres). The second
reads what `poised replay --poses FILE` wrote for single cameras and prints, over the 12 joints
that both skeletons have, the mean distance after the best similarity (PA-MPJPE) and after moving
the hips' middle together (MPJPE).

The reference is made by a 2D network, not measured: its reprojection error is printed beside it.
"""

from __future__ import annotations

import argparse
import json
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

sys.path.append(str(Path(__file__).parent / "people"))
from evaluate_people import MoveNet, box_of, read_video  # noqa: E402

Floats = NDArray[np.float64]

SHARED = {1: 12, 2: 14, 3: 16, 4: 11, 5: 13, 6: 15, 11: 5, 12: 7, 13: 9, 14: 6, 15: 8, 16: 10}
"""Human3.6M joint to COCO keypoint."""
SUBPIXEL = 64.0
"""Qualisys writes intrinsics in 1/64 pixel."""
SCORE_MIN = 0.3
"""MoveNet keypoints below this are not triangulated."""
ROBUST_PX = 12.0
"""Residual at which an observation's weight has halved (Cauchy)."""
REJECT_PX = 60.0
"""A joint whose weighted residual stays above this has no reference."""


class Camera(NamedTuple):
    """Pinhole with plumb_bob distortion; x_camera = r x_world + t, metres."""

    name: str
    k: Floats
    distortion: Floats
    r: Floats
    t: Floats

    def project(self, points: Floats) -> Floats:
        """World points [N,3] to pixels [N,2]."""
        rvec, _ = cv2.Rodrigues(self.r)
        pixels, _ = cv2.projectPoints(points, rvec, self.t, self.k, self.distortion)
        return np.asarray(pixels.reshape(-1, 2))

    def rays(self, pixels: Floats) -> Floats:
        """Pixels [N,2] to undistorted rays at z = 1 [N,2]."""
        return np.asarray(cv2.undistortPoints(pixels[:, None], self.k, self.distortion).reshape(-1, 2))


def read_cameras(path: Path) -> list[Camera]:
    """Qualisys calibration: R in rows, camera centre in mm, y and z axes against OpenCV's."""
    cameras = []
    for node in ET.parse(path).getroot().iter("camera"):
        at, lens = node.find("transform"), node.find("intrinsic")
        if at is None or lens is None:
            raise ValueError(f"{path}: a camera without transform or intrinsic")
        a = {key: float(value) for key, value in at.attrib.items()}
        i = {key: float(value) for key, value in lens.attrib.items() if key != "focallength"}
        r = np.diag([1.0, -1, -1]) @ np.array([[a[f"r{row}{col}"] for col in (1, 2, 3)] for row in (1, 2, 3)])
        k = np.array(
            [
                [i["focalLengthU"] / SUBPIXEL, 0, i["centerPointU"] / SUBPIXEL],
                [0, i["focalLengthV"] / SUBPIXEL, i["centerPointV"] / SUBPIXEL],
                [0, 0, 1],
            ]
        )
        d = [i[n] for n in ("radialDistortion1", "radialDistortion2", "tangentalDistortion1", "tangentalDistortion2")]
        centre = np.array([a["x"], a["y"], a["z"]]) / 1000
        cameras.append(Camera(node.attrib["serial"], k, np.array([*d, i["radialDistortion3"]]), r, -r @ centre))
    return cameras


def watch(movenet: MoveNet, video: Path) -> Floats:
    """MoveNet's keypoints [frames,17,3] of the person, followed from crop to crop."""
    found, box = [], None
    for image in read_video(video):
        h, w = image.shape[:2]
        whole = (0.0, 0.0, float(w), float(h))
        points = movenet(image, box or whole)
        if box is None:  # twice, because the person is small in the whole frame
            points = movenet(image, box_of(points[:, :2]))
        seen = points[points[:, 2] > 0.2, :2]
        box = box_of(seen) if len(seen) > 5 else None
        found.append(points)
    return np.array(found, np.float64)


def triangulate(cameras: list[Camera], pixels: Floats, scores: Floats) -> tuple[Floats | None, float]:
    """One point from `pixels` [cameras,2] with `scores` [cameras]: point or None, and its residual in pixels.

    Direct linear transform on undistorted rays, weighted by score and, in four rounds, by Cauchy's
    weight of the reprojection error.
    """
    use = [i for i in range(len(cameras)) if scores[i] >= SCORE_MIN]
    if len(use) < 2:
        return None, float("nan")
    weight = {i: float(scores[i]) for i in use}
    point, error = np.zeros(3), np.zeros(len(use))
    for _ in range(4):
        rows = []
        for i in use:
            c = cameras[i]
            u, v = c.rays(pixels[i : i + 1])[0]
            p = np.concatenate([c.r, c.t[:, None]], 1)
            # In pixels at unit depth, so that cameras with other lenses weigh alike.
            rows += [weight[i] * c.k[0, 0] * (u * p[2] - p[0]), weight[i] * c.k[1, 1] * (v * p[2] - p[1])]
        x = np.linalg.svd(np.array(rows))[2][-1]
        point = x[:3] / x[3]
        error = np.array([np.linalg.norm(cameras[i].project(point[None])[0] - pixels[i]) for i in use])
        weight = {i: float(scores[i] / (1 + (e / ROBUST_PX) ** 2)) for i, e in zip(use, error, strict=True)}
    w = np.array([weight[i] for i in use])
    residual = float((w * error).sum() / w.sum())
    # One view alone can always be met: two must agree.
    if residual > REJECT_PX or (error < REJECT_PX).sum() < 2:
        return None, residual
    return point, residual


def reference(data: Path) -> dict[str, object]:
    """Triangulated joints of all frames."""
    folder = data / "real/calibrated_4cam_single"
    cameras = read_cameras(folder / "Calib.qca.txt")
    movenet = MoveNet(data / "weights/movenet_lightning_fp32_from_int8.onnx")
    seen = np.stack([watch(movenet, folder / f"{c.name}.mp4") for c in cameras])
    frames, errors = [], []
    for t in range(seen.shape[1]):
        joints: list[list[float] | None] = []
        for j in range(17):
            point, residual = triangulate(cameras, seen[:, t, j, :2], seen[:, t, j, 2])
            joints.append(None if point is None else [round(float(v), 5) for v in point])
            if point is not None:
                errors.append(residual)
        frames.append(joints)
    return {
        "frames": frames,
        "reprojection_px_median": float(np.median(errors)),
        "reprojection_px_p90": float(np.quantile(errors, 0.9)),
        "missing": sum(j is None for f in frames for j in f),
    }


def align(a: Floats, b: Floats) -> Floats:
    """`a` [N,3] after the similarity that brings it closest to `b` (Umeyama)."""
    ma, mb = a.mean(0), b.mean(0)
    u, s, vt = np.linalg.svd((a - ma).T @ (b - mb))
    flip = np.diag([1.0, 1.0, np.sign(np.linalg.det(u @ vt))])
    scale = np.trace(np.diag(s) @ flip) / max(float(((a - ma) ** 2).sum()), 1e-12)
    return np.asarray(scale * (a - ma) @ (u @ flip @ vt) + mb)


def compare(camera: Camera, poses: Path, frames: list[list[list[float] | None]]) -> dict[str, float]:
    """Figures of one camera's poses."""
    pa, mpjpe, with_pose, usable, number, known, asked = [], [], 0, 0, [], 0, 0
    for line in poses.read_text().splitlines():
        frame = json.loads(line)
        number.append(int(frame["sequence"]))
        if not 0 <= number[-1] < len(frames):
            continue
        truth = frames[number[-1]]
        pairs = [(h, c) for h, c in SHARED.items() if truth[c] is not None]
        if len(pairs) < 8:
            continue
        usable += 1
        want = np.array([truth[c] for _, c in pairs], np.float64)
        place = camera.project(want).mean(0)

        def apart(person: dict[str, object], place: Floats = place) -> float:
            points = np.array(person["keypoints_px"], np.float64)[5:, :2]
            return float(np.linalg.norm(points.mean(0) - place))

        people = sorted(frame["persons"], key=apart)
        spread = float(np.ptp(camera.project(want)[:, 1]))
        if not people or apart(people[0]) > spread:
            continue
        with_pose += 1
        # An absent joint is written as zeros, which mean nothing.
        there = [i for i, (h, _) in enumerate(pairs) if people[0]["states"][h] != 0]
        known += len(there)
        asked += len(pairs)
        if len(there) < 8:
            continue
        pairs, want = [pairs[i] for i in there], want[there]
        got = np.array([people[0]["joints_camera_m"][h] for h, _ in pairs], np.float64)
        if not np.isfinite(got).all():
            continue
        pa.append(np.linalg.norm(align(got, want) - want, axis=1).mean() * 1000)
        hips = [i for i, (h, _) in enumerate(pairs) if h in (1, 4)]
        if len(hips) == 2:
            local = want @ camera.r.T + camera.t
            shift = got[hips].mean(0) - local[hips].mean(0)
            mpjpe.append(np.linalg.norm(got - shift - local, axis=1).mean() * 1000)
    return {
        "frames": usable,
        "with_pose": with_pose,
        "joints_known": known / max(asked, 1),
        "pa_mpjpe_mm": float(np.mean(pa)) if pa else float("nan"),
        "pa_mpjpe_median_mm": float(np.median(pa)) if pa else float("nan"),
        "mpjpe_mm": float(np.mean(mpjpe)) if mpjpe else float("nan"),
    }


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("data", type=Path)
    p.add_argument("--reference", type=Path, required=True, help="read where it exists, else made")
    p.add_argument("--poses", nargs="*", default=[], help="camera=file, as cam01=poses.jsonl")
    a = p.parse_args()
    if not a.reference.exists():
        a.reference.write_text(json.dumps(reference(a.data)))
    made = json.loads(a.reference.read_text())
    shown = {k: round(made[k], 1) for k in ("reprojection_px_median", "reprojection_px_p90", "missing")}
    print(json.dumps({"reference": str(a.reference), "frames": len(made["frames"]), **shown}))
    cameras = {c.name: c for c in read_cameras(a.data / "real/calibrated_4cam_single/Calib.qca.txt")}
    for entry in a.poses:
        name, _, file = entry.partition("=")
        row = compare(cameras[name], Path(file), made["frames"])
        print(json.dumps({"camera": name, **{k: round(v, 1) for k, v in row.items()}}))


if __name__ == "__main__":
    main()
