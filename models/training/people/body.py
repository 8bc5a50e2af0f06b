"""The CC0 body: blended shapes, a 22-bone rig driven by motion capture, joints and landmarks."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

F = np.float32
TREE = [-1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19]
# Head of each of the 22 tree joints, as a bone of the rig.
HEADS = [
    "spine05",
    "upperleg01.L",
    "upperleg01.R",
    "spine04",
    "lowerleg01.L",
    "lowerleg01.R",
    "spine03",
    "foot.L",
    "foot.R",
    "spine02",
    "toe2-1.L",
    "toe2-1.R",
    "neck01",
    "clavicle.L",
    "clavicle.R",
    "head",
    "upperarm01.L",
    "upperarm01.R",
    "lowerarm01.L",
    "lowerarm01.R",
    "wrist.L",
    "wrist.R",
]


def tree_joint(bone: str) -> int:
    """The tree joint that moves a bone of the rig."""
    right = bone.endswith(".R")
    side = lambda left: left + 1 if right else left  # noqa: E731
    name = bone.split(".")[0]
    for start, joint in (
        ("upperleg", side(1)),
        ("lowerleg", side(4)),
        ("foot", side(7)),
        ("metatarsal", side(7)),
        ("toe", side(10)),
        ("pelvis", 0),
        ("root", 0),
        ("spine05", 0),
        ("spine04", 3),
        ("spine03", 6),
        ("spine02", 9),
        ("spine01", 9),
        ("breast", 9),
        ("clavicle", side(13)),
        ("shoulder", side(13)),
        ("upperarm", side(16)),
        ("lowerarm", side(18)),
        ("wrist", side(20)),
        ("finger", side(20)),
        ("metacarpal", side(20)),
        ("neck", 12),
    ):
        if name.startswith(start):
            return joint
    return 15


@dataclass
class Body:
    """Mesh and rig in metres, y up, facing +z."""

    vertices: np.ndarray
    faces: np.ndarray
    weights: np.ndarray
    heads: list[np.ndarray]
    eyes: tuple[np.ndarray, np.ndarray]
    targets: dict[str, tuple[np.ndarray, np.ndarray]]
    part: np.ndarray
    ears: tuple[int, int]
    nose: int


def load(assets: Path) -> Body:
    vertices, quads, group = [], [], ""
    keep: list[str] = []
    for line in (assets / "base.obj").open():
        if line.startswith("v "):
            vertices.append([float(x) for x in line.split()[1:4]])
        elif line.startswith("g "):
            group = line.split()[1]
        elif line.startswith("f ") and group in ("body", "helper-hair", "helper-skirt"):
            quads.append([int(x.split("/")[0]) - 1 for x in line.split()[1:5]])
            keep.append(group)
    v = np.array(vertices, F) * 0.1
    q = np.array([x if len(x) == 4 else [*x, x[2]] for x in quads], np.int32)
    tri = np.concatenate([q[:, [0, 1, 2]], q[:, [0, 2, 3]]])
    grp = np.array(keep + keep)
    skeleton = json.loads((assets / "default.mhskel").read_text())
    weights = json.loads((assets / "default_weights.mhw").read_text())["weights"]
    w = np.zeros((len(v), 22), F)
    for bone, pairs in weights.items():
        ix = np.array([p[0] for p in pairs], int)
        np.add.at(w[:, tree_joint(bone)], ix, np.array([p[1] for p in pairs], F))
    w /= np.maximum(w.sum(1, keepdims=True), 1e-6)
    heads = [np.array(skeleton["joints"][skeleton["bones"][b]["head"]], int) for b in HEADS]
    left, right = (np.array(skeleton["joints"][skeleton["bones"][b]["head"]], int) for b in ("eye.L", "eye.R"))
    eyes = (left, right)
    targets = {}
    for path in sorted((assets / "targets").glob("*.target")):
        rows = [x.split() for x in path.read_text().splitlines() if x and not x.startswith("#")]
        a = np.array(rows, float).reshape(-1, 4)
        targets[path.stem] = (a[:, 0].astype(int), (a[:, 1:4] * 0.1).astype(F))
    body = grp == "body"
    part = np.zeros(len(tri), np.int8)
    part[grp == "helper-hair"] = 1
    part[grp == "helper-skirt"] = 2
    used = np.unique(tri[body])
    headv = used[w[used, 15] > 0.9]
    nose = int(headv[v[headv, 2].argmax()])
    ly = v[eyes[0], 1].mean()
    band = headv[np.abs(v[headv, 1] - (ly - 0.01)) < 0.03]
    ears = (int(band[v[band, 0].argmax()]), int(band[v[band, 0].argmin()]))
    return Body(v, tri, w, heads, eyes, targets, part, ears, nose)


def shaped(body: Body, rng: np.random.Generator) -> np.ndarray:
    """A random person's rest vertices [V,3] (blend of ethnic, age, muscle and weight shapes)."""
    v = body.vertices.copy()

    def add(name: str, k: float) -> None:
        if name in body.targets and k:
            ix, d = body.targets[name]
            v[ix] += d * F(k)

    male = rng.choice([0.0, 1.0, rng.random()])
    age = rng.choice(["young", "young", "young", "old", "child"])
    race = rng.dirichlet([0.7, 0.7, 0.7])
    for sex, ks in (("male", male), ("female", 1 - male)):
        for r, kr in zip(("african", "asian", "caucasian"), race, strict=True):
            add(f"{r}-{sex}-{age}", ks * kr)
        m, wt = rng.random() * 2 - 1, np.clip(rng.normal(0, 0.6), -1, 1)
        for mn, km in (("minmuscle", max(-m, 0)), ("averagemuscle", 1 - abs(m)), ("maxmuscle", max(m, 0))):
            for wn, kw in (("minweight", max(-wt, 0)), ("averageweight", 1 - abs(wt)), ("maxweight", max(wt, 0))):
                add(f"universal-{sex}-young-{mn}-{wn}", ks * km * kw)
    return v


