"""What is the same whichever library holds the network: prompts, candidates, sizes and edges."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from deepblend.segmentation.sam import (
    BEST,
    CANDIDATES,
    LARGEST,
    SMALLEST,
    Embedding,
    Prompt,
    Segmenter,
    mask_of_logits,
    prompt_masks,
    resized,
)
from deepblend.segmentation.sam_original import segmenter_from_weights
from sam_networks import tiny_sam_weights

HEIGHT, WIDTH = 90, 120


class Painter(Segmenter):
    """A decoder that paints disks of the radii and with the scores it is told, and notes what it is asked.

    The picture is as large as the square, and the decoder's logits are a quarter of that.
    """

    def __init__(self, radii=(20, 40, 30), scores=(0.2, 0.5, 0.9), single=10):
        super().__init__(side=128, patch=16, heads=1, width=8, channels=4)
        self.radii, self.scores, self.single, self.calls = radii, scores, single, []

    def decode(self, embedding, boxes, points, labels, several):
        self.calls.append((boxes, points, labels, several))
        count = len(points if boxes is None else boxes)
        y, x = np.mgrid[2:128:4, 2:128:4] + 0.0
        radii = self.radii if several else [self.single]
        logits = [torch.from_numpy(radius - np.hypot(x - 64, y - 64)).float() for radius in radii]
        scores = self.scores if several else [0.1]
        return torch.stack(logits).repeat(count, 1, 1, 1), torch.tensor(scores).repeat(count, 1)


SQUARE = Embedding(torch.zeros(1, 4, 8, 8), (128, 128), (128, 128))
BOX = Prompt((10, 10, 60, 50), [], [])
POINT = Prompt(None, [(30, 30)], [])


@pytest.fixture(scope="module")
def tiny():
    return segmenter_from_weights(tiny_sam_weights())


@pytest.fixture(scope="module")
def embedding(tiny):
    coarse = torch.rand(1, 3, 4, 5, generator=torch.Generator().manual_seed(1))
    return tiny.encode(F.interpolate(coarse, (HEIGHT, WIDTH), mode="bilinear")[0])


def random_prompts(count, seed=0):
    """Prompts of many forms in a mixed order."""
    generator = np.random.default_rng(seed)
    prompts = []
    for index in range(count):
        corners = np.sort(generator.random((2, 2)), axis=0) * (WIDTH, HEIGHT)
        positive = generator.random((generator.integers(0, 3), 2)) * (WIDTH, HEIGHT)
        negative = generator.random((generator.integers(0, 3), 2)) * (WIDTH, HEIGHT)
        box = tuple(corners.ravel()) if index % 3 or not len(positive) + len(negative) else None
        prompts.append(Prompt(box, [tuple(point) for point in positive], [tuple(point) for point in negative]))
    return prompts


@pytest.mark.parametrize("candidate", CANDIDATES)
@pytest.mark.parametrize("soft_edges", [False, True])
def test_prompts_together_give_what_each_gives_alone(tiny, embedding, candidate, soft_edges):
    prompts = random_prompts(12)
    assert len({(prompt.box is None, len(prompt.positive) + len(prompt.negative)) for prompt in prompts}) > 4
    together = prompt_masks(tiny, embedding, prompts, candidate, soft_edges)
    assert together.shape == (12, HEIGHT, WIDTH) and together.dtype == torch.float32
    alone = torch.cat([prompt_masks(tiny, embedding, [prompt], candidate, soft_edges) for prompt in prompts])
    differing = (together - alone).abs() > 1e-3
    assert differing.float().mean() < 1e-4
    assert len({mask.sum().item() for mask in alone}) > 6  # the prompts matter


def test_many_prompts_are_decoded_sixteen_at_a_time(tiny, embedding):
    boxes = [Prompt((x, 10, x + 50, 80), [], []) for x in range(37)]
    points = [Prompt(None, [(20, 20 + y)], []) for y in range(3)]
    prompts = [*boxes[:20], *points, *boxes[20:]]
    counts, decode = [], tiny.decode
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tiny, "decode", lambda *values: counts.append(values) or decode(*values))
        masks = prompt_masks(tiny, embedding, prompts, BEST, True)
    assert [len(boxes if points is None else points) for _, boxes, points, _, _ in counts] == [16, 16, 5, 3]
    for index in (0, 15, 16, 19, 20, 22, 23, 39):
        alone = prompt_masks(tiny, embedding, [prompts[index]], BEST, True)[0]
        assert (masks[index] - alone).abs().max() < 1e-3


def test_no_prompts_give_no_masks_and_need_no_decoder():
    painter = Painter()
    masks = prompt_masks(painter, SQUARE, [], BEST, True)
    assert masks.shape == (0, 128, 128) and masks.dtype == torch.float32 and not painter.calls


@pytest.mark.parametrize(
    ("prompt", "several"),
    [
        (BOX, False),
        (POINT, True),
        (Prompt(None, [], [(3, 4)]), True),
        (Prompt(None, [(3, 4)], [(5, 6)]), False),
        (Prompt((1, 2, 30, 40), [(3, 4)], []), False),
    ],
)
def test_best_asks_for_several_masks_only_where_the_prompt_is_ambiguous(prompt, several):
    painter = Painter(radii=(20, 40, 30), scores=(0.2, 0.5, 0.9), single=10)
    mask = prompt_masks(painter, SQUARE, [prompt], BEST, False)[0]
    assert painter.calls[0][3] is several
    assert mask.sum() == pytest.approx(np.pi * (30 if several else 10) ** 2, rel=0.02)


@pytest.mark.parametrize(("candidate", "radius"), [(LARGEST, 40), (SMALLEST, 20)])
@pytest.mark.parametrize("prompt", [BOX, POINT])
def test_size_of_the_candidate_can_be_chosen_for_every_prompt(candidate, radius, prompt):
    painter = Painter()
    mask = prompt_masks(painter, SQUARE, [prompt], candidate, False)[0]
    assert painter.calls[0][3] is True
    assert mask.sum() == pytest.approx(np.pi * radius**2, rel=0.02)


def test_smallest_candidate_is_not_an_empty_one_while_there_are_others():
    for radii, area in (((-5, 40, 30), np.pi * 900), ((-5, -6, -7), 0)):
        mask = prompt_masks(Painter(radii), SQUARE, [POINT], SMALLEST, False)[0]
        assert mask.sum() == pytest.approx(area, rel=0.02)


def test_area_is_that_in_the_picture_not_in_the_padding_of_the_square():
    """The disk that is larger in the square lies mostly below a picture of a quarter of its height."""
    painter = Painter()
    y, x = np.mgrid[2:128:4, 2:128:4] + 0.0
    disks = [15 - np.hypot(x - 40, y - 16), 40 - np.hypot(x - 64, y - 70), -1 - 0 * x]
    painter.decode = lambda *_: (torch.from_numpy(np.stack(disks)).float()[None], torch.zeros(1, 3))
    strip = Embedding(SQUARE.features, (64, 256), (32, 128))
    mask = prompt_masks(painter, strip, [POINT], LARGEST, False)[0]
    assert mask.sum() == pytest.approx(4 * np.pi * 15**2, rel=0.05)


def test_points_on_the_object_and_beside_it_are_told_apart():
    painter = Painter()
    prompt_masks(painter, SQUARE, [Prompt((1, 2, 3, 4), [(5, 6)], [(7, 8), (9, 10)])], BEST, False)
    boxes, points, labels, _ = painter.calls[0]
    assert boxes.tolist() == [[1, 2, 3, 4]]
    assert points.tolist() == [[[5, 6], [7, 8], [9, 10]]] and labels.tolist() == [[1, 0, 0]]


@pytest.mark.parametrize("candidate", CANDIDATES)
def test_large_pictures_hold_one_mask_of_their_size_at_a_time(candidate, monkeypatch):
    sizes = []
    interpolate = F.interpolate

    def noted(*args, **options):
        result = interpolate(*args, **options)
        sizes.append(result.numel())
        return result

    monkeypatch.setattr(F, "interpolate", noted)
    large = Embedding(SQUARE.features, (300, 400), (96, 128))
    assert prompt_masks(Painter(), large, [POINT] * 5, candidate, False).shape == (5, 300, 400)
    assert max(sizes) == 300 * 400


@pytest.mark.parametrize(
    ("prompts", "candidate", "message"),
    [
        ([BOX, Prompt(None, [], [])], BEST, "prompt 2 of 2 has neither a box nor a point"),
        ([BOX], "first", "candidate is 'first'; best, largest, smallest are accepted"),
    ],
)
def test_bad_requests_are_refused_with_one_sentence(prompts, candidate, message):
    with pytest.raises(ValueError, match=message) as refusal:
        prompt_masks(Painter(), SQUARE, prompts, candidate, False)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("size", [(1, 1), (1, 5000), (5000, 1), (2, 700), (1, 200), (30, 40), (700, 900)])
def test_any_size_of_picture_can_be_segmented(tiny, size):
    found = tiny.encode(torch.rand(3, *size, generator=torch.Generator().manual_seed(0)))
    assert found.features.shape == (1, 64, 16, 16) and found.size == size and max(found.input_size) == tiny.side
    for soft_edges in (False, True):
        mask = prompt_masks(tiny, found, [Prompt((0, 0, size[1], size[0]), [], [])], BEST, soft_edges)
        assert mask.shape == (1, *size) and 0 <= mask.min() <= mask.max() <= 1


@pytest.mark.parametrize(
    ("size", "expected"), [((768, 1024), (768, 1024)), ((3, 7), (439, 1024)), ((4096, 3), (1024, 1))]
)
def test_longer_side_becomes_that_of_the_square(size, expected):
    assert resized(size, 1024) == expected


def test_pictures_are_not_written_to(tiny):
    picture = torch.rand(3, 100, 256)
    before = picture.clone()
    tiny.encode(picture)
    assert torch.equal(picture, before)


def test_embedding_may_rest_in_memory_between_uses(tiny, embedding):
    """Networks are used in ComfyUI's inference mode, and embeddings are copied from one device to another."""
    with torch.inference_mode():
        moved = embedding._replace(features=embedding.features.clone())
        masks = prompt_masks(tiny, moved, [BOX, POINT], BEST, True)
    assert torch.equal(masks, prompt_masks(tiny, embedding, [BOX, POINT], BEST, True))


