"""A person's silhouette as capsules on the bones, and keypoints and limb widths that agree with a mask of the person.

The silhouette is drawn softly (Liu et al., Soft Rasterizer, ICCV 2019), so that it has a gradient: capsule k covers a
point at distance d from its bone with opacity o = sigmoid((radius - d) / softness), all of them together cover it with
1 - prod(1 - o). `refine` descends

    E = weight * sum over cells of cross entropy(mask, silhouette) - log chance(keypoints) - log chance(widths)

as Dwivedi et al. do with the surface of a body model (Learning to Regress Bodies from Images using Differentiable
Semantic Rendering, ICCV 2021), with skin and clothes apart where a `Method` asks for it. Everything is in crop pixels;
evaluate_silhouette.py measures what it is worth.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from typing import Any

import numba as nb
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from shards import CROP_H, CROP_W

Floats = NDArray[np.float64]
ROWS, COLUMNS, STRIDE = 48, 36, 4
"""Cells of the mask and crop pixels from one to the next; cell (i, j) is at crop pixel (4j+1.5, 4i+1.5)."""
KEYPOINTS = 17
PARTS = ("head", "neck", "trunk", "upper arm", "forearm", "thigh", "shank")
"""Limb classes: one radius each, left and right alike."""
HEAD, NECK, TRUNK, UPPER_ARM, FOREARM, THIGH, SHANK = range(7)
PART_OF = (
    [HEAD, NECK, TRUNK, TRUNK, TRUNK, UPPER_ARM, THIGH]
    + [UPPER_ARM, UPPER_ARM, FOREARM, FOREARM, THIGH, THIGH, SHANK, SHANK]
)  # fmt: skip
"""Limb class of each capsule of `capsules`."""
ENDS = [[0, 1, 2, 3, 4]] * 2 + [[5, 6, 11, 12]] * 3 + [[5, 6], [11, 12], [5, 7], [6, 8], [7, 9], [8, 10]]
ENDS += [[11, 13], [12, 14], [13, 15], [14, 16]]
"""Keypoints of each capsule: it is as surely seen as they are on the average."""
BONES = [(5, 6), (11, 12), (5, 7), (6, 8), (7, 9), (8, 10), (11, 13), (12, 14), (13, 15), (14, 16)]
LIMB_ENDS = (7, 8, 9, 10, 13, 14, 15, 16)
"""Elbows, wrists, knees and ankles."""
FACE = [0.1, 0.15, 0.15, 0.3, 0.3]
"""Weights of nose, eyes and ears in the middle of the head: between the ears, a little to the front."""
TOP_INSET, BOTTOM_INSET = 0.2, 0.1
"""The trunk's corners lie this share of the way from shoulders and hips to its middle: its capsules are wider than
the joints' caps."""
LONG = 0.7
"""A person's size is this quantile of what the torso and each bone say: foreshortening only shortens, and the
longest may be a wrong keypoint. It follows the height of other drawn people about best (standard deviation 15 %; the
mean of the two longest: 30 %)."""
OUTLIER = 0.05
"""Chance that a cell says nothing (a bag, another person): bounds what one cell can cost."""
MASK_CELLS_MIN = 12
"""A mask with fewer cells of a person is taken for empty: a forearm has as many."""
SIZE_PX_MIN = 8.0
"""A person whose torso is shorter has no limbs that cells of four pixels can tell apart."""
VISIBLE_MAX = 0.999
"""Chances are kept below: nothing is divided by 0."""
FAR = 8.0
"""In units of the softness: a capsule whose edge is farther from a cell covers less than 4e-4 of it, and is left
out."""
DISTANCE_EPS_PX2 = 1e-2
"""Under the root of the distance, which has no gradient on the bone itself."""
STUDENT = 3.0
"""Degrees of freedom of the robust tie."""
PLACE_MIN = 1e-4
"""Least chance of a cell of a heatmap: a keypoint may be where the network saw nothing."""


class SilhouetteFault(ValueError):
    """Input that has no silhouette: the message names the thing, its value and the range."""


