"""Writes `encoder.safetensors` (encoders, basis, constants) and `golden.safetensors` (stored in- and outputs).

`python export.py --weights W.pt --prior prior.safetensors --phrases DIR --calibrate held_out.safetensors --moving
train.safetensors --out DIR`

The constants of the labels come from people the encoders have not learned from: `scale` makes the softmax over the
phrases' cosines most likely, `none` is the cosine that a tenth of their windows do not reach, `typical` the mean
cosine with a right phrase.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from encoder import STEPS, Encoder, Stored, export, motion_input, rays_input
from evaluate_encoder import embeddings, load
from train_encoder import Streams

CASES = 8
NONE_QUANTILE = 0.10
"""Share of windows inside the vocabulary that *none* may cost."""


def label_constants(encoder: Encoder, data: Streams, text: Tensor, moving: NDArray[np.bool_]) -> dict[str, float]:
    """Scale, none and typical of the ray encoder."""
    e, streams = embeddings(encoder, "rays", data)
    cosines = torch.from_numpy(e) @ text[torch.from_numpy(moving)].T
    right = torch.from_numpy(data.actions[streams][:, moving])
    inside = right.any(1)
    cosines, right = cosines[inside], right[inside]
    best = min(
        (float(-torch.logsumexp(torch.log_softmax(s * cosines, -1).masked_fill(~right, -torch.inf), -1).mean()), s)
        for s in np.geomspace(5, 60, 40)
    )
    own = cosines.masked_fill(~right, -1.0).amax(1)
    return {
        "scale": round(float(best[1]), 3),
        "none": round(float(torch.quantile(cosines.amax(1), NONE_QUANTILE)), 4),
        "typical": round(float(own.mean()), 4),
    }


def golden(encoders: dict[str, Stored], data: Streams, text: Tensor) -> dict[str, Tensor]:
    """Windows with embeddings, and for joints the gradient of 1 - cosine with a phrase (heading and size fixed)."""
    rng = np.random.default_rng(5)
    at, streams = data.draw(CASES, rng)
    target = text[torch.from_numpy(data.actions[streams].argmax(1))]
    joints = torch.from_numpy(data.lifted[at].astype(np.float32)).requires_grad_()
    rays = torch.from_numpy(data.rays[at].astype(np.float32))
    assert joints.shape[1] == STEPS
    motion = encoders["motion"](motion_input(joints))
    loss = (1 - (motion * target).sum(-1)).sum()
    (gradient,) = torch.autograd.grad(loss, joints)
    with torch.no_grad():
        seen = encoders["rays"](rays_input(rays))
    return {
        "motion.joints": joints.detach(), "motion.embedding": motion.detach(), "motion.target": target,
        "motion.gradient": gradient, "rays.input": rays, "rays.embedding": seen,
    }  # fmt: skip


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--weights", type=Path, required=True)
    p.add_argument("--prior", type=Path, required=True)
    p.add_argument("--phrases", type=Path, required=True)
    p.add_argument("--calibrate", type=Path, required=True)
    p.add_argument("--moving", type=Path, nargs="+", required=True)
    p.add_argument("--out", type=Path, required=True)
    a = p.parse_args()
    torch.set_num_threads(1)
    with safe_open(a.phrases / "phrases.safetensors", "pt") as file:
        text = file.get_tensor("text")
    encoders, prior = load(a.weights), load_file(a.prior)
    held = Streams([a.calibrate])
    moving: NDArray[np.bool_] = np.asarray(Streams(a.moving).actions.any(0), np.bool_)
    labels = label_constants(encoders["rays"], held, text, moving)
    constants: dict[str, object] = {"labels": labels, "prior": {"rank": prior["prior.basis"].shape[0]}}
    stored = {name: Stored.of(encoder) for name, encoder in encoders.items()}
    export(stored, prior, constants, a.out / "encoder.safetensors")
    tensors = {k: v.contiguous() for k, v in golden(stored, held, text).items()}
    save_file(tensors, a.out / "golden.safetensors")
    print(json.dumps(constants))


if __name__ == "__main__":
    main()
