import numpy as np
import pytest
from scipy import ndimage
from skimage.measure import label
from skimage.morphology import reconstruction

from deepblend.segmentation.components import fill_holes, keep_largest
from pictures import masks

MASKS = masks()


@pytest.mark.parametrize("mask", MASKS)
def test_filling_binary_masks_equals_scipy(mask):
    filled = fill_holes(MASKS[mask].astype(np.float32))
    assert np.array_equal(filled > 0, ndimage.binary_fill_holes(MASKS[mask]))
    assert set(np.unique(filled)) <= {0, 1}


def test_filling_soft_masks_follows_the_reconstruction_within_one_level():
    y, x = np.mgrid[:60, :60]
    radius = np.hypot(y - 30, x - 30)
    soft = np.clip(1.3 - np.abs(radius - 17) / 6, 0, 0.97).astype(np.float32)
    marker = np.ones_like(soft)
    marker[0], marker[-1], marker[:, 0], marker[:, -1] = soft[0], soft[-1], soft[:, 0], soft[:, -1]
    expected = reconstruction(marker, soft, method="erosion", footprint=ndimage.generate_binary_structure(2, 1))
    filled = fill_holes(soft)
    assert expected[30, 30] > 0.9
    assert (filled >= soft).all()
    assert (filled <= expected + 1e-6).all()
    assert (expected - filled).max() <= 1 / 8


def test_a_background_that_reaches_the_frame_is_no_hole():
    ring = np.ones((9, 9), np.float32)
    ring[4, 4:] = 0
    assert np.array_equal(fill_holes(ring), ring)


def test_keep_largest_equals_labelling_by_another_library():
    pieces = MASKS["random"].astype(np.float32)
    labels = label(pieces > 0, connectivity=1)
    sizes = np.bincount(labels.ravel())[1:]
    assert np.array_equal(keep_largest(pieces) > 0, labels == 1 + sizes.argmax())


def test_keep_largest_weighs_soft_pieces_by_their_sum():
    mask = np.zeros((10, 20), np.float32)
    mask[1:9, 1:9] = 0.2
    mask[3:6, 12:18] = 1
    kept = keep_largest(mask)
    assert kept[4, 15] == 1
    assert not kept[:, :10].any()


def test_empty_and_full_masks_stay():
    for value in (0, 1):
        mask = np.full((5, 6), value, np.float32)
        assert np.array_equal(fill_holes(mask), mask)
        assert np.array_equal(keep_largest(mask), mask)