@dataclass(frozen=True)
class Template:
    """A usual body, lengths in torsos (middle of the shoulders to middle of the hips). Fitted to drawn people with
    their true keypoints and masks (`evaluate_silhouette.py --choose`)."""

    radii: tuple[float, ...] = (0.283, 0.12, 0.237, 0.088, 0.072, 0.176, 0.136)
    """Of `PARTS`."""
    spreads: tuple[float, ...] = (0.13, 0.2, 0.11, 0.22, 0.23, 0.15, 0.23)
    """Standard deviations of their logarithms between people."""
    crown: float = 0.057
    """From the middle of the face to the head capsule's upper end."""
    chin: float = 0.15
    """And to its lower one."""
    hand: float = 0.248
    """How far the forearm's capsule goes beyond the wrist."""
    foot: float = 0.082
    """And the shank's beyond the ankle."""
    bones: tuple[float, ...] = (0.766, 0.468, 0.536, 0.536, 0.526, 0.526, 0.878, 0.878, 0.927, 0.927)
    """Lengths of `BONES`."""


@dataclass(frozen=True)
class Tie:
    """How far a keypoint is from the truth: log sigma (torsos, each axis) = offset + bias of the keypoint + place *
    logit(chance of the place) + visible * logit of being seen. Fitted on drawn people and photographs
    (`evaluate_silhouette.py --choose`)."""

    offset: float = -1.292
    place: float = -0.563
    visible: float = -0.005
    biases: tuple[float, ...] = (
        *(-0.12, -0.15, -0.18, -0.12, -0.19),
        *(-0.01, 0.21, 0.08, 0.07, 0.05, 0.15),
        *(-0.18, -0.1, -0.03, 0.02, 0.23, 0.26),
    )
    """Of each keypoint."""

    def sigma(self, place: Tensor, visible: Tensor) -> Tensor:
        """Standard deviations [N,17] of chances of the place and of being seen [N,17]."""
        edge = 1e-3
        x = self.offset + torch.tensor(self.biases) + self.place * torch.logit(place.clamp(edge, 1 - edge))
        return torch.exp((x + self.visible * torch.logit(visible.clamp(edge, 1 - edge))).clamp(-5, 1))


@dataclass(frozen=True)
class Method:
    """What is descended."""

    weight: float = 0.01
    """Of a cell's cross entropy: cells are not independent of each other."""
    softness: float = 2.0
    """Crop pixels."""
    radii: str = "fitted"
    """`fitted`: one for each limb class and person; `fixed`: the template's."""
    tie: str = "gaussian"
    """`gaussian`, `student` (robust), `heatmap` (the network's distribution itself), `none`."""
    semantic: bool = False
    """Skin against the bare capsules as well (DSR's semantic term)."""
    threshold: float | None = None
    """A cell is the person where the chance is above this; otherwise the chance itself is compared."""
    moves: str = "all"
    """Which keypoints: `all`, `limbs` (elbows, wrists, knees, ankles), or `unsure` ones (`UNSURE_FROM`)."""
    widths_first: int = 8
    """Steps of Adam for the radii alone: else keypoints move to where a person is only wider than usual."""
    steps: int = 16
    """Steps for keypoints and radii together."""


UNSURE_FROM = 0.1
"""Standard deviation, torsos, from which on a keypoint is unsure: half of them are."""
RATE_PX, RATE_LAST_PX, RATE_RADII = 0.6, 0.1, 0.05
"""Length of Adam's first and last step in a keypoint's coordinate, and of the steps in the logarithm of a radius: a
keypoint can move by about ten pixels, a fifth of a torso."""


@dataclass
class Seen:
    """What a person network says of N crops."""

    keypoints: Tensor
    """[N,17,2], crop pixels."""
    place: Tensor
    """Chances around the peaks [N,17]."""
    visible: Tensor
    """Chances of being seen [N,17]."""
    mask: Tensor
    """Chances of background, skin and hair, clothes [N,3,48,36]."""
    inside: Tensor
    """1 where the cell is in the image, 0 where the crop goes beyond it [N,48,36]."""
    heat: Tensor | None = None
    """Distributions [N,17,48,36], for a tie to the heatmap."""

    def checked(self) -> Seen:
        """Itself. Raises SilhouetteFault where a shape is another or a number is none."""
        n = len(self.keypoints)
        shapes = {"keypoints": (n, KEYPOINTS, 2), "place": (n, KEYPOINTS), "visible": (n, KEYPOINTS)}
        shapes |= {"mask": (n, 3, ROWS, COLUMNS), "inside": (n, ROWS, COLUMNS)}
        for name, shape in shapes.items():
            value: Tensor = getattr(self, name)
            if tuple(value.shape) != shape:
                raise SilhouetteFault(f"{name}: shape {tuple(value.shape)}, wanted {shape}")
            finite = torch.isfinite(value)
            if not finite.all():
                first = tuple(int(i) for i in torch.nonzero(~finite)[0])
                raise SilhouetteFault(f"{name}{list(first)}: {value[first].item()}, wanted a finite number")
            low, high = float(value.min()) if n else 0.0, float(value.max()) if n else 0.0
            if name != "keypoints" and not (low >= 0 and high <= 1):
                raise SilhouetteFault(f"{name}: values from {low:g} to {high:g}, wanted chances from 0 to 1")
        return self

    def rows(self, which: Tensor | slice) -> Seen:
        """Some of the crops."""
        heat = None if self.heat is None else self.heat[which]
        k, place, visible, mask, inside = (getattr(self, f.name)[which] for f in fields(self)[:-1])
        return Seen(k, place, visible, mask, inside, heat)


