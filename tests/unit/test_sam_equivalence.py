"""Both libraries that hold the network give what the authors' SamPredictor gives."""

import numpy as np
import pytest
import torch
from PIL import Image
from segment_anything import SamPredictor

from deepblend.segmentation.sam import BEST, Prompt, full_size, prompt_masks
from deepblend.segmentation.sam_original import segmenter_from_weights
from sam_networks import SIDE, tiny_sam, tiny_sam_folder, tiny_sam_weights

SIZES = {
    "as wide as the square": (192, SIDE),
    "as high as the square": (SIDE, 100),
    "larger": (500, 731),
    "smaller": (61, 90),
    "one row": (1, 200),
    "one column": (300, 1),
    "a strip of three columns that becomes one": (450, 3),
}
KEPT = ("as wide as the square", "as high as the square")  # those that need no resizing
FORMS = {  # boxes, points, labels, as fractions of the picture
    "boxes": ([[0.1, 0.1, 0.5, 0.7], [0.3, 0.4, 0.9, 0.95]], None, None),
    "a point": (None, [[[0.3, 0.4]], [[0.8, 0.2]]], [[1], [1]]),
    "points": (None, [[[0.3, 0.4], [0.5, 0.5]], [[0.8, 0.2], [0.1, 0.9]]], [[1, 1], [1, 0]]),
    "a point and padding": (None, [[[0.3, 0.4], [0.0, 0.0]]], [[1, -1]]),
    "boxes and points": ([[0.1, 0.1, 0.5, 0.7], [0.3, 0.4, 0.9, 0.95]], [[[0.3, 0.4]], [[0.8, 0.6]]], [[1], [0]]),
}


def photograph(size, seed=0):
    """A picture of soft coloured patches, [H, W, 3] uint8."""
    coarse = np.random.default_rng(seed).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(coarse).resize(size[::-1], Image.Resampling.BICUBIC))


def as_picture(image):
    return torch.from_numpy(image.copy()).movedim(-1, 0) / 255


def predictor_of(image):
    predictor = SamPredictor(tiny_sam())
    predictor.set_image(image)
    return predictor


def scaled(form, size):
    """Boxes, points and labels in pixels of a picture."""
    boxes, points, labels = FORMS[form]
    edges = torch.tensor([size[1], size[0]], dtype=torch.float32)
    boxes = None if boxes is None else torch.tensor(boxes) * edges.repeat(2)
    points = None if points is None else torch.tensor(points) * edges
    return boxes, points, None if labels is None else torch.tensor(labels)


def predicted(predictor, size, boxes, points, labels, several):
    """Logits at the picture's size, scores and logits of the decoder, by the authors' predictor."""
    transform = predictor.transform
    boxes = None if boxes is None else transform.apply_boxes_torch(boxes, size)
    points = None if points is None else transform.apply_coords_torch(points, size)
    return predictor.predict_torch(points, labels, boxes, None, several, return_logits=True)


def assert_close(found, expected, bound=1e-4):
    assert found.shape == expected.shape and found.dtype == expected.dtype == torch.float32
    assert (found - expected).abs().max() <= bound


@pytest.fixture(scope="module")
def original():
    return segmenter_from_weights(tiny_sam_weights())


@pytest.fixture(scope="module")
def transformers(tmp_path_factory):
    pytest.importorskip("transformers")
    from deepblend.segmentation.sam_transformers import segmenter_from_folder

    return segmenter_from_folder(tiny_sam_folder(tmp_path_factory.mktemp("models") / "sam"))


@pytest.fixture(params=["original", "transformers"])
def segmenter(request):
    return request.getfixturevalue(request.param)


@pytest.mark.parametrize("size", KEPT)
def test_pictures_that_need_no_resizing_are_embedded_alike(segmenter, size):
    image = photograph(SIZES[size])
    predictor, embedding = predictor_of(image), segmenter.encode(as_picture(image))
    assert (embedding.size, embedding.input_size) == (predictor.original_size, predictor.input_size)
    assert_close(embedding.features, predictor.features)


@pytest.mark.parametrize("size", SIZES)
def test_other_pictures_differ_only_by_the_rounding_of_their_resized_colours(segmenter, size):
    image = photograph(SIZES[size])
    predictor, embedding = predictor_of(image), segmenter.encode(as_picture(image))
    assert (embedding.size, embedding.input_size) == (predictor.original_size, predictor.input_size)
    # Pillow resizes colours that are not rounded too, one channel at a time.
    width_height = predictor.input_size[::-1]
    channels = [Image.fromarray(channel) for channel in image.astype(np.float32).transpose(2, 0, 1)]
    unrounded = np.stack([channel.resize(width_height, Image.Resampling.BILINEAR) for channel in channels])
    expected = predictor.model.image_encoder(predictor.model.preprocess(torch.from_numpy(unrounded)[None]))
    assert_close(embedding.features, expected, 1e-3)
    assert_close(embedding.features, predictor.features, 0.2)
    assert (embedding.features - predictor.features).square().mean().sqrt() < 0.02 * predictor.features.std()


