from io import BytesIO

import numpy as np
import pytest
import skimage.data
import torch
from PIL import Image
from scipy import ndimage

from deepblend.blending_core.differences import adjoint_differences, forward_differences, sum_over_pairs
from deepblend.blending_core.guidance import is_cut_out, opaque_pairs
from deepblend.blending_core.placement import place
from pictures import smooth_picture, to_numpy, to_torch


def test_laplacian_counts_only_neighbours_in_the_frame():
    picture = smooth_picture(11, 13, 0)
    padded = np.pad(picture, ((1, 1), (1, 1), (0, 0)), mode="edge")  # a repeated pixel adds a difference of 0
    expected = -ndimage.laplace(padded[..., 0], mode="constant")[1:-1, 1:-1]
    found = to_numpy(adjoint_differences(forward_differences(to_torch(picture, torch.float64))))[..., 0]
    assert np.abs(found - expected).max() < 1e-12


def test_sum_over_pairs_of_ones_counts_neighbours():
    ones = torch.ones(1, 1, 3, 4)
    count = sum_over_pairs(tuple(1 + d for d in forward_differences(ones)))
    assert count[0, 0].tolist() == [[2, 3, 3, 2], [3, 4, 4, 3], [2, 3, 3, 2]]


def test_difference_operators_are_differentiable():
    picture = torch.rand(1, 2, 4, 5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(forward_differences, picture)
    assert torch.autograd.gradcheck(lambda x: adjoint_differences(forward_differences(x)), picture)


ASTRONAUT = skimage.data.astronaut()
YS, XS = np.mgrid[:512, :512]
DISK = (XS - 220) ** 2 + (YS - 150) ** 2 < 100**2
BUST = ((XS - 220) / 170) ** 2 + ((YS - 360) / 330) ** 2 < 1  # the lower border of the photograph cuts it off


def cut_out(inside, ground=255):
    return np.where(inside[..., None], ASTRONAUT, ground).astype(np.uint8)


def through_jpeg(picture, quality):
    file = BytesIO()
    Image.fromarray(picture).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file))


def judge(picture, inside, scale=1.0):
    """Placed in the middle of a larger canvas, as Place Object does it."""
    image, mask = place(to_torch(picture / 255), to_torch(inside.astype(float)), (900, 900), (450.0, 450.0), scale)
    return is_cut_out(image, mask > 0).item()


@pytest.mark.parametrize("quality", [60, 80, 90, 98])
@pytest.mark.parametrize("scale", [0.3, 1.0, 2.0])
def test_object_cut_out_on_white_and_saved_as_jpeg_is_recognised(quality, scale):
    assert judge(through_jpeg(cut_out(DISK), quality), DISK, scale)


@pytest.mark.parametrize("ground", [255, 0, 128])
def test_cut_out_that_the_border_of_its_picture_cuts_off_is_recognised(ground):
    assert judge(cut_out(BUST, ground), BUST)


def test_photographs_are_no_cut_outs():
    generator = np.random.default_rng(0)
    for name in ("astronaut", "chelsea", "coffee", "rocket"):
        picture = to_torch(getattr(skimage.data, name)() / 255)
        y, x = np.mgrid[: picture.shape[2], : picture.shape[3]]
        for _ in range(15):
            radius = generator.uniform(10, 90)
            center_y, center_x = generator.uniform(0, y.max()), generator.uniform(0, x.max())
            disk = (x - center_x) ** 2 + (y - center_y) ** 2 < radius**2
            assert not is_cut_out(picture, to_torch(disk)).any(), (name, radius, center_y, center_x)


@pytest.mark.parametrize(("flat_part", "expected"), [(0.5, False), (0.65, False), (0.75, True), (1.0, True)])
def test_seven_tenths_of_the_surroundings_must_be_flat(flat_part, expected):
    y, x = np.mgrid[:200, :200] - 100
    disk = np.hypot(y, x) < 50
    picture = np.random.default_rng(3).random((200, 200, 3))
    picture[(np.arctan2(y, x) / (2 * np.pi) + 0.5 <= flat_part) & ~disk] = 0.9  # a sector of the surroundings
    assert is_cut_out(to_torch(picture), to_torch(disk)).item() == expected


def test_wide_mask_in_a_clear_sky_is_no_cut_out():
    wide = (XS - 220) ** 2 + (YS - 150) ** 2 < 120**2
    assert not judge(cut_out(DISK), wide)


def test_noisy_ground_is_no_flat_colour():
    noise = np.random.default_rng(1).normal(0, 12, (512, 512, 3))
    assert not judge((cut_out(DISK, 128) + noise).clip(0, 255), DISK)


def test_object_that_leaves_almost_no_surroundings_is_no_cut_out():
    inside = np.ones((60, 60), bool)
    assert not is_cut_out(to_torch(np.random.default_rng(2).random((60, 60, 3))), to_torch(inside)).any()
    inside[:4, :4] = False
    assert not is_cut_out(to_torch(np.random.default_rng(2).random((60, 60, 3))), to_torch(inside)).any()


def test_opaque_pairs_part_the_object_from_transparent_pixels_only():
    inside = torch.tensor([[[[True, True, False, False]]]])
    alpha = torch.tensor([[[[0.0, 0.3, 0.0, 0.5]]]])
    right, down = opaque_pairs(alpha, inside)
    assert right[0, 0, 0].tolist() == [1, 0, 0]
    assert down.numel() == 0
    right, _ = opaque_pairs(alpha.flip(3), inside.flip(3))
    assert right[0, 0, 0].tolist() == [0, 0, 1]
    right, _ = opaque_pairs(torch.ones_like(alpha), inside)
    assert right[0, 0, 0].tolist() == [1, 1, 1]