def align(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The smallest rotation that takes direction a to b."""
    a, b = a / np.linalg.norm(a), b / np.linalg.norm(b)
    c = float(a @ b)
    x = np.cross(a, b)
    k = np.array([[0, -x[2], x[1]], [x[2], 0, -x[0]], [-x[1], x[0], 0]])
    return (np.eye(3) + k + k @ k / (1 + c)).astype(F)


class Rig:
    """One person's body: rest joints, rest-to-T rotations, skinning."""

    def __init__(self, body: Body, rest: np.ndarray) -> None:
        self.body, self.rest = body, rest
        self.joint = np.stack([rest[h].mean(0) for h in body.heads])
        j = self.joint
        self.to_t = np.tile(np.eye(3, dtype=F), (22, 1, 1))
        for bone, child, direction in (
            (1, 4, (0, -1, 0)),
            (2, 5, (0, -1, 0)),
            (4, 7, (0, -1, 0)),
            (5, 8, (0, -1, 0)),
            (16, 18, (1, 0, 0)),
            (17, 19, (-1, 0, 0)),
            (18, 20, (1, 0, 0)),
            (19, 21, (-1, 0, 0)),
        ):
            self.to_t[bone] = align(j[child] - j[bone], np.array(direction, F))
        self.to_t[20], self.to_t[21] = self.to_t[18], self.to_t[19]
        head = j[15]
        eye = 0.5 * (rest[body.eyes[0]].mean(0) + rest[body.eyes[1]].mean(0))
        self.marks = np.stack(
            [
                rest[body.nose],
                rest[body.eyes[0]].mean(0) + [0, 0, 0.012],
                rest[body.eyes[1]].mean(0) + [0, 0, 0.012],
                rest[body.ears[0]],
                rest[body.ears[1]],
                np.array([0.5 * (rest[body.ears[0]][0] + rest[body.ears[1]][0]), eye[1] + 0.01, head[2] + 0.01]),
            ]
        ).astype(F)
        self.normals = vertex_normals(rest, body.faces)

    def window(self, rot: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """rot [T,22,3,3] -> joints [T,22,3], bone matrices of the newest [22,3,3], marks [T,6,3]."""
        n = len(rot)
        g = np.zeros((n, 22, 3, 3), F)
        p = np.zeros((n, 22, 3), F)
        for k, parent in enumerate(TREE):
            if parent < 0:
                g[:, k] = rot[:, k]
            else:
                g[:, k] = g[:, parent] @ rot[:, k]
                p[:, k] = p[:, parent] + g[:, parent] @ (self.to_t[parent] @ (self.joint[k] - self.joint[parent]))
        m15 = g[:, 15] @ self.to_t[15]
        marks = p[:, 15, None] + (self.marks - self.joint[15]) @ m15.transpose(0, 2, 1)
        return p, g[-1] @ self.to_t, marks


def vertex_normals(v: np.ndarray, f: np.ndarray) -> np.ndarray:
    n = np.cross(v[f[:, 1]] - v[f[:, 0]], v[f[:, 2]] - v[f[:, 0]])
    out = np.zeros_like(v)
    for k in range(3):
        np.add.at(out, f[:, k], n)
    return (out / np.maximum(np.linalg.norm(out, axis=1, keepdims=True), 1e-9)).astype(F)


def h36m(p: np.ndarray, marks: np.ndarray) -> np.ndarray:
    """Tree joints [...,22,3] and marks [...,6,3] to the 17 joints [...,17,3]."""
    out = np.zeros((*p.shape[:-2], 17, 3), F)
    for a, b in zip(
        (1, 2, 3, 4, 5, 6, 8, 11, 12, 13, 14, 15, 16), (2, 5, 8, 1, 4, 7, 12, 16, 18, 20, 17, 19, 21), strict=True
    ):
        out[..., a, :] = p[..., b, :]
    out[..., 0, :] = 0.5 * (p[..., 1, :] + p[..., 2, :])
    out[..., 7, :] = 0.5 * (out[..., 0, :] + out[..., 8, :])
    out[..., 9, :] = p[..., 15, :]
    out[..., 10, :] = marks[..., 5, :]
    return out


def coco(p: np.ndarray, marks: np.ndarray) -> np.ndarray:
    """Tree joints and marks to the 17 COCO keypoints [...,17,3]."""
    out = np.zeros((*p.shape[:-2], 17, 3), F)
    out[..., :5, :] = marks[..., :5, :]
    for a, b in zip(range(5, 17), (16, 17, 18, 19, 20, 21, 1, 2, 4, 5, 7, 8), strict=True):
        out[..., a, :] = p[..., b, :]
    return out
