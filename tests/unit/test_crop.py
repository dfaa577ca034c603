import numpy as np
import pytest
import torch

from deepblend.blending_core.crop import (
    box_around,
    crop,
    crop_mask,
    size_of_scaled_part,
    size_of_unscaled_part,
    stitch,
)
from deepblend.blending_core.placement import Box
from oracles import resized
from pictures import smooth_picture, soft_mask, to_numpy, to_torch

HEIGHT, WIDTH = 40, 60
PICTURE = smooth_picture(HEIGHT, WIDTH, 3)
MASK = (2 * soft_mask(HEIGHT, WIDTH)[0].double().numpy()).clip(0, 1)
BOXES = [Box(7, 5, 24, 20), Box(0, 0, 60, 40), Box(-6, 3, 72, 36), Box(20, -9, 30, 58), Box(31, 12, 29, 28)]


def padded_part(picture, box):
    """The box's part, with the border pixels of the picture repeated, by NumPy's own padding."""
    margin = 100
    padded = np.pad(picture, ((margin, margin), (margin, margin), (0, 0)), mode="edge")
    return padded[margin + box.y :, margin + box.x :][: box.height, : box.width]


@pytest.mark.parametrize(
    ("extent", "frame", "size", "context", "enlarge", "expected"),
    [
        ((100, 80), (2160, 3840), (512, 512), 1.5, True, (150, 150)),  # the longer side counts
        ((100, 80), (2160, 3840), (512, 512), 1.5, False, (512, 512)),
        ((1000, 900), (2160, 3840), (512, 512), 1.5, False, (1500, 1500)),
        ((1000, 900), (2160, 3840), (512, 768), 2.0, True, (2000, 3000)),
        ((300, 300), (400, 600), (512, 512), 1.5, True, (400, 400)),  # no more context than the frame has
        ((300, 500), (400, 600), (512, 512), 1.5, True, (500, 500)),  # the object alone is too wide for a square
        ((100, 100), (200, 300), (512, 512), 1.5, False, (512, 512)),
        ((10, 10), (900, 900), (64, 1024), 1.0, True, (10, 160)),
        ((7, 3), (900, 900), (192, 320), 1.0, True, (7, 12)),  # 11 2/3 rounded up
    ],
)
def test_scaled_part_is_as_large_as_object_and_context_need(extent, frame, size, context, enlarge, expected):
    assert size_of_scaled_part(extent, frame, size, context, enlarge) == expected


@pytest.mark.parametrize(
    ("extent", "frame", "size", "context", "expected"),
    [
        ((100, 80), (2160, 3840), (512, 512), 1.5, (512, 512)),
        ((400, 80), (2160, 3840), (512, 512), 1.5, (640, 512)),  # 600, in multiples of 64
        ((300, 80), (400, 600), (512, 512), 1.5, (384, 512)),  # what fits into 400
        ((390, 80), (400, 600), (512, 512), 1.5, (448, 512)),  # what the object needs
        ((20, 20), (40, 50), (512, 256), 1.5, (64, 64)),
    ],
)
def test_unscaled_part_grows_and_shrinks_in_multiples_of_64(extent, frame, size, context, expected):
    assert size_of_unscaled_part(extent, frame, size, context) == expected


@pytest.mark.parametrize("mode", ["enlarge", "reduce", "never"])
def test_part_holds_the_object_and_leaves_the_frame_only_where_it_must(mode):
    generator = np.random.default_rng(0)
    for _ in range(500):
        frame = tuple(int(side) for side in generator.integers(1, 1500, 2))
        size = tuple(int(64 * side) for side in generator.integers(1, 13, 2))
        context = float(generator.uniform(1, 4))
        ends = [np.sort(generator.integers(0, side + 1, 2)) for side in frame]
        region = tuple(
            slice(int(min(a, side - 1)), int(max(b, min(a, side - 1) + 1)))
            for (a, b), side in zip(ends, frame, strict=True)
        )
        extent = tuple(span.stop - span.start for span in region)
        if mode == "never":
            part = size_of_unscaled_part(extent, frame, size, context)
            assert all(side % 64 == 0 for side in part)
        else:
            part = size_of_scaled_part(extent, frame, size, context, mode == "enlarge")
            zooms = [(side - 1) / wanted for side, wanted in zip(part, size, strict=True)]
            assert max(zooms) < min(side / wanted for side, wanted in zip(part, size, strict=True))
        box = box_around(region, part, frame)
        for span, start, side, limit in zip(region, (box.y, box.x), part, frame, strict=True):
            assert start <= span.start and span.stop <= start + side
            if side <= limit:
                assert 0 <= start <= limit - side
                middle = span.start + span.stop - side
                assert start in (0, limit - side) or abs(2 * start - middle) <= 1
            else:
                assert abs(start + start + side - limit) <= 1, "the frame lies in its middle"
        if mode == "enlarge" and any(side > limit for side, limit in zip(part, frame, strict=True)):
            # The smallest part of this shape around the object leaves the frame too.
            zoom = max(length / wanted for length, wanted in zip(extent, size, strict=True))
            assert any(zoom * wanted > limit - 1e-9 for wanted, limit in zip(size, frame, strict=True))


@pytest.mark.parametrize("box", BOXES)
@pytest.mark.parametrize("size", [(64, 64), (16, 24), (50, 13)])
def test_crop_is_the_resized_part(box, size):
    part = padded_part(PICTURE, box)
    found = to_numpy(crop(to_torch(PICTURE), box, size))
    assert np.abs(found - resized(part, size)).max() < 1e-6
    mask = to_numpy(crop_mask(to_torch(MASK), box, size))
    wanted = resized(padded_part(MASK[..., None], box), size)
    wanted[wanted < 1 / 255] = 0
    assert np.abs(mask - wanted).max() < 1e-5


