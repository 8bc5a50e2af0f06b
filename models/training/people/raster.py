"""A z-buffer rasteriser and skinning for one core (numba)."""

from __future__ import annotations

import numba as nb
import numpy as np


@nb.njit(cache=True, fastmath=True)
def skin(a, w_ix, w, rest, normals, out, out_n):  # noqa: ANN001, ANN201
    """a [22,12] affine of each bone, w_ix [V,4], w [V,4] -> posed vertices and normals."""
    for v in range(rest.shape[0]):
        m = np.zeros(12, np.float32)
        for k in range(4):
            if w[v, k] > 0:
                for e in range(12):
                    m[e] += w[v, k] * a[w_ix[v, k], e]
        for i in range(3):
            out[v, i] = m[3 * i] * rest[v, 0] + m[3 * i + 1] * rest[v, 1] + m[3 * i + 2] * rest[v, 2] + m[9 + i]
            out_n[v, i] = m[3 * i] * normals[v, 0] + m[3 * i + 1] * normals[v, 1] + m[3 * i + 2] * normals[v, 2]


@nb.njit(cache=True, fastmath=True)
def draw(px, depth, colour, label, faces, image, zbuf, labels):  # noqa: ANN001, ANN201
    """px [V,2], depth [V] (m), colour [V,3], label [F] into image [H,W,3], zbuf [H,W], labels [H,W]."""
    h, w = zbuf.shape
    for f in range(faces.shape[0]):
        a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
        if depth[a] < 0.1 or depth[b] < 0.1 or depth[c] < 0.1:
            continue
        ax, ay, bx, by, cx, cy = px[a, 0], px[a, 1], px[b, 0], px[b, 1], px[c, 0], px[c, 1]
        area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
        if area <= 1e-9 and area >= -1e-9:
            continue
        x0, x1 = max(0, int(np.ceil(min(ax, bx, cx)))), min(w - 1, int(np.floor(max(ax, bx, cx))))
        y0, y1 = max(0, int(np.ceil(min(ay, by, cy)))), min(h - 1, int(np.floor(max(ay, by, cy))))
        inv = 1.0 / area
        for y in range(y0, y1 + 1):
            for x in range(x0, x1 + 1):
                u = ((bx - x) * (cy - y) - (by - y) * (cx - x)) * inv
                v = ((cx - x) * (ay - y) - (cy - y) * (ax - x)) * inv
                t = 1 - u - v
                if u < -1e-4 or v < -1e-4 or t < -1e-4:
                    continue
                z = u * depth[a] + v * depth[b] + t * depth[c]
                if z < zbuf[y, x]:
                    zbuf[y, x] = z
                    labels[y, x] = label[f]
                    for k in range(3):
                        image[y, x, k] = u * colour[a, k] + v * colour[b, k] + t * colour[c, k]
