"""PAN against the paper's description in float64, on its published figures, and with weights that are no such network."""

import numpy as np
import pytest
import torch

import pan_quality
from deepblend.blending_core.pan import PAN, is_pan
from networks import small_vgg_weights
from pan_networks import bilinear, enlarged, fitted_weights, random_weights, reduced, straight_edges
from pictures import smooth_picture


def one_stage_weights(scale):
    """Every part does something, and edges are still enlarged better at this scale than at the other."""
    noise = random_weights(stages=1, channels=9, finer_channels=9, seed=scale)
    return {name: value + 0.03 * noise[name] for name, value in fitted_weights(scale).items()}


CASES = {
    "x2": (one_stage_weights(2), 2),
    "x3": (one_stage_weights(3), 3),
    "x4": (random_weights(stages=2), 4),
    "x4, wide and deep": (random_weights(2, channels=13, branch=6, finer_channels=9, blocks=5, seed=1), 4),
    "x4, one block": (random_weights(2, channels=4, branch=1, finer_channels=2, blocks=1, seed=2), 4),
}


@pytest.mark.parametrize(("weights", "scale"), CASES.values(), ids=CASES)
@pytest.mark.parametrize("size", [(13, 18), (1, 1), (2, 31)])
def test_network_computes_what_the_paper_describes(weights, scale, size):
    network = PAN(weights)
    assert network.scale == scale
    picture = smooth_picture(64, 64, seed=3)[: size[0], : size[1]].transpose(2, 0, 1)
    result = network(torch.from_numpy(picture).float()[None])
    expected = enlarged(weights, picture, {2: (2,), 3: (3,), 4: (2, 2)}[scale])
    assert result.shape == (1, 3, scale * size[0], scale * size[1])
    np.testing.assert_allclose(result[0].numpy(), expected, rtol=0, atol=2e-5 * np.abs(expected).max())


@pytest.mark.parametrize("scale", [2, 3])
def test_scale_of_one_stage_is_where_edges_are_restored_better(scale):
    weights = fitted_weights(scale)
    gains = {}
    for factor in (2, 3):
        errors = np.zeros(2)
        for sharp in straight_edges(12, seed=9):
            coarse = reduced(sharp, factor)
            for index, picture in enumerate((bilinear(coarse, factor), enlarged(weights, coarse, (factor,)))):
                errors[index] += np.square(picture - sharp)[:, 9:-9, 9:-9].mean()
        gains[factor] = errors[0] / errors[1]
    assert gains[scale] > 1 > gains[5 - scale]
    assert PAN(weights).scale == scale


def test_weights_of_any_precision_are_taken_and_copied():
    weights = random_weights(stages=2)
    before = {name: value.clone() for name, value in weights.items()}
    network = PAN(weights)
    for value in network.parameters():
        value.add_(1)
    assert all(torch.equal(value, before[name]) for name, value in weights.items())
    picture = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    halved = {name: value.half() for name, value in weights.items()}
    rounded = {name: value.float() for name, value in halved.items()}
    assert torch.equal(PAN(halved)(picture), PAN(rounded)(picture))
    assert {value.dtype for value in PAN(halved).parameters()} == {torch.float32}


@pytest.mark.parametrize("stages", [1, 2])
def test_loading_leaves_the_random_numbers_alone_and_asks_for_no_gradient(stages):
    state = torch.random.get_rng_state()
    network = PAN(random_weights(stages))
    assert torch.equal(torch.random.get_rng_state(), state)
    assert not any(value.requires_grad for value in network.parameters())


@pytest.mark.parametrize("stages", [1, 2])
@pytest.mark.parametrize("precision", [torch.float32, torch.float16])
def test_where_the_network_diverges_the_picture_is_enlarged_bilinearly(stages, precision):
    """Weights this large make a light pixel do what glints do to the published ones."""
    weights = random_weights(stages)
    for name in weights:
        if name.startswith(("conv_first", "SCPA_trunk", "trunk_conv")) or name.endswith("bias"):
            weights[name].zero_()
    weights["conv_first.weight"][:, :, 1, 1] = 6e4
    network = PAN(weights).to(precision)
    picture = torch.zeros(2, 3, 24, 24, dtype=precision)
    picture[0] = 1e-5
    picture[1, :, 12, 12] = 1
    result = network(picture)
    expected = np.stack([bilinear(frame.double().numpy(), network.scale) for frame in picture])
    np.testing.assert_allclose(result[1].double().numpy(), expected[1], rtol=0, atol=1e-3)
    detail = np.abs(result[0].double().numpy() - expected[0])
    assert detail.max() < 1 and (detail > 1e-4).mean() > 0.5, "where it does not diverge the details are kept"


def test_every_picture_of_a_batch_is_enlarged_by_itself():
    network = PAN(random_weights(stages=2))
    batch = torch.rand(3, 3, 9, 12, generator=torch.Generator().manual_seed(0))
    apart = torch.cat([network(batch[index : index + 1]) for index in range(3)])
    torch.testing.assert_close(network(batch), apart, rtol=0, atol=1e-5)


