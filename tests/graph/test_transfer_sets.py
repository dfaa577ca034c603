"""Place, then blend, on the developers' real pictures."""

import json

import cv2
import numpy as np
import pytest
import torch

from deepblend.blending_core.auto_blend import HALF, LOOSE, MIXED, TIGHT, decide
from deepblend.blending_core.placement import place
from deepblend.blending_core.scene_measures import measure_scene
from transfer_sets import SETS, TRANSFER, judge, place_inputs

MODES = {
    "dib_1": LOOSE,
    "dib_3": LOOSE,
    "dib_5": TIGHT,
    "gpgan_lake": HALF,
    "gray_bear_pool": LOOSE,
    "gray_jet": LOOSE,
    "gray_rainbow": LOOSE,
    "libcom_sandwich": TIGHT,
    "libcom_teddy": TIGHT,
    "pypoi_eye_on_hand": LOOSE,
    "pypoi_text_on_brick": MIXED,
    "pypoi_text_on_hand": MIXED,
    "tficon_panda_sketch": TIGHT,
    "tficon_tart": TIGHT,
    "tficon_tower_dusk": TIGHT,
    "tficon_tower_sketch": TIGHT,
}


@pytest.fixture(autouse=True)
def pictures_are_there():
    if SETS == ["absent"]:
        pytest.skip(f"the developers' pictures are not in {TRANSFER}")


def seam_jump(image, inside):
    """Mean step across the mask's edge, divided by the mean step one ring further out."""
    ring = inside.copy()
    ring[1:] |= inside[:-1]
    ring[:-1] |= inside[1:]
    ring[:, 1:] |= inside[:, :-1]
    ring[:, :-1] |= inside[:, 1:]

    def mean_step(region):
        steps = []
        for axis in (0, 1):
            crossing = np.diff(region.astype(int), axis=axis) != 0
            steps.append(np.linalg.norm(np.diff(image, axis=axis), axis=2)[crossing])
        return np.concatenate(steps).mean()

    return mean_step(inside) / mean_step(ring)


@pytest.mark.parametrize("name", SETS)
def test_poisson_leaves_no_larger_seam_than_paste_and_touches_nothing_else(host, name):
    inputs = place_inputs(name)
    target = inputs["target"]
    object_, mask, pasted, _ = host.run_node("DeepBlend_PlaceObject", **inputs)
    blended = host.run_node("DeepBlend_PoissonBlend", object=object_, mask=mask, target=target)
    assert torch.isfinite(blended).all()
    assert torch.equal(blended[mask == 0], target[mask == 0])
    inside = mask[0].numpy() > 0
    paste, poisson = (seam_jump(image[0].numpy(), inside) for image in (pasted, blended))
    assert poisson <= paste
    meta = json.loads((TRANSFER / name / "meta.json").read_text())
    assert abs(int((mask >= 0.5).sum()) - meta["mask_pixels_in_target"]) <= 0.02 * meta["mask_pixels_in_target"] + 5


def chroma_95(image, inside):
    """95th percentile of the OKLab chroma of `[H, W, 3]` sRGB values."""
    linear = np.where(image <= 0.04045, image / 12.92, ((image + 0.055) / 1.055) ** 2.4)[inside]
    to_lms = [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
    to_ab = [[1.9779984951, -2.4285922050, 0.4505937099], [0.0259040371, 0.7827717662, -0.8086757660]]
    return np.percentile(np.linalg.norm(np.cbrt(linear @ np.transpose(to_lms)) @ np.transpose(to_ab), axis=1), 95)


@pytest.mark.parametrize("size", [384, 1024])
def test_auto_blend_decides_and_seats_as_it_should(host, size):
    """The mask is binary, as the measured goals are."""
    judged = {}
    for name in SETS:
        inputs = place_inputs(name, size)
        target = inputs["target"]
        object_, mask, _, _ = host.run_node("DeepBlend_PlaceObject", **inputs)
        mask = (mask >= 0.5).float()
        image, seated, report = host.run_node("DeepBlend_AutoBlend", object=object_, mask=mask, target=target)
        assert report.split(":")[0] == MODES[name], (name, report)
        assert torch.equal(image[seated == 0], target[seated == 0])
        assert (seated <= mask).all()
        inside = mask[0].numpy() > 0
        judged[name] = judge(image[0].numpy(), object_[0].numpy(), inside)
        if name == "tficon_panda_sketch":
            everywhere = np.ones(target.shape[1:3], bool)
            assert chroma_95(image[0].numpy(), inside) <= 1.4 * chroma_95(target[0].numpy(), everywhere)
    assert judged["libcom_teddy"].core_shift <= 5
    assert judged["libcom_teddy"].core_chroma_shift <= 3
    assert judged["libcom_teddy"].seam <= 6
    assert judged["tficon_panda_sketch"].seam <= 9
    assert judged["dib_1"].seam <= 2
    tight = np.mean([judged[name] for name in SETS if MODES[name] == TIGHT], 0)
    assert tight[0] <= 8
    assert tight[2] <= 8
    assert np.mean([judged[name].seam for name in SETS if MODES[name] in (LOOSE, MIXED)]) <= 2


def slightly_wrong(inside, size):
    """The mask as it is, with its edge moved by smooth noise of up to 2 pixels, and at one size evenly by 2 pixels."""
    distance = cv2.distanceTransform(inside.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    distance -= cv2.distanceTransform((~inside).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    yield inside
    for seed in range(3 if size <= 1024 else 0):
        noise = cv2.GaussianBlur(np.random.default_rng(seed).standard_normal(inside.shape), (0, 0), 4)
        yield distance > np.clip(noise / noise.std() * 1.2, -2, 2)
    if size == 384:
        yield distance >= -2
        yield distance > 2


def test_decisions_do_not_hang_on_size_or_on_pixels_of_the_mask():
    """One set may waver: dib_3, whose mask is close to the object but loose."""
    wavering = {}
    for name in SETS:
        for size in (192, 256, 384, 512, 768, 1024, 2048):
            inputs = place_inputs(name, size)
            source, mask, target = (inputs[key] for key in ("source", "mask", "target"))
            source, mask, target = source.movedim(-1, 1), mask[:, None], target.movedim(-1, 1)
            frame = target.shape[-2:]
            center = inputs["x"] * frame[1], inputs["y"] * frame[0]
            object_, mask = place(source, mask, frame, center, inputs["scale"])
            for number, pixels in enumerate(slightly_wrong(mask[0, 0].numpy() >= 0.5, size)):
                measures = measure_scene(object_, torch.from_numpy(pixels).float()[None, None], target)
                if decide(measures) != MODES[name]:
                    wavering.setdefault(name, []).append((size, number, measures))
    assert set(wavering) <= {"dib_3"}, wavering
    assert all(number > 0 for _, number, _ in wavering.get("dib_3", [])), wavering