@dataclass
class Body2d:
    """Keypoints [N,17,2] and radii [N,7] (limb classes), crop pixels, of N people, and their `sizes` [N]: torsos in
    crop pixels."""

    keypoints: Tensor
    radii: Tensor
    sizes: Tensor


def cells(dtype: torch.dtype = torch.float32) -> Tensor:
    """Crop pixels [1728,2] of the mask's cells, row by row."""
    half = (STRIDE - 1) / 2
    y, x = torch.meshgrid(torch.arange(ROWS) * STRIDE + half, torch.arange(COLUMNS) * STRIDE + half, indexing="ij")
    return torch.stack([x, y], -1).reshape(-1, 2).to(dtype)


def sizes_of(keypoints: Tensor, template: Template) -> Tensor:
    """Torso lengths [N] in the pixels of keypoints [N,17,2], without foreshortening: as long bones say, measured by
    the template's."""
    torso = (keypoints[:, 5] + keypoints[:, 6] - keypoints[:, 11] - keypoints[:, 12]).norm(dim=-1) / 2
    bones = [(keypoints[:, a] - keypoints[:, b]).norm(dim=-1) for a, b in BONES]
    torsos = torch.stack([torso, *(bone / usual for bone, usual in zip(bones, template.bones, strict=True))], 1)
    return torsos.quantile(LONG, dim=1).clamp(min=SIZE_PX_MIN)


def unit(v: Tensor) -> Tensor:
    """Directions [...,2]; 0 where there is none."""
    return v / v.norm(dim=-1, keepdim=True).clamp(min=1e-3)


def capsules(k: Tensor, sizes: Tensor, template: Template) -> tuple[Tensor, Tensor]:
    """The bones of the capsules of keypoints [N,17,2]: beginnings and ends [N,15,2]. `sizes` [N] are torsos in
    pixels."""
    s = sizes[:, None]
    weights = torch.tensor(FACE, dtype=k.dtype)
    face = (k[:, :5] * weights[:, None]).sum(1)
    shoulders, hips = (k[:, 5] + k[:, 6]) / 2, (k[:, 11] + k[:, 12]) / 2
    middle = (shoulders + hips) / 2
    up = unit(face - shoulders)
    begins = [face - template.chin * s * up, shoulders]
    ends = [face + template.crown * s * up, face]
    for shoulder, hip in ((5, 11), (6, 12)):
        begins.append(torch.lerp(k[:, shoulder], middle, TOP_INSET))
        ends.append(torch.lerp(k[:, hip], middle, BOTTOM_INSET))
    begins += [torch.lerp(shoulders, middle, TOP_INSET), k[:, 5], k[:, 11], k[:, 5], k[:, 6], k[:, 7], k[:, 8]]
    ends += [torch.lerp(hips, middle, BOTTOM_INSET), k[:, 6], k[:, 12], k[:, 7], k[:, 8]]
    ends += [
        k[:, 9] + template.hand * s * unit(k[:, 9] - k[:, 7]),
        k[:, 10] + template.hand * s * unit(k[:, 10] - k[:, 8]),
    ]
    begins += [k[:, 11], k[:, 12], k[:, 13], k[:, 14]]
    ends += [k[:, 13], k[:, 14]]
    ends += [
        k[:, 15] + template.foot * s * unit(k[:, 15] - k[:, 13]),
        k[:, 16] + template.foot * s * unit(k[:, 16] - k[:, 14]),
    ]
    return torch.stack(begins, 1), torch.stack(ends, 1)