# Soft edges


def plane(slope, angle, offset, height=24, width=31):
    """Logits that rise by `slope` a pixel in a direction and are 0 on a line, and distances of the pixels from it."""
    y, x = np.mgrid[:height, :width] + 0.5
    distance = (x - width / 2) * np.cos(angle) + (y - height / 2) * np.sin(angle) - offset
    return torch.from_numpy(slope * distance).float(), distance


@pytest.mark.parametrize("slope", [4, 7.5, 60])
@pytest.mark.parametrize("angle", [0, np.pi / 2, np.pi])
@pytest.mark.parametrize("offset", [0, 0.3, -3.75])
def test_steep_edge_along_the_pixels_covers_them_by_the_part_that_lies_inside(slope, angle, offset):
    logits, distance = plane(slope, angle, offset)
    coverage = np.clip(distance + 0.5, 0, 1)
    assert np.allclose(mask_of_logits(logits, True), coverage, atol=1e-4)


@pytest.mark.parametrize("angle", [0.3, np.pi / 4, 2, 4.4])
def test_steep_edge_in_any_direction_comes_close_to_the_coverage(angle):
    logits, _ = plane(9, angle, 0.2)
    fine = 16
    y, x = (np.mgrid[: 24 * fine, : 31 * fine] + 0.5) / fine
    inside = (x - 31 / 2) * np.cos(angle) + (y - 24 / 2) * np.sin(angle) > 0.2
    coverage = inside.reshape(24, fine, 31, fine).mean((1, 3))
    # Distance alone does not tell the corner of a pixel from its side: (√2 - 1)² / 4 at 45°.
    assert np.abs(mask_of_logits(logits, True).numpy() - coverage).max() < 0.0429 + 2 / fine**2 + 0.005


