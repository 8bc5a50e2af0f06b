"""What people look like: skin, hair, face, clothes."""

from __future__ import annotations

import numpy as np

from body import Body, Rig, shaped
from pictures import hsv
from raster import skin

F = np.float32
SKIN = [
    (0.98, 0.83, 0.74),
    (0.93, 0.75, 0.62),
    (0.82, 0.62, 0.48),
    (0.66, 0.46, 0.33),
    (0.45, 0.30, 0.21),
    (0.28, 0.18, 0.13),
]
HAIR = [
    (0.06, 0.05, 0.05),
    (0.18, 0.11, 0.07),
    (0.35, 0.22, 0.12),
    (0.72, 0.55, 0.30),
    (0.55, 0.55, 0.55),
    (0.45, 0.16, 0.08),
    (0.85, 0.83, 0.8),
]


def noise3(x: np.ndarray, rng: np.random.Generator, scale: float, n: int = 5) -> np.ndarray:
    """Smooth noise of rest positions [V,3], about -1..1."""
    out = np.zeros(len(x), F)
    for _ in range(n):
        d = rng.normal(size=3).astype(F)
        out += np.sin(x @ (d * F(scale * (0.5 + rng.random()))) + F(rng.random() * 6.28))
    return out / n * F(1.6)


def cloth(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A textile's colour at rest positions [V,3] -> [V,3]."""
    base, other = hsv(rng), hsv(rng)
    kind = rng.random()
    if kind < 0.45:
        k = np.zeros(len(x), F)
    elif kind < 0.6:
        d = np.array([(0, 1, 0), (1, 0, 0), (0.7, 0.7, 0)][rng.integers(3)], F)
        k = (np.sin(x @ d * F(rng.uniform(30, 120))) > rng.uniform(-0.5, 0.7)).astype(F)
    elif kind < 0.7:
        s = F(rng.uniform(30, 80))
        k = ((np.sin(x[:, 0] * s) > 0) ^ (np.sin(x[:, 1] * s) > 0)).astype(F)
    elif kind < 0.85:
        k = (noise3(x, rng, rng.uniform(15, 60)) > rng.uniform(-0.2, 0.4)).astype(F)
    else:
        k = (np.hypot(x[:, 0], x[:, 1] - rng.uniform(0.2, 0.5)) < rng.uniform(0.05, 0.15)).astype(F) * (x[:, 2] > 0)
    c = base + (other - base) * k[:, None]
    return np.clip(c * (1 + F(0.12) * noise3(x, rng, 40)[:, None]), 0, 1)


class Look:
    """One person with clothes: rest mesh, colours, which faces are drawn, their mask class."""

    def __init__(self, body: Body, rng: np.random.Generator) -> None:
        self.rng = rng
        self.rig = Rig(body, shaped(body, rng))
        v = self.rig.rest.copy()
        self.bone = body.weights.argmax(1)
        self.skin_colour = np.array(SKIN[rng.integers(len(SKIN))], F) * F(rng.uniform(0.85, 1.1))
        self.colour = np.tile(self.skin_colour, (len(v), 1)) * (1 + F(0.05) * noise3(v, rng, 30)[:, None])
        self.worn = np.zeros(len(v), bool)
        shirt, trousers, shoes = self.dress(v)
        self.hair_colour = np.array(HAIR[rng.integers(len(HAIR))], F)
        hair = self.head(v)
        loose = np.zeros(len(v), F)
        loose[shirt] = rng.uniform(0, 0.03)
        loose[trousers] = rng.uniform(0, 0.03)
        loose[shoes] = 0.006
        loose[hair] = rng.uniform(0.004, 0.03)
        v = v + self.rig.normals * (loose * (1 + F(0.4) * noise3(v, rng, 25)))[:, None]
        self.rig.rest = v.astype(F)
        self.wrinkle(v)
        keep = self.long_hair_and_skirt(body, v)
        self.faces = np.ascontiguousarray(body.faces[keep])
        self.colour = np.clip(self.colour, 0, 1).astype(F)
        self.label = np.where(self.worn[self.faces[:, 0]], 2, 1).astype(np.int8)
        self.weigh(body.weights)
        self.used = np.unique(self.faces)
        self.out, self.out_n = np.empty_like(self.rig.rest), np.empty_like(self.rig.rest)

    def along(self, v: np.ndarray, chains: list[tuple[int, int, int]]) -> np.ndarray:
        """How far down a limb [V]: 0 at its root joint, 1 at the middle one, 2 at the last, 0 elsewhere."""
        joint, out = self.rig.joint, np.zeros(len(v), F)
        for a, b, c in chains:
            d1, d2 = joint[b] - joint[a], joint[c] - joint[b]
            l1, l2 = np.linalg.norm(d1), np.linalg.norm(d2)
            m1, m2 = self.bone == a, self.bone == b
            out[m1] = np.clip((v[m1] - joint[a]) @ (d1 / l1) / l1, 0, 1.05)
            out[m2] = 1 + np.clip((v[m2] - joint[b]) @ (d2 / l2) / l2, -0.1, 1.05)
        return out

    def dress(self, v: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Colours shirt, trousers and shoes of random lengths; which vertices they cover [V]."""
        rng, joint, bone = self.rng, self.rig.joint, self.bone
        arm_at = self.along(v, [(16, 18, 20), (17, 19, 21)])
        leg_at = self.along(v, [(1, 4, 7), (2, 5, 8)])
        torso, arm = np.isin(bone, (0, 3, 6, 9, 13, 14)), np.isin(bone, (16, 17, 18, 19))
        leg, foot = np.isin(bone, (1, 2, 4, 5)), np.isin(bone, (7, 8, 10, 11))
        hem = joint[1, 1] + rng.uniform(-0.15, 0.08)
        sleeve = rng.choice([0.02, 0.45, 0.6, 1.0, 1.6, 2.0], p=[0.1, 0.25, 0.25, 0.05, 0.05, 0.3])
        collar = joint[12, 1] - rng.uniform(0, 0.05)
        shirt = (torso & (v[:, 1] > hem) & (v[:, 1] < collar)) | (arm & (arm_at < sleeve))
        if rng.random() < 0.95:
            self.wear(shirt, v)
        length = rng.choice([0.15, 0.45, 0.8, 1.5, 1.95], p=[0.08, 0.2, 0.12, 0.1, 0.5])
        trousers = ((torso & (v[:, 1] <= hem)) | (leg & (leg_at < length))) & ~shirt
        self.wear(trousers, v)
        shoes = foot | (leg & (leg_at > rng.uniform(1.8, 2.05)))
        if rng.random() < 0.9:
            self.wear(shoes, v)
        return shirt, trousers, shoes

    def wear(self, where: np.ndarray, v: np.ndarray) -> None:
        """Puts one textile on the vertices `where` [V]."""
        self.colour[where] = cloth(v[where], self.rng)
        self.worn |= where

    def head(self, v: np.ndarray) -> np.ndarray:
        """Colours hair, beard, eyes, brows, mouth, glasses; which vertices are hair [V]."""
        rng, marks, head = self.rng, self.rig.marks, self.bone == 15
        hair = np.zeros(len(v), bool)
        if rng.random() < 0.92:
            above = v - 0.5 * (marks[1] + marks[2])
            line = rng.uniform(0.03, 0.06)
            hair = head & ((above[:, 1] > line) | ((above[:, 2] < -0.07) & (above[:, 1] > rng.uniform(-0.12, -0.03))))
            self.colour[hair] = self.hair_colour * (1 + F(0.25) * noise3(v[hair], rng, 150)[:, None])
        if rng.random() < 0.15:
            beard = head & (v[:, 1] < marks[0][1] - 0.025) & (v[:, 2] > marks[0][2] - 0.09)
            self.colour[beard] = self.hair_colour
        face = head & ~hair
        for eye in (marks[1], marks[2]):
            near = np.linalg.norm(v - eye, axis=1) < 0.014
            self.colour[face & near] = (0.12, 0.1, 0.1)
            brow = face & (np.abs(v[:, 1] - eye[1] - 0.022) < 0.006) & (np.abs(v[:, 0] - eye[0]) < 0.022)
            self.colour[brow] = self.hair_colour * 0.7
        front = face & (v[:, 2] > marks[0][2] - 0.05)
        mouth = front & (np.abs(v[:, 1] - marks[0][1] + 0.038) < 0.008) & (np.abs(v[:, 0]) < 0.025)
        self.colour[mouth] = self.skin_colour * np.array([0.8, 0.5, 0.5], F)
        if rng.random() < 0.08:  # glasses
            band = face & (np.abs(v[:, 1] - marks[1][1]) < 0.018) & (v[:, 2] > marks[1][2] - 0.04)
            self.colour[band] = hsv(rng) * 0.4
        return hair

    def wrinkle(self, v: np.ndarray) -> None:
        """Bends the normals: folds in clothes are seen by their shading."""
        depth = np.where(self.worn, F(self.rng.uniform(0, 0.5)), F(0.05))
        bump = np.stack([noise3(v, self.rng, 45) for _ in range(3)], 1)
        self.rig.normals = self.rig.normals + bump * depth[:, None]
        self.rig.normals /= np.linalg.norm(self.rig.normals, axis=1, keepdims=True)

    def long_hair_and_skirt(self, body: Body, v: np.ndarray) -> np.ndarray:
        """Which faces are drawn [F]: the body's, sometimes the mesh's long hair and skirt."""
        keep = body.part == 0
        if self.rng.random() < 0.25:
            keep |= body.part == 1
            self.colour[np.unique(body.faces[body.part == 1])] = self.hair_colour
        if self.rng.random() < 0.1:
            keep |= body.part == 2
            skirt = np.zeros(len(v), bool)
            skirt[np.unique(body.faces[body.part == 2])] = True
            self.wear(skirt, v)
        return keep

    def weigh(self, weights: np.ndarray) -> None:
        """The four heaviest bones of each vertex."""
        order = np.argsort(-weights, axis=1)[:, :4]
        heaviest = np.take_along_axis(weights, order, 1)
        self.w_ix = order.astype(np.int32)
        self.w = (heaviest / heaviest.sum(1, keepdims=True)).astype(F)

    def posed(self, p: np.ndarray, m: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Vertices and normals [V,3] for joints [22,3] and bone matrices [22,3,3]; overwritten by the next call."""
        t = p - np.einsum("kij,kj->ki", m, self.rig.joint)
        a = np.concatenate([m.reshape(22, 9), t], 1).astype(F)
        skin(a, self.w_ix, self.w, self.rig.rest, self.rig.normals, self.out, self.out_n)
        return self.out, self.out_n
