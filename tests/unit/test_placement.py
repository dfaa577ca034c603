import math

import numpy as np
import pytest
import torch
from torchvision.transforms.v2.functional import InterpolationMode, resize

from deepblend.blending_core.composite import composite
from deepblend.blending_core.placement import Box, mask_box, place, scale_to_fit
from oracles import resize_matrix, sample_cubic
from pictures import smooth_picture, to_numpy, to_torch

SOURCE = smooth_picture(40, 50, 1)
MASK = np.zeros((40, 50))
MASK[8:30, 12:41] = 1
MASK[8:14, 12:20] = 0.5


def reference_warp(source, mask, size, center, scale, rotation, flip):
    """`place` written as plain float64 formulas: every canvas pixel is looked up by itself."""
    channels = np.dstack([source * mask[..., None], mask, source])
    if flip:
        channels = channels[:, ::-1]
    quarter_turns = math.floor(rotation / 90 + 0.5)
    channels = np.rot90(channels, -quarter_turns)
    angle = math.radians(rotation - 90 * quarter_turns)
    height, width = channels.shape[:2]
    scaled_height, scaled_width = max(1, round(height * scale)), max(1, round(width * scale))
    ys, xs = np.nonzero(channels[..., 3] >= 0.5)
    pivot_y = (ys.min() + ys.max() + 1) / 2 * scaled_height / height
    pivot_x = (xs.min() + xs.max() + 1) / 2 * scaled_width / width
    scaled = np.einsum("ai,ijc->ajc", resize_matrix(height, scaled_height), channels)
    scaled = np.einsum("bj,ajc->abc", resize_matrix(width, scaled_width), scaled)

    result = np.zeros((*size, 7))
    for y, x in np.ndindex(*size):
        if angle == 0:
            v = y - math.floor(center[1] - pivot_y + 0.5)
            u = x - math.floor(center[0] - pivot_x + 0.5)
            result[y, x] = scaled[np.clip(v, 0, scaled_height - 1), np.clip(u, 0, scaled_width - 1)]
            result[y, x, :4] *= 0 <= v < scaled_height and 0 <= u < scaled_width
        else:
            dy, dx = y + 0.5 - center[1], x + 0.5 - center[0]
            v = math.cos(angle) * dy - math.sin(angle) * dx + pivot_y
            u = math.cos(angle) * dx + math.sin(angle) * dy + pivot_x
            result[y, x, :4] = sample_cubic(scaled[..., :4], v, u, "zero")
            result[y, x, 4:] = sample_cubic(scaled[..., 4:], v, u, "repeat")
    weight = np.maximum(result[..., 3:4], 1 / 255)
    alpha = result[..., 3].clip(0, 1)
    alpha[alpha < 1 / 255] = 0
    alpha[alpha > 254 / 255] = 1
    image = np.where(alpha[..., None] > 0, result[..., :3] / weight, result[..., 4:])
    return image.clip(0, 1), alpha


def place_numpy(source, mask, size, center, scale=1.0, rotation=0.0, flip=False):
    image, alpha = place(to_torch(source), to_torch(mask), size, center, scale, rotation, flip)
    return to_numpy(image), to_numpy(alpha)[..., 0]


@pytest.mark.parametrize(
    ("center", "scale", "rotation", "flip"),
    [
        ((30.0, 25.0), 1.0, 0.0, False),
        ((30.4, 25.7), 1.0, 0.0, True),
        ((30.0, 25.0), 0.37, 0.0, False),
        ((33.3, 21.2), 2.3, 0.0, False),
        ((30.0, 25.0), 1.0, 90.0, False),
        ((30.0, 25.0), 0.8, 180.0, True),
        ((30.0, 25.0), 1.2, 270.0, False),
        ((30.0, 25.0), 1.0, 17.0, False),
        ((28.6, 24.1), 0.5, -63.0, True),
        ((35.2, 30.0), 2.0, 135.0, False),
        ((-3.0, 10.0), 1.0, 0.0, False),
        ((58.0, 55.0), 1.3, 30.0, False),
        ((200.0, 20.0), 1.0, 20.0, False),
    ],
)
def test_equals_the_reference_warp(center, scale, rotation, flip):
    size = (52, 61)
    image, alpha = place_numpy(SOURCE, MASK, size, center, scale, rotation, flip)
    expected_image, expected_alpha = reference_warp(SOURCE, MASK, size, center, scale, rotation, flip)
    assert np.abs(alpha - expected_alpha).max() < 2e-3 / 255
    # Colours are quotients; where the mask is faint its rounding is magnified, and there nobody sees them.
    visible = (expected_alpha == 0) | (expected_alpha > 0.05)
    assert np.abs(image - expected_image)[visible].max() < 0.05 / 255


@pytest.mark.parametrize("size", [(20, 25), (13, 17), (80, 100), (40, 50), (3, 4)])
def test_pure_scaling_equals_torchvision(size):
    picture, everything = to_torch(SOURCE), torch.ones(1, 1, 40, 50)
    scale = size[1] / 50
    size = (round(40 * scale), size[1])
    image, mask = place(picture, everything, size, (size[1] / 2, size[0] / 2), scale)
    expected = resize(picture, list(size), InterpolationMode.BICUBIC, antialias=True).clamp(0, 1)
    assert torch.equal(mask, torch.ones(1, 1, *size))
    assert (image - expected).abs().max() < 2e-5


