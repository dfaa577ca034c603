import numpy as np
import pytest
import torch

from deepblend.blending_core.color_transfer import Containment, contain, match, measure_containment, measure_match

GENERATOR = np.random.default_rng(4)


def pixels(low, high, chroma, count=20_000):
    """OKLab pixels with lightness even between low and high and chroma even up to `chroma`."""
    angle, radius = GENERATOR.uniform(0, 2 * np.pi, count), GENERATOR.uniform(0, chroma, count)
    lightness = GENERATOR.uniform(low, high, count)
    return torch.from_numpy(np.stack([lightness, radius * np.cos(angle), radius * np.sin(angle)], 1))


def as_picture(values):
    return values.T[None, :, :, None]


def as_pixels(picture):
    return picture[0, :, :, 0].T


def test_percentiles_of_lightness_and_chroma_land_where_the_target_has_them():
    object, target = pixels(0.1, 0.9, 0.2), pixels(0.3, 0.7, 0.05)
    containment = measure_containment(object, target)
    result = as_pixels(contain(as_picture(object), containment, 1.0)).numpy()
    expected = np.percentile(target[:, 0].numpy(), (1, 99))
    assert np.abs(np.percentile(result[:, 0], (1, 99)) - expected).max() < 1e-5
    chroma, target_chroma = (np.percentile(np.hypot(z[:, 1], z[:, 2]), 95) for z in (result, target.numpy()))
    assert chroma == pytest.approx(target_chroma, rel=1e-5)
    assert containment.chroma_ratio == pytest.approx(0.25, rel=0.02)


def test_an_object_within_the_targets_range_keeps_its_colours():
    object = pixels(0.4, 0.6, 0.05)
    result = as_pixels(contain(as_picture(object), measure_containment(object, pixels(0.1, 0.9, 0.2)), 1.0))
    assert (result - object).abs().max() < 1e-6


def test_grey_objects_have_no_chroma_to_contain():
    grey = pixels(0.1, 0.9, 1e-6)
    assert measure_containment(grey, grey * 0.5).chroma_ratio == 1
    assert measure_containment(pixels(0.1, 0.9, 0.2), grey).chroma_ratio < 1e-4


def test_half_the_strength_moves_colours_half_the_way():
    picture = as_picture(pixels(0.1, 0.9, 0.2, 100))
    containment = Containment((0.1, 0.9), (0.3, 0.7), 0.5)
    full, half = contain(picture, containment, 1.0), contain(picture, containment, 0.5)
    assert torch.allclose(half, (picture + full) / 2)
    assert torch.equal(contain(picture, containment, 0.0), picture)


@pytest.mark.parametrize(
    "containment", [Containment((0.8, 0.9), (0.8, 0.4), 1.0), Containment((0.5, 0.5), (0.5, 0.5), 1.0)]
)
def test_lightness_stays_where_nothing_can_be_contained(containment):
    picture = as_picture(pixels(0.5, 0.9, 0.1, 100))
    assert torch.equal(contain(picture, containment, 1.0), picture)


@pytest.mark.parametrize(("ratio", "strength"), [(1.0, 0.0), (0.4, 0.0), (0.325, 0.5), (0.25, 1.0), (0.0, 1.0)])
def test_photographs_are_left_alone_and_drawings_contain_fully(ratio, strength):
    assert Containment((0, 1), (0, 1), ratio).automatic_strength == pytest.approx(strength)


def test_match_gives_mean_and_deviation_of_the_other_colours():
    object, target = pixels(0.1, 0.5, 0.1), pixels(0.3, 0.9, 0.15)
    statistics = measure_match(object, target)
    result = as_pixels(match(as_picture(object), statistics, 1.0))
    assert torch.allclose(result.mean(0), target.mean(0), atol=1e-6)
    assert torch.allclose(result.std(0), target.std(0), rtol=1e-4)
    half = as_pixels(match(as_picture(object), statistics, 0.5))
    assert torch.allclose(half, (object + result) / 2)


def test_contrast_changes_at_most_by_a_factor_of_2():
    object = pixels(0.1, 0.5, 0.1)
    for factor, limit in ((10, 2.0), (0.1, 0.5)):
        result = as_pixels(match(as_picture(object), measure_match(object, object * factor), 1.0))
        assert torch.allclose(result.std(0), limit * object.std(0), rtol=1e-4)
    flat = torch.full((10, 3), 0.2, dtype=torch.float64)
    assert torch.isfinite(match(as_picture(flat), measure_match(flat, object), 1.0)).all()


def test_single_pixels_can_be_measured():
    one = torch.tensor([[0.5, 0.1, 0.0]])
    assert measure_containment(one, one).chroma_ratio == 1
    assert torch.allclose(match(as_picture(one), measure_match(one, one), 1.0), as_picture(one))