def test_flat_edge_fades_as_the_probability_does():
    logits, _ = plane(0.05, 0.4, 0, height=200, width=200)
    mask = mask_of_logits(logits, True)
    near = logits.abs() < 0.5
    assert near.sum() > 1000 and (mask - torch.sigmoid(logits))[near].abs().max() < 0.003
    assert (mask - torch.sigmoid(logits)).abs().max() < 0.12  # where the straight line and the curve are farthest


def test_soft_edges_follow_their_formula_and_leave_no_traces():
    logits = 6 * torch.randn(40, 50, generator=torch.Generator().manual_seed(0))
    z = logits.double().numpy()
    slope = np.hypot(*np.gradient(z))
    mask = mask_of_logits(logits, True)
    assert np.allclose(mask, np.clip(0.5 + z / np.maximum(4, slope), 0, 1), atol=1e-6)
    outside = z <= -np.maximum(2, slope / 2) - 1e-5
    assert outside.mean() > 0.1 and (mask[torch.from_numpy(outside)] == 0).all()
    assert torch.equal(mask > 0.5, mask_of_logits(logits, False) == 1)


def test_hard_edges_are_zero_or_one():
    logits = torch.tensor([[-1.0, 0.0, 1e-6], [3.0, -1e-6, 40.0]])
    assert mask_of_logits(logits, False).tolist() == [[0, 0, 1], [1, 0, 1]]