def distances(points: Tensor, begins: Tensor, ends: Tensor) -> Tensor:
    """Pixels [N,C,K] from points [C,2] to the segments [N,K,2]."""
    along = ends - begins
    length2 = along.square().sum(-1)[:, None].clamp(min=1e-6)
    dot = points @ along.transpose(1, 2) - (begins * along).sum(-1)[:, None]
    apart2 = points.square().sum(-1)[:, None] - 2 * points @ begins.transpose(1, 2) + begins.square().sum(-1)[:, None]
    # The nearest point of a segment is a minimum: moving it changes nothing to first order.
    t = (dot / length2).detach().clamp(0, 1)
    return (apart2 - 2 * t * dot + t.square() * length2).clamp(min=0).add(DISTANCE_EPS_PX2).sqrt()


def depths(body: Body2d, template: Template, softness: float) -> Tensor:
    """How deep each cell lies in each capsule [N,1728,15], in units of the softness: the logit of the opacity."""
    begins, ends = capsules(body.keypoints, body.sizes, template)
    d = distances(cells(body.keypoints.dtype), begins, ends)
    return (body.radii[:, None, PART_OF] - d) / softness


def silhouette(body: Body2d, template: Template, softness: float = 2.0) -> Tensor:
    """How much of each cell is covered [N,48,36]: 1 - prod(1 - opacity)."""
    z = depths(body, template, softness)
    return -torch.expm1(-F.softplus(z).sum(-1)).reshape(-1, ROWS, COLUMNS)