@pytest.mark.parametrize("box", BOXES)
@pytest.mark.parametrize("channels", [3, 4])
def test_crop_of_its_own_size_copies_the_pixels(box, channels):
    generator = np.random.default_rng(1)
    picture = generator.uniform(-0.5, 2, (HEIGHT, WIDTH, channels)).astype(np.float32)  # HDR pictures go beyond 0 to 1
    size = box.height, box.width
    assert torch.equal(crop(to_torch(picture), box, size), to_torch(padded_part(picture[..., :3], box)))
    mask = MASK.astype(np.float32)
    assert torch.equal(crop_mask(to_torch(mask), box, size), to_torch(padded_part(mask[..., None], box)))


def test_transparent_pixels_lend_no_color_to_visible_ones():
    picture = np.zeros((HEIGHT, WIDTH, 4))
    picture[:, :30] = 0.8, 0.6, 0.4, 1
    picture[:, 30:] = 0, 1, 0, 0
    found = to_numpy(crop(to_torch(picture), Box(20, 10, 20, 20), (64, 64)))
    assert found.shape == (64, 64, 3)
    assert np.abs(found[:, :32] - [0.8, 0.6, 0.4]).max() < 1e-6


@pytest.mark.parametrize("box", BOXES)
@pytest.mark.parametrize("channels", [3, 4])
def test_stitch_of_an_untouched_crop_gives_the_target_bit_for_bit(box, channels):
    target = torch.rand(2, channels, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(2))
    mask = soft_mask(HEIGHT, WIDTH, 2)[:, None]
    untouched = crop(target, box, (box.height, box.width))
    assert torch.equal(stitch(untouched, box, mask, target), target)


@pytest.mark.parametrize("box", BOXES)
@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize("size", [(64, 64), (16, 24), None])
def test_stitch_mixes_under_the_mask_and_changes_nothing_else(box, channels, size):
    size = size or (box.height, box.width)
    generator = np.random.default_rng(4)
    target = generator.uniform(0, 1, (HEIGHT, WIDTH, channels)).astype(np.float32)
    edited = generator.uniform(0, 1, (*size, 3)).astype(np.float32)
    mask = MASK.astype(np.float32)
    before = to_torch(target)
    given = before.clone()
    found = stitch(to_torch(edited), box, to_torch(mask), given)
    assert torch.equal(given, before)

    back = resized(edited.astype(float), (box.height, box.width))
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    covered = (y >= box.y) & (y < box.y + box.height) & (x >= box.x) & (x < box.x + box.width)
    wanted = target.astype(float)
    for row, column in np.argwhere(covered & (mask > 0)):
        m = mask[row, column]
        wanted[row, column, :3] = (1 - m) * target[row, column, :3] + m * back[row - box.y, column - box.x]
    assert np.abs(to_numpy(found) - wanted).max() < 2e-6
    untouched = to_torch(~covered | (mask == 0)).expand_as(found)
    assert torch.equal(found[untouched], before[untouched])
    full = covered & (mask == 1)
    assert full.any()
    if size == (box.height, box.width):
        part = np.stack([edited[row - box.y, column - box.x] for row, column in np.argwhere(full)])
        assert np.array_equal(found[0, :3].movedim(0, -1).numpy()[full], part)
    if channels == 4:
        assert torch.equal(found[:, 3], before[:, 3])


@pytest.mark.parametrize("factor", [2, 3])
def test_way_through_a_larger_crop_and_back_shifts_nothing(factor):
    """A linear ramp stays where it is; a shift of a tenth of a pixel would show."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    ramp = to_torch(np.dstack([x / WIDTH, y / HEIGHT, (x + y) / 100]))
    box = Box(11, 6, 32, 24)
    enlarged = crop(ramp, box, (24 * factor, 32 * factor))
    back = stitch(enlarged, box, torch.ones(1, 1, HEIGHT, WIDTH), ramp)
    inner = (..., slice(9, 27), slice(14, 40))  # the resize cuts its kernel off at the crop's border
    assert (back - ramp)[inner].abs().max() < 1e-5


def test_a_box_far_larger_than_the_picture_takes_the_memory_of_what_is_seen():
    """A step in the middle of the crop, enlarged until the picture lies within its slope: Keys' kernel at a half is a half."""
    side = 200_000  # as a picture it would take hundreds of gigabytes
    box = Box(WIDTH // 2 - side // 2, HEIGHT // 2 - side // 2, side, side)
    edited = torch.zeros(1, 3, 8, 8)
    edited[..., 4:] = 1
    target = torch.full((1, 3, HEIGHT, WIDTH), 0.1)
    found = stitch(edited, box, torch.ones(1, 1, HEIGHT, WIDTH), target)
    assert (found - 0.5).abs().max() < 0.01
    assert (found.diff(dim=3) > 0).all() and (found.diff(dim=2).abs() < 1e-6).all()


@pytest.mark.parametrize("context", [np.float32(1.6), np.float64(1.6), 1.6])
def test_context_may_be_a_number_of_numpy(context):
    assert size_of_scaled_part((40, 60), (300, 400), (128, 192), context, True) == (64, 96)
    assert size_of_unscaled_part((40, 60), (300, 400), (64, 64), context) == (64, 128)