@pytest.mark.parametrize("several", [False, True])
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("size", ["as wide as the square", "larger", "smaller"])
def test_prompts_are_decoded_alike(segmenter, size, form, several):
    size = SIZES[size]
    predictor, prompts = predictor_of(photograph(size)), scaled(form, size)
    embedding = segmenter.encode(as_picture(photograph(size)))._replace(features=predictor.features)
    logits, scores = segmenter.decode(embedding, *prompts, several)
    full, expected_scores, expected = predicted(predictor, size, *prompts, several)
    assert_close(logits, expected)
    assert_close(scores, expected_scores)
    assert logits.shape[1] == (3 if several else 1)
    assert_close(full_size(logits[0, -1], embedding, segmenter.side), full[0, -1])


def test_prompts_of_the_tiny_network_matter(original):
    """What the other tests compare is not always the same picture."""
    image = photograph((192, SIDE))
    embedding = original.encode(as_picture(image))
    results = [original.decode(embedding, *scaled(form, embedding.size), False)[0] for form in FORMS]
    results = [logits for result in results for logits in result]
    for index, logits in enumerate(results):
        assert 0.05 < (logits > 0).float().mean() < 0.95
        assert all((logits - other).abs().mean() > 0.05 * logits.std() for other in results[:index])


@pytest.mark.parametrize("size", SIZES)
def test_masks_are_those_of_the_predictor(segmenter, size):
    """One mask for a box and for several points, the best of three for a single point, as its authors recommend."""
    size = SIZES[size]
    predictor = predictor_of(photograph(size))
    embedding = segmenter.encode(as_picture(photograph(size)))._replace(features=predictor.features)
    for form in ("boxes", "a point", "points", "boxes and points"):
        boxes, points, labels = scaled(form, size)
        several = form == "a point"
        logits, scores, _ = predicted(predictor, size, boxes, points, labels, several)
        expected = torch.stack([options[trust.argmax()] for options, trust in zip(logits, scores, strict=True)])
        prompts = [
            Prompt(
                None if boxes is None else boxes[index].tolist(),
                [] if points is None else points[index][labels[index] == 1].tolist(),
                [] if points is None else points[index][labels[index] == 0].tolist(),
            )
            for index in range(2)
        ]
        masks = prompt_masks(segmenter, embedding, prompts, BEST, False)
        sure = expected.abs() > 1e-4
        assert masks.shape == expected.shape and sure.float().mean() > 0.99
        assert torch.equal(masks[sure], (expected > 0).float()[sure])


def test_the_two_libraries_agree(original, transformers):
    for size in SIZES.values():
        picture = as_picture(photograph(size, seed=1))
        one, other = original.encode(picture), transformers.encode(picture)
        assert_close(one.features, other.features)
        for form in FORMS:
            for several in (False, True):
                prompts = scaled(form, size)
                for found, expected in zip(
                    transformers.decode(other, *prompts, several), original.decode(one, *prompts, several), strict=True
                ):
                    assert_close(found, expected)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("library", ["original", "transformers"])
def test_image_encoder_in_half_precision_comes_close(library, dtype, tmp_path):
    if library == "original":
        segmenter = segmenter_from_weights(tiny_sam_weights())
    else:
        pytest.importorskip("transformers")
        from deepblend.segmentation.sam_transformers import segmenter_from_folder

        segmenter = segmenter_from_folder(tiny_sam_folder(tmp_path / "sam"))
    size = SIZES["larger"]
    picture, prompts = as_picture(photograph(size)), scaled("boxes", size)
    exact = segmenter.encode(picture)
    expected, _ = segmenter.decode(exact, *prompts, True)
    segmenter.encoder.to(dtype)
    rough = segmenter.encode(picture)
    assert not torch.equal(rough.features, exact.features)
    found, _ = segmenter.decode(rough, *prompts, True)
    assert rough.features.dtype == found.dtype == torch.float32
    # Eight bits of mantissa or eleven, through two blocks.
    bound = 0.05 if dtype == torch.bfloat16 else 0.01
    assert (found - expected).square().mean().sqrt() < bound * expected.std()