@nb.njit(cache=True, fastmath=True)
def cross_entropy(begins, ends, radii, share, opacity, mask, inside, softness):  # noqa: ANN001, ANN201
    """Costs [N] of `disagreement`, and their gradients with respect to begins [N,K,2], ends [N,K,2] and radii [N,K]."""
    n, count = radii.shape
    cost = np.zeros(n)
    to_begins, to_ends, to_radii = np.zeros((n, count, 2)), np.zeros((n, count, 2)), np.zeros((n, count))
    near = np.empty(count, np.int64)
    at, nx, ny, sig = np.empty(count), np.empty(count), np.empty(count), np.empty(count)
    mix = 1 - 2 * OUTLIER
    low, high = np.empty((count, 2)), np.empty((count, 2))
    for i in range(n):
        for k in range(count):
            far = radii[i, k] + FAR * softness
            for e in range(2):
                low[k, e] = min(begins[i, k, e], ends[i, k, e]) - far
                high[k, e] = max(begins[i, k, e], ends[i, k, e]) + far
        for c in range(ROWS * COLUMNS):
            weight = inside[i, c]
            if weight <= 0:
                continue
            x = (c % COLUMNS) * STRIDE + (STRIDE - 1) / 2
            y = (c // COLUMNS) * STRIDE + (STRIDE - 1) / 2
            found, none, free = 0, 1.0, 1.0
            for k in range(count):
                if x < low[k, 0] or x > high[k, 0] or y < low[k, 1] or y > high[k, 1]:
                    continue
                ax, ay = begins[i, k, 0], begins[i, k, 1]
                bx, by = ends[i, k, 0] - ax, ends[i, k, 1] - ay
                t = min(max(((x - ax) * bx + (y - ay) * by) / max(bx * bx + by * by, 1e-6), 0.0), 1.0)
                dx, dy = x - ax - t * bx, y - ay - t * by
                far = radii[i, k] + FAR * softness
                if dx * dx + dy * dy > far * far:
                    continue
                d = math.sqrt(dx * dx + dy * dy + DISTANCE_EPS_PX2)
                o = 1 / (1 + math.exp((d - radii[i, k]) / softness))
                near[found], at[found], nx[found], ny[found], sig[found] = k, t, dx / d, dy / d, o
                found += 1
                none *= 1 - share[i, k] * o
                free *= 1 - share[i, k] * opacity[i, k] * o
            m = mask[i, c]
            has, lacks = OUTLIER + mix * (1 - none), OUTLIER + mix * free
            cost[i] -= weight * (m * math.log(has) + (1 - m) * math.log(lacks))
            for e in range(found):
                k, o = near[e], sig[e]
                a, v = share[i, k], share[i, k] * opacity[i, k]
                slope = (1 - m) * mix * v * free / (lacks * (1 - v * o)) - m * mix * a * none / (has * (1 - a * o))
                g = weight * slope * o * (1 - o) / softness
                to_radii[i, k] += g
                to_begins[i, k, 0] += g * (1 - at[e]) * nx[e]
                to_begins[i, k, 1] += g * (1 - at[e]) * ny[e]
                to_ends[i, k, 0] += g * at[e] * nx[e]
                to_ends[i, k, 1] += g * at[e] * ny[e]
    return cost, to_begins, to_ends, to_radii


class Disagreement(torch.autograd.Function):
    """`disagreement` with its gradient by hand: no tensor of every capsule and cell is needed."""

    @staticmethod
    def forward(
        ctx: Any, begins: Tensor, ends: Tensor, radii: Tensor, fixed: tuple[Tensor, ...], softness: float
    ) -> Tensor:
        """Costs [N]; `fixed` are share, opacity, mask and inside."""
        arrays = [v.detach().numpy().astype(np.float64) for v in (begins, ends, radii, *fixed)]
        cost, *gradients = cross_entropy(*arrays, softness)
        ctx.save_for_backward(*(torch.from_numpy(g).to(begins.dtype) for g in gradients))
        return torch.from_numpy(cost).to(begins.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        """With respect to begins, ends and radii."""
        to_begins, to_ends, to_radii = ctx.saved_tensors
        (g,) = gradients
        return g[:, None, None] * to_begins, g[:, None, None] * to_ends, g[:, None] * to_radii, None, None


def disagreement(
    body: Body2d, template: Template, softness: float, mask: Tensor, inside: Tensor, share: Tensor, opacity: Tensor
) -> Tensor:
    """Sum over the cells of the cross entropy of a mask [N,48,36] with the capsules [N].

    Cells of the person are to be covered by any capsule, other cells by none that can be seen: `opacity` [N,15] is
    the chance of that, since a limb behind a table is not in the mask. `share` [N,15] is how far a capsule belongs
    to the mask at all (bare ones to the skin). Each cell says nothing with the chance `OUTLIER`.
    """
    begins, ends = capsules(body.keypoints, body.sizes, template)
    top = VISIBLE_MAX
    fixed = (share.clamp(max=top), opacity.clamp(max=top), mask.flatten(1), inside.flatten(1))
    cost: Tensor = Disagreement.apply(begins, ends, body.radii[:, PART_OF], fixed, softness)
    return cost


def bareness(seen: Seen, body: Body2d, template: Template, softness: float) -> Tensor:
    """Share of skin in what the mask shows of each capsule [N,15]; heads are skin and hair."""
    opacity = torch.sigmoid(depths(body, template, softness))
    skin, clothes = seen.mask[:, 1].flatten(1), seen.mask[:, 2].flatten(1)
    of_skin = (opacity * skin[..., None]).sum(1)
    share = of_skin / (of_skin + (opacity * clothes[..., None]).sum(1)).clamp(min=1e-3)
    share[:, 0] = 1.0
    return share


def usable(seen: Seen) -> Tensor:
    """Which crops [N] have a mask that is not empty."""
    return ((1 - seen.mask[:, 0]) * seen.inside > 0.5).flatten(1).sum(1) >= MASK_CELLS_MIN


def start(seen: Seen, template: Template) -> Body2d:
    """The network's keypoints with a usual body around them."""
    sizes = sizes_of(seen.keypoints, template)
    return Body2d(seen.keypoints, sizes[:, None] * torch.tensor(template.radii, dtype=seen.keypoints.dtype), sizes)


def unlikely(moved: Tensor, seen: Seen, tie: Tie, sizes: Tensor, method: Method) -> Tensor:
    """Minus the logarithm of the chance of keypoints [N,17,2], up to a constant: [N,17]."""
    if method.tie == "none":
        return torch.zeros(moved.shape[:2])
    if method.tie == "heatmap":
        if seen.heat is None:
            raise SilhouetteFault("heat: none, wanted distributions [N,17,48,36] for a tie to the heatmap")
        size = torch.tensor([CROP_W, CROP_H], dtype=moved.dtype)
        grid = ((moved + 0.5) / size * 2 - 1).reshape(-1, 1, 1, 2)
        logs = torch.log(seen.heat + PLACE_MIN).reshape(-1, 1, ROWS, COLUMNS)
        at = F.grid_sample(logs, grid, align_corners=False, padding_mode="border")
        return -at.reshape(moved.shape[:2])
    sigma = tie.sigma(seen.place, seen.visible) * sizes[:, None]
    apart = (moved - seen.keypoints).square().sum(-1) / sigma.square()
    if method.tie == "student":
        return (STUDENT + 2) / 2 * torch.log1p(apart / STUDENT)
    if method.tie != "gaussian":
        raise SilhouetteFault(f"tie: {method.tie!r}, wanted gaussian, student, heatmap or none")
    return apart / 2


def energy(body: Body2d, seen: Seen, bare: Tensor | None, template: Template, tie: Tie, method: Method) -> Tensor:
    """E of each person [N]; `bare` [N,15] are shares of skin for the semantic term."""
    opacity = torch.stack([seen.visible[:, ends].mean(1) for ends in ENDS], 1)
    person = 1 - seen.mask[:, 0]
    if method.threshold is not None:
        person = (person > method.threshold).to(person.dtype)
    cost = disagreement(body, template, method.softness, person, seen.inside, torch.ones_like(opacity), opacity)
    if bare is not None:
        cost = cost + disagreement(body, template, method.softness, seen.mask[:, 1], seen.inside, bare, opacity)
    usual = body.sizes[:, None] * torch.tensor(template.radii, dtype=cost.dtype)
    width = torch.log(body.radii / usual) / torch.tensor(template.spreads, dtype=cost.dtype)
    return (
        method.weight * cost
        + unlikely(body.keypoints, seen, tie, body.sizes, method).sum(1)
        + width.square().sum(1) / 2
    )


def movable(seen: Seen, tie: Tie, method: Method) -> Tensor:
    """Which keypoints [N,17] move."""
    if method.moves == "unsure":
        return tie.sigma(seen.place, seen.visible) > UNSURE_FROM
    if method.moves not in ("all", "limbs"):
        raise SilhouetteFault(f"moves: {method.moves!r}, wanted all, limbs or unsure")
    which = torch.ones(seen.place.shape, dtype=torch.bool)
    if method.moves == "limbs":
        which[:, [j for j in range(KEYPOINTS) if j not in LIMB_ENDS]] = False
    return which


def descend(seen: Seen, template: Template, tie: Tie, method: Method) -> Body2d:
    """As `refine`, of crops whose masks are usable."""
    first = start(seen, template)
    bare = bareness(seen, first, template, method.softness) if method.semantic else None
    keypoints, widths = first.keypoints.clone().requires_grad_(), torch.log(first.radii).requires_grad_()
    free = movable(seen, tie, method)[..., None].to(keypoints.dtype)
    fitted = method.radii == "fitted"
    if not fitted and method.radii != "fixed":
        raise SilhouetteFault(f"radii: {method.radii!r}, wanted fitted or fixed")
    adam = torch.optim.Adam(
        [{"params": [keypoints]}, {"params": [widths], "lr": RATE_RADII * fitted}], betas=(0.8, 0.95)
    )
    before = method.widths_first if fitted else 0
    for step in range(-before, method.steps):
        share = max(step, 0) / max(1, method.steps - 1)
        adam.param_groups[0]["lr"] = RATE_PX * (RATE_LAST_PX / RATE_PX) ** share if step >= 0 else 0.0
        adam.zero_grad()
        energy(Body2d(keypoints, torch.exp(widths), first.sizes), seen, bare, template, tie, method).sum().backward()
        if keypoints.grad is not None:
            keypoints.grad *= free
        adam.step()
    return Body2d(keypoints.detach(), torch.exp(widths).detach(), first.sizes)


def refine(seen: Seen, template: Template, tie: Tie, method: Method) -> Body2d:
    """Keypoints and radii that agree with the masks. A person whose mask is empty keeps the network's keypoints.
    Raises SilhouetteFault."""
    seen.checked()
    if not (math.isfinite(method.weight) and method.weight >= 0 and method.softness > 0 and method.steps >= 0):
        raise SilhouetteFault(f"{method}: wanted a finite weight of 0 or more, softness over 0, steps of 0 or more")
    out = start(seen, template)
    out = replace(out, keypoints=out.keypoints.clone(), radii=out.radii.clone())
    which = torch.nonzero(usable(seen))[:, 0]
    if len(which):
        fitted = descend(seen.rows(which), template, tie, method)
        out.keypoints[which], out.radii[which] = fitted.keypoints, fitted.radii
    return out


def extent(body: Body2d, template: Template, direction: Tensor) -> Tensor:
    """Pixels [N] from one end of the capsules to the other along directions [N,2] of length one."""
    begins, ends = capsules(body.keypoints, body.sizes, template)
    radii = body.radii[:, PART_OF]
    at = torch.cat([begins, ends], 1) @ direction[..., None]
    reach = torch.cat([radii, radii], 1)
    return (at[..., 0] + reach).max(1).values - (at[..., 0] - reach).min(1).values