def test_scale_1_copies_the_pixels():
    picture, mask = to_torch(SOURCE), to_torch(MASK)
    image, placed = place(picture, mask, (60, 70), (30.0, 25.0))
    left, top = math.floor(30 - 26.5 + 0.5), 25 - 19
    assert torch.equal(placed[..., top : top + 40, left : left + 50], mask)
    assert placed.sum() == mask.sum()
    inside = image[..., top : top + 40, left : left + 50]
    assert torch.equal(inside[(mask == 1).expand_as(picture)], picture[(mask == 1).expand_as(picture)])
    assert (inside - picture).abs().max() < 1e-6


def test_quarter_turns_move_pixels_clockwise_without_mixing_them():
    picture, mask = to_torch(SOURCE), torch.ones(1, 1, 40, 50)
    image, _ = place(picture, mask, (50, 40), (20.0, 25.0), rotation=90.0)
    assert torch.equal(image, torch.rot90(picture, -1, (2, 3)))
    assert torch.equal(image[..., 0, -1], picture[..., 0, 0])  # the upper left corner is now at the upper right
    image, _ = place(picture, mask, (40, 50), (25.0, 20.0), rotation=-180.0, flip=True)
    assert torch.equal(image, picture.flip(2))


@pytest.mark.parametrize("scale", [0.2, 0.5, 0.77, 1.0, 1.9])
@pytest.mark.parametrize("rotation", [0.0, 31.0, 90.0])
def test_solid_object_carries_no_fringe_of_its_background(scale, rotation):
    y, x = np.mgrid[:90, :90]
    disk = ((x - 44) ** 2 + (y - 44) ** 2 < 35**2).astype(float)
    source = np.where(disk[..., None] > 0, [0.8, 0.0, 0.0], [0.0, 1.0, 0.0])
    image, mask = place(to_torch(source), to_torch(disk), (100, 100), (50.3, 49.2), scale, rotation)
    target = torch.zeros(1, 3, 100, 100)
    pasted = composite(image, mask, target)
    assert pasted[:, 1].max() == 0  # no green of the background
    assert (pasted[:, 0] - 0.8 * mask[:, 0]).abs().max() < 1e-5


def test_shrinking_is_antialiased():
    stripes = np.tile(np.array([0.0, 1.0]), (64, 32))[..., None].repeat(3, 2)
    image, _ = place(to_torch(stripes), torch.ones(1, 1, 64, 64), (16, 16), (8.0, 8.0), 0.25)
    assert (image[..., 2:-2] - 0.5).abs().max() < 0.02


@pytest.mark.parametrize("center", [(0, 20), (60, 20), (30, 0), (30, 50), (-100, 20), (30, 500)])
@pytest.mark.parametrize("rotation", [0.0, 25.0])
def test_object_across_and_beyond_the_frame_is_cut(center, rotation):
    whole, whole_mask = place_numpy(SOURCE, MASK, (250, 260), (center[0] + 100, center[1] + 100), 1.0, rotation)
    image, mask = place_numpy(SOURCE, MASK, (50, 60), center, 1.0, rotation)
    if abs(center[0]) < 100 and abs(center[1]) < 100:
        assert np.abs(mask - whole_mask[100:150, 100:160]).max() < 2e-3
        assert np.abs(image - whole[100:150, 100:160]).max() < 2e-2
    else:
        assert not mask.any()
    assert np.isfinite(image).all()


def test_border_of_the_source_is_repeated_beyond_it():
    image, mask = place_numpy(SOURCE, np.ones((40, 50)), (80, 90), (45.0, 40.0))
    assert np.abs(image[:20, 20:70] - SOURCE[0].astype(np.float32)).max() < 1e-6
    assert not mask[:20].any()


def test_huge_scale_makes_only_what_the_canvas_shows():
    image, mask = place_numpy(SOURCE, MASK, (30, 30), (15.0, 15.0), 500.0, 10.0)
    assert image.shape == (30, 30, 3)
    assert (mask == 1).all()


def test_empty_mask_places_the_whole_picture():
    image, mask = place_numpy(SOURCE, np.zeros((40, 50)), (40, 50), (25.0, 20.0))
    assert not mask.any()
    assert np.abs(image - SOURCE).max() < 1e-6


def test_one_pixel_source_and_canvas():
    image, mask = place(torch.full((1, 3, 1, 1), 0.3), torch.ones(1, 1, 1, 1), (1, 1), (0.5, 0.5), 1.0, 45.0)
    assert (image - 0.3).abs().max() < 1e-6
    assert mask.item() == 1


def test_mask_box_ignores_faint_pixels_unless_there_are_no_others():
    mask = torch.zeros(20, 30)
    assert mask_box(mask) is None
    mask[2, 3] = 0.1
    assert mask_box(mask) == Box(3, 2, 1, 1)
    mask[5:9, 10:21] = 0.6
    assert mask_box(mask) == Box(10, 5, 11, 4)


@pytest.mark.parametrize("rotation", [0, 90, 30, -45, 200])
def test_scale_to_fit_makes_the_turned_corners_touch_the_box(rotation):
    scale = scale_to_fit(29, 22, rotation, 100, 60)
    angle = math.radians(rotation)
    corners = np.array([(sx * 29 / 2, sy * 22 / 2) for sx in (-1, 1) for sy in (-1, 1)]) * scale
    turned = corners @ np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
    extent = np.ptp(turned, axis=0)
    assert extent[0] <= 100 + 1e-9
    assert extent[1] <= 60 + 1e-9
    assert math.isclose(extent[0], 100) or math.isclose(extent[1], 60)
