"""The lifters of the literature: what is exported is what was trained, within bounds, and sees no future."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
import torch
from test_lifter import run
from torch import nn

from blocks import FEATURE, PER_FRAME, STEPS, TOKEN, Attention, ChannelNorm, Foldable, folded, tokens_of
from convformer import DynamicConv
from evaluate import load_lifter
from export import parameters, write_graph
from gla_gcn import subset_graphs
from ktpformer import Prior, chain, edges_graph
from model import BACKBONES, Exported, Head, Lifter, frames_of, losses, make_backbone
from simulate import PARTS, TRAINING, without
from skeleton import COCO_EDGES, COCO_MIRROR, JOINTS
from window import FRAMES

SMALL = ("tcn-small", "ktpformer", "convformer", "gla-gcn", "hot")
LIMIT_BYTES = 1_500_000
"""What a network that ships beside the large one may weigh, head included."""

RUNS_IN_TRACT = {
    "Add", "Concat", "Constant", "Conv", "Div", "Gemm", "Identity", "LayerNormalization", "MatMul", "Mul", "Relu",
    "Reshape", "Slice", "Softmax", "Split", "Transpose",
}  # fmt: skip


def trained(name: str) -> nn.Module:
    """A backbone whose normalisations and zeros have moved off their start."""
    torch.manual_seed(3)
    backbone = make_backbone(name)
    with torch.no_grad():
        for parameter in backbone.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    backbone.train()
    for _ in range(3):
        backbone(0.7 * torch.randn(64, FRAMES, PER_FRAME) + 0.1)
    return backbone.eval()


@pytest.mark.parametrize("name", SMALL)
def test_the_graph_is_the_network_with_plain_operators_and_fits(name: str, tmp_path: Path) -> None:
    path = tmp_path / "backbone.onnx"
    operators, worst = write_graph(trained(name), path)
    assert worst < 1e-5
    assert set(operators) <= RUNS_IN_TRACT
    graph = onnx.load(str(path)).graph
    shapes = [[d.dim_value for d in v.type.tensor_type.shape.dim] for v in (*graph.input, *graph.output)]
    assert shapes == [[1, FRAMES, JOINTS, 4], [1, FEATURE]]
    head = sum(p.numel() for p in Head().parameters())
    assert parameters(path) < 290_000
    # The names of tensors in head.safetensors take less than a kilobyte.
    assert path.stat().st_size + 4 * head + 1000 < LIMIT_BYTES


@pytest.mark.parametrize("name", SMALL)
def test_folding_changes_no_feature_and_leaves_the_network_as_it_was(name: str) -> None:
    backbone = trained(name)
    frames = torch.randn(16, FRAMES, PER_FRAME)
    with torch.no_grad():
        want = backbone(frames)
        smaller = folded(backbone)
        assert not [m for m in smaller.modules() if isinstance(m, (Foldable, ChannelNorm))]
        assert (smaller(frames) - want).abs().max() < 2e-5
        assert torch.equal(backbone(frames), want)


@pytest.mark.parametrize("name", SMALL)
def test_the_newest_sample_counts_most_and_every_sample_counts(name: str) -> None:
    backbone = trained(name)
    frames = torch.randn(32, FRAMES, PER_FRAME).requires_grad_()
    backbone(frames)[:, : FEATURE - 1].pow(2).sum().backward()
    assert frames.grad is not None
    by_sample = frames.grad[:, :, : PER_FRAME - 1].abs().mean((0, 2))
    assert (by_sample > 0.0).all()
    assert by_sample[-3:].mean() > by_sample[:-3].mean()


@pytest.mark.parametrize("name", BACKBONES)
def test_every_backbone_learns(name: str) -> None:
    torch.manual_seed(0)
    model = Lifter(name)
    kp = torch.randn(32, FRAMES, JOINTS, 4)
    kp[..., 3] = kp[:, :1, :1, 3]
    truth = torch.randn(32, JOINTS, 3) * 0.2
    assert Exported(model.backbone)(kp).shape == (32, FEATURE)
    optimiser = torch.optim.AdamW(model.parameters(), 2e-3)
    values = []
    for _ in range(30):
        distance, likelihood = losses(*model(frames_of(kp)), truth)
        optimiser.zero_grad()
        (distance + 0.01 * likelihood).backward()
        optimiser.step()
        values.append(distance.item())
    assert values[-1] < 0.7 * values[0]


def test_an_unknown_backbone_is_refused_with_the_names_there_are() -> None:
    with pytest.raises(ValueError, match="tcn-smal'.*" + ".*".join(BACKBONES)):
        make_backbone("tcn-smal")


def test_a_token_is_a_keypoint_over_three_samples_and_the_scale() -> None:
    kp = torch.arange(2.0 * FRAMES * JOINTS * 4).reshape(2, FRAMES, JOINTS, 4)
    kp[..., 3] = torch.tensor([0.5, 0.7])[:, None, None]
    tokens = tokens_of(frames_of(kp))
    assert tokens.shape == (2, STEPS, JOINTS, TOKEN)
    want = torch.cat([kp[1, 24, 5, :3], kp[1, 25, 5, :3], kp[1, 26, 5, :3], torch.tensor([0.7])])
    assert torch.equal(tokens[1, 8, 5], want)


def test_the_newest_row_alone_is_that_of_the_whole_attention() -> None:
    torch.manual_seed(1)
    attention = Attention(32, 2)
    x = torch.randn(6, 9, 32)
    assert torch.allclose(attention.newest(x), attention(x)[:, -1:], atol=1e-6)


def test_the_mixed_convolution_is_the_mixture_of_convolutions() -> None:
    torch.manual_seed(1)
    conv = DynamicConv(9)
    with torch.no_grad():
        conv.shares.normal_()
    x = torch.randn(4, 9, 40)
    want = conv.branch_by_branch(x)
    assert torch.allclose(conv(x), want, atol=1e-5)
    assert torch.allclose(conv.fold()(x), want, atol=1e-5)


def test_a_prior_begins_as_its_known_graph() -> None:
    torch.manual_seed(1)
    graph = edges_graph(4, chain(4))
    assert torch.allclose(graph, torch.tensor([[1, 1, 0, 0], [0.5, 1, 0.5, 0], [0, 0.5, 1, 0.5], [0, 0, 1, 1]]))
    prior = Prior(graph, 3, 5).eval()
    x = torch.randn(2, 4, 3)
    with torch.no_grad():
        a, b = prior.both(x).chunk(2, dim=2)
        # Symmetric: an end of the chain has one neighbour (1) and that one two (1/2 each).
        want = torch.relu(a[:, 0] + 0.75 * b[:, 1])
        # The normalisation has seen nothing, so it only divides by sqrt(1 + 1e-5).
        assert torch.allclose(prior(x)[:, 0], want, atol=1e-4)


def test_the_graphs_of_keypoints_are_the_same_left_and_right() -> None:
    assert len(COCO_EDGES) == 18
    mirror = torch.tensor(COCO_MIRROR)
    for graph in (*subset_graphs(), edges_graph(JOINTS, COCO_EDGES)):
        assert torch.equal(graph[mirror][:, mirror], graph)
    identity, inward, outward = subset_graphs()
    assert inward[9].nonzero().flatten().tolist() == [7]  # the wrist's inner neighbour is the elbow
    assert outward[9].sum() == 0.0
    assert torch.equal(identity, torch.eye(JOINTS))


def test_what_is_left_out_of_perspective_changes_the_input_and_not_the_people() -> None:
    full = run(TRAINING, 60, 5)
    for part in PARTS:
        kp, truth, seen = run(without(TRAINING, [part]), 60, 5)
        assert (seen == full[2]).all() and (kp[..., 2] == full[0][..., 2]).all()
        bones = ((truth[:, 2] - truth[:, 1]) ** 2).sum(-1) - ((full[1][:, 2] - full[1][:, 1]) ** 2).sum(-1)
        assert abs(bones).max() < 1e-5
        if part == "intrinsics":
            assert (kp[..., 3] == 0.0).all() and (truth == full[1]).all()
            assert (kp[..., :2] == full[0][..., :2]).all()
        else:
            assert abs(truth - full[1]).max() > 0.05
            newest = kp[:, -1, :, :2]
            shown = kp[:, -1, :, 2] > 0.0
            low = [p[s].min(0) for p, s in zip(newest, shown, strict=True)]
            high = [p[s].max(0) for p, s in zip(newest, shown, strict=True)]
            for a, b in zip(low, high, strict=True):
                # Shifted, not turned: the middle of the newest box is exactly the origin, unless clamped.
                if abs(a).max() < 3.9 and abs(b).max() < 3.9:
                    assert abs(a + b).max() < 1e-4


@pytest.mark.parametrize("name", SMALL)
def test_a_checkpoint_is_read_again(name: str, tmp_path: Path) -> None:
    model = Lifter(name)
    torch.save({"backbone": name, "weights": dict(model.state_dict())}, tmp_path / "a.pt")
    again = load_lifter(tmp_path / "a.pt")
    for key, value in model.state_dict().items():
        assert torch.equal(value, again.state_dict()[key]), key
