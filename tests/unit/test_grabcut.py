import cv2
import numpy as np
import pytest
import skimage.data

from deepblend.segmentation.grabcut import grabcut_mask


def scene(height=120, width=160):
    """A red disk on a noisy green ground, and its true mask."""
    y, x = np.mgrid[:height, :width]
    disk = (x - 90) ** 2 + (y - 60) ** 2 < 30**2
    image = np.where(disk[..., None], [200, 40, 30], [40, 150, 60])
    noise = np.random.default_rng(0).integers(-20, 20, image.shape)
    return (image + noise).clip(0, 255).astype(np.uint8), disk


BOX = {"x": 52, "y": 22, "width": 76, "height": 76}


def test_finds_the_object_in_its_box():
    image, disk = scene()
    found = grabcut_mask(image, BOX, 5)
    assert (found & disk).sum() / (found | disk).sum() > 0.98


@pytest.mark.parametrize("side", ["left", "right", "top", "bottom"])
def test_one_line_of_background_is_enough_in_a_large_picture(side):
    """The line is thinner than a pixel of the reduced picture in which the object is found."""
    y, x = np.mgrid[:1200, :1600]
    disk = (x - 800) ** 2 + (y - 600) ** 2 < 400**2
    noise = np.random.default_rng(0).integers(0, 30, (1200, 1600, 3), dtype=np.uint8)
    image = np.where(disk[..., None], [200, 50, 40], [40, 120, 60]).astype(np.uint8) + noise
    box = {"x": side == "left", "y": side == "top", "width": 1600, "height": 1200}
    box["width"] -= side in ("left", "right")
    box["height"] -= side in ("top", "bottom")
    found = grabcut_mask(image, box, 3)
    assert (found & disk).sum() / (found | disk).sum() > 0.98


@pytest.mark.parametrize("width", [3, 8, 40])
def test_thin_object_in_a_large_picture_is_not_lost(width):
    y, x = np.mgrid[:3000, :1000]
    pole = (x >= 500) & (x < 500 + width) & (y > 100) & (y < 2900)
    noise = np.random.default_rng(0).integers(0, 30, (3000, 1000, 3), dtype=np.uint8)
    image = np.where(pole[..., None], [200, 50, 40], [40, 120, 60]).astype(np.uint8) + noise
    found = grabcut_mask(image, {"x": 500 - width, "y": 90, "width": 3 * width, "height": 2820}, 1)
    assert (found & pole).sum() / (found | pole).sum() > 0.95


@pytest.mark.parametrize("scale", [1, 4])
def test_finds_the_mission_patch_on_a_photograph(scale):
    image = cv2.resize(skimage.data.astronaut(), None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
    box = {"x": 125, "y": 335, "width": 95, "height": 100}
    found = grabcut_mask(image, {side: scale * value for side, value in box.items()}, 5)
    y, x = np.mgrid[: 512 * scale, : 512 * scale]
    patch = (x - 172 * scale) ** 2 + (y - 384 * scale) ** 2 < (37 * scale) ** 2  # measured on the photograph
    assert (found & patch).sum() / (found | patch).sum() > 0.9


def test_large_pictures_are_cut_as_sharply_as_small_ones():
    image, disk = scene()
    large = cv2.resize(image, (1600, 1200), interpolation=cv2.INTER_CUBIC)
    y, x = np.mgrid[:1200, :1600]
    disk = (x - 904.5) ** 2 + (y - 604.5) ** 2 < 300**2
    found = grabcut_mask(large, {side: 10 * value for side, value in BOX.items()}, 5)
    assert (found & disk).sum() / (found | disk).sum() > 0.98
    # The small picture's pixels are 10 wide; the outline stays within a third of one of the circle.
    distance = np.abs(np.hypot(x - 904.5, y - 604.5) - 300)[found != disk]
    assert distance.mean() < 10 / 3


def test_is_deterministic():
    image, _ = scene()
    assert np.array_equal(grabcut_mask(image, BOX, 3), grabcut_mask(image, BOX, 3))


def test_object_at_the_border_and_box_across_it():
    image, disk = scene()
    image, disk = image[:, :100], disk[:, :100]
    found = grabcut_mask(image, {**BOX, "width": 500}, 5)
    assert (found & disk).sum() / (found | disk).sum() > 0.97


@pytest.mark.parametrize(
    "box", [{"x": 0, "y": 0, "width": 160, "height": 120}, {"x": -9, "y": -9, "width": 999, "height": 999}]
)
def test_box_over_the_whole_picture_is_refused(box):
    with pytest.raises(ValueError, match="covers the whole picture of 160×120 pixels"):
        grabcut_mask(scene()[0], box, 5)


def test_box_that_is_too_small_is_refused():
    with pytest.raises(ValueError, match="too small for GrabCut"):
        grabcut_mask(scene()[0], {"x": 5, "y": 5, "width": 2, "height": 2}, 5)


def test_box_outside_is_refused():
    with pytest.raises(ValueError, match="lies outside the picture of 160×120 pixels"):
        grabcut_mask(scene()[0], {"x": 170, "y": 5, "width": 20, "height": 20}, 5)


def test_picture_of_one_colour_gives_an_empty_mask():
    flat = np.full((64, 64, 3), 80, np.uint8)
    assert not grabcut_mask(flat, {"x": 10, "y": 10, "width": 30, "height": 30}, 5).any()


def test_progress_is_reported_before_each_round_and_can_stop():
    image, _ = scene()
    seen = []
    grabcut_mask(image, BOX, 4, lambda step, total: seen.append((step, total)))
    assert seen == [(0, 4), (1, 4), (2, 4), (3, 4)]

    def cancel(step, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        grabcut_mask(image, BOX, 4, cancel)