def test_a_picture_with_alpha_gets_a_sentence():
    with pytest.raises(ValueError, match="the picture has 4 channels where PAN takes the 3 of RGB; split its alpha"):
        PAN(random_weights(stages=2))(torch.rand(1, 4, 8, 8))


def changed(name, value):
    weights = random_weights(stages=2)
    if value is None:
        del weights[name]
    else:
        weights[name] = value
    return weights


BAD = {
    "nothing": ({}, "conv_first.weight is missing where the weights of a convolution belong"),
    "another network": (
        small_vgg_weights(),
        "conv_first.weight is missing where the weights of a convolution belong",
    ),
    "a missing tensor": (changed("att2.conv.bias", None), r"att2.conv.bias is missing where \[5\] belongs"),
    "a missing block": (
        {name: value for name, value in random_weights(2, blocks=3).items() if not name.startswith("SCPA_trunk.1.")},
        r"SCPA_trunk.2.\S* is not part of the network",
    ),
    "a tensor too many": (changed("conv_last.scale", torch.ones(1)), "conv_last.scale is not part of the network"),
    "another shape": (
        changed("trunk_conv.weight", torch.ones(8, 8, 1, 1)),
        r"trunk_conv.weight is \[8, 8, 1, 1\] of float32 where \[8, 8, 3, 3\] belongs",
    ),
    "one colour": (
        changed("conv_first.weight", torch.ones(8, 1, 3, 3)),
        r"conv_first.weight is \[8, 1, 3, 3\] of float32 where \[8, 3, 3, 3\] belongs",
    ),
    "a width that says nothing": (
        changed("upconv1.weight", torch.ones(5)),
        r"upconv1.weight is \[5\] of float32 where the weights of a convolution belong",
    ),
    "whole numbers": (
        changed("upconv1.bias", torch.ones(5, dtype=torch.int32)),
        r"upconv1.bias is \[5\] of int32 where \[5\] belongs",
    ),
    "no tensor": (changed("conv_last.bias", [0.0, 0.0, 0.0]), r"conv_last.bias is a list where \[3\] belongs"),
    "infinity": (
        changed("HRconv2.bias", torch.tensor([0, 0, 0, 0, torch.inf])),
        "HRconv2.bias holds numbers that are not finite",
    ),
}


@pytest.mark.parametrize(("weights", "sentence"), BAD.values(), ids=BAD)
def test_weights_that_are_not_pans_get_a_sentence(weights, sentence):
    with pytest.raises(ValueError, match=rf"^{sentence}; weights of PAN with its authors' names .* are accepted$"):
        PAN(weights)


def test_files_are_told_by_all_their_names():
    assert is_pan(random_weights(stages=1)) and is_pan(random_weights(stages=2))
    assert is_pan(changed("conv_last.bias", None)), "a damaged file gets the network's sentence"
    assert not is_pan({})
    assert not is_pan(small_vgg_weights())
    assert not is_pan(["conv_first.weight", "conv_first.bias", "trunk_conv.weight", "upconv1.weight", "HRconv1.weight"])
    assert not is_pan(changed("self_attention.query.weight", torch.ones(1)))  # of networks that were derived from it
    assert not is_pan([*random_weights(stages=1), 5])


needs_real_weights = pytest.mark.skipif(
    not (pan_quality.MODELS.is_dir() and pan_quality.PICTURES.is_dir()),
    reason=f"the developers' models and pictures are not in {pan_quality.SHARED}",
)


@needs_real_weights
@pytest.mark.parametrize(("scale", "tensors", "values"), [(2, 140, 261_403), (3, 140, 261_403), (4, 146, 272_419)])
def test_published_files_are_read(scale, tensors, values):
    network = pan_quality.published_network(scale)
    assert (network.scale, network.channels, network.finer_channels, network.blocks) == (scale, 40, 24, 16)
    assert len(network.state_dict()) == tensors
    assert sum(value.numel() for value in network.parameters()) == values


# Set14 is in the table that benchmarks/pan_quality.py prints.
@needs_real_weights
@pytest.mark.parametrize("scale", [2, 3, 4])
def test_published_figures_are_reached(scale):
    psnr = pan_quality.mean_psnr(pan_quality.published_network(scale), "Set5")
    assert psnr == pytest.approx(pan_quality.PAPER["Set5", scale], abs=0.01)


@needs_real_weights
@pytest.mark.parametrize("precision", [torch.bfloat16, torch.float16])
def test_half_precision_gives_nearly_the_same_picture(precision):
    """What is told spandrel about it."""
    picture = torch.from_numpy(pan_quality.read(pan_quality.PICTURES / "Set5" / "LR_bicubic" / "X4" / "birdx4.png"))
    picture = picture[:32, :32].float().movedim(-1, 0)[None]
    network = pan_quality.published_network(4)
    exact, rounded = network(picture), network.to(precision)(picture.to(precision))
    assert rounded.dtype == precision
    assert (rounded.float() - exact).square().mean().sqrt() < 1 / 255
