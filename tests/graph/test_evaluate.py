import sys

import numpy as np
import pytest
import torch
from PIL import ImageColor
from skimage.metrics import mean_squared_error, peak_signal_noise_ratio, structural_similarity

from loss_colors import LOSS_COLORS
from pictures import random_picture, smooth_picture

COMPARE, PLOT = "DeepBlend_CompareImages", "DeepBlend_PlotLosses"
HEIGHT, WIDTH = 60, 80


def picture(seed, channels=3):
    return torch.from_numpy(smooth_picture(HEIGHT, WIDTH, seed, channels)).float()[None]


def noisy(image, seed=0, strength=0.1):
    return (image + strength * torch.randn(image.shape, generator=torch.Generator().manual_seed(seed))).clamp(0, 1)


def box_mask(batch=1):
    mask = torch.zeros(batch, HEIGHT, WIDTH)
    mask[:, 20:40, 25:60] = 1
    return mask


def pasted(step=0.3):
    """A grey picture, and the same with an object that is lighter."""
    reference = torch.full((1, HEIGHT, WIDTH, 3), 0.4)
    return reference + step * box_mask()[..., None], reference


def scores_by_scikit_image(image, reference):
    a, b = (values[0].double().numpy() for values in (image, reference))
    settings = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 1}
    return [
        peak_signal_noise_ratio(b, a, data_range=1),
        structural_similarity(a, b, channel_axis=2, **settings),
        mean_squared_error(a * 255, b * 255),
    ]


def shows(plot, color):
    """Whether a chart has pixels of a colour."""
    wanted = torch.tensor(ImageColor.getrgb(color)) / 255
    return bool(((plot - wanted).abs() < 0.01).all(-1).sum() > 30)


@pytest.mark.parametrize("with_mask", [False, True])
def test_numbers_are_those_of_scikit_image_over_the_whole_picture(host, with_mask):
    image, reference = noisy(picture(1)), picture(1)
    psnr, ssim, mse, *_ = host.run_node(
        COMPARE, image=image, reference=reference, mask=box_mask() if with_mask else None
    )
    assert all(type(value) is float for value in (psnr, ssim, mse))
    assert [psnr, ssim, mse] == pytest.approx(scores_by_scikit_image(image, reference), rel=1e-5)


def test_a_pasted_object_has_the_seam_of_its_step(host):
    image, reference = pasted(0.3)
    *_, gradient, saturation, report, plot = host.run_node(COMPARE, image=image, reference=reference, mask=box_mask())
    assert gradient == pytest.approx(0.3, abs=1e-6)
    assert saturation == pytest.approx(0, abs=1e-6)
    share, error = 20 * 35 / (HEIGHT * WIDTH), (0.3 * 255) ** 2
    assert f"MSE {error * share:.2f}" in report.split("\n")[0]
    assert report.split("\n")[1].startswith(f"inside the mask: PSNR {20 * np.log10(1 / 0.3):.2f} dB")
    assert report.split("\n")[1].endswith(f"MSE {error:.2f}")
    assert report.split("\n")[2] == ("seam: gradient 0.3000 (reference 0.0000), saturation 0.0000 (reference 0.0000)")
    assert plot.shape == (1, 512, 768, 3)


def test_the_numbers_do_not_depend_on_what_lies_far_from_the_mask(host):
    """Inside a large picture only the surroundings of the mask are measured."""
    image, reference, mask = noisy(picture(2)), picture(2), box_mask()
    small = host.run_node(COMPARE, image=image, reference=reference, mask=mask)
    wide = [torch.nn.functional.pad(values, (0, 0, 70, 90, 80, 60)) for values in (image, reference, mask[..., None])]
    large = host.run_node(COMPARE, image=wide[0], reference=wide[1], mask=wide[2][..., 0])
    assert large[3:5] == pytest.approx(small[3:5], abs=1e-6)
    assert large[5].split("\n")[1:] == small[5].split("\n")[1:]


def test_a_batch_gives_means_and_a_report_and_a_chart_per_frame(host):
    reference = picture(3)
    image = torch.cat([noisy(reference, index, 0.05 * (index + 1)) for index in range(3)])
    *means, report, plot = host.run_node(COMPARE, image=image, reference=reference, mask=box_mask())
    alone = [
        host.run_node(COMPARE, image=image[index : index + 1], reference=reference, mask=box_mask())
        for index in range(3)
    ]
    assert means == pytest.approx([np.mean([frame[place] for frame in alone]) for place in range(5)], rel=1e-6)
    lines = report.split("\n")
    assert [line for line in lines if not line.startswith(" ")] == ["mean of 3 frames", "frame 1", "frame 2", "frame 3"]
    for index, frame in enumerate(alone):
        first = lines.index(f"frame {index + 1}") + 1
        assert [line.strip() for line in lines[first : first + 3]] == frame[5].split("\n")
    assert plot.shape == (3, 512, 768, 3)
    assert not torch.equal(plot[0, 60:], plot[1, 60:])  # below the title


def test_equal_pictures(host):
    image = random_picture(HEIGHT, WIDTH)
    psnr, ssim, mse, *_ = host.run_node(COMPARE, image=image, reference=image, mask=box_mask())
    assert (psnr, mse) == (100.0, 0.0)
    assert ssim == pytest.approx(1, abs=1e-6)


def test_of_transparent_pictures_the_colours_are_compared(host):
    image, reference = noisy(picture(4, 4)), picture(4, 4)
    expected = host.run_node(COMPARE, image=image[..., :3], reference=reference[..., :3], mask=box_mask())
    found = host.run_node(COMPARE, image=image, reference=reference[..., :3], mask=box_mask())
    assert found[:6] == expected[:6]
    assert torch.equal(found[6], expected[6])


def test_values_beyond_0_to_1_count_as_they_are_seen(host):
    reference = torch.ones(1, HEIGHT, WIDTH, 3)
    psnr, ssim, mse, *_ = host.run_node(COMPARE, image=reference * 1.5, reference=reference)
    assert (psnr, mse) == (100.0, 0.0)
    assert ssim == pytest.approx(1, abs=1e-6)


def test_without_a_mask_there_is_no_seam(host):
    image, reference = pasted()
    *_, gradient, saturation, report, plot = host.run_node(COMPARE, image=image, reference=reference)
    assert (gradient, saturation) == (0.0, 0.0)
    assert report.split("\n")[1:] == ["seam: a mask is needed"]
    assert plot.shape == (1, 512, 768, 3)
    assert (plot[0, 200:300] < 0.5).any()  # the sentence


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_a_mask_without_an_edge_has_no_seam(host, caplog, value):
    image, reference = pasted()
    mask = torch.cat([torch.full((1, HEIGHT, WIDTH), value), box_mask()])
    *_, gradient, saturation, report, plot = host.run_node(COMPARE, image=image, reference=reference, mask=mask[:1])
    assert (gradient, saturation) == (0.0, 0.0)
    assert report.split("\n")[2] == "seam: the mask has no edge to measure"
    assert ("inside the mask: the mask is empty" in report) == (value == 0)
    assert not shows(plot[0], "#D55E00")
    assert "Compare Images: mask has no edge to measure in 1 of 1 frames" in caplog.text
    # In a batch the mean is taken over the frames that have one.
    *_, gradient, _, report, plot = host.run_node(COMPARE, image=image, reference=reference, mask=mask)
    assert gradient == pytest.approx(0.3, abs=1e-6)
    assert "mask has no edge to measure in 1 of 2 frames" in caplog.text


def test_the_chart_shows_the_saturation_of_both(host):
    image, reference = pasted()
    plot = host.run_node(COMPARE, image=image, reference=reference, mask=box_mask())[6][0]
    assert shows(plot, "#D55E00")
    assert shows(plot, "#56B4E9")
    assert (plot[:8] == 1).all()
    assert (plot[-8:] == 1).all()


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (8, 8)])
def test_tiny_pictures(host, size):
    image, mask = random_picture(*size), torch.zeros(1, *size)
    mask[:, 0, 0] = 1
    *numbers, _, plot = host.run_node(COMPARE, image=image, reference=1 - image, mask=mask)
    assert np.isfinite(numbers).all()
    assert plot.shape == (1, 512, 768, 3)


def test_half_precision_and_other_devices_are_accepted(host):
    device = "cuda" if torch.cuda.is_available() else "cpu"
    image, reference = noisy(picture(5)).half(), picture(5).half()
    found = host.run_node(
        COMPARE, image=image.to(device), reference=reference.to(device), mask=box_mask().half().to(device)
    )
    expected = host.run_node(COMPARE, image=image.float(), reference=reference.float(), mask=box_mask())
    assert found[:5] == pytest.approx(expected[:5], rel=1e-5, abs=1e-6)
    assert found[6].dtype == torch.float32


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            {"image": torch.rand(1, 50, 70, 3)},
            "image is 70×50 pixels but reference is 80×60; image must have the size of",
        ),
        ({"mask": torch.ones(1, 9, 8)}, "mask is 8×9 pixels but image is 80×60; mask must have the size of image"),
        (
            {"mask": torch.zeros(1, 64, 64)},
            "mask is the empty 64×64 mask that Load Image gives when the picture has no",
        ),
        ({"image": picture(1).repeat(2, 1, 1, 1), "mask": box_mask(3)}, "image has 2 frames but mask has 3"),
        ({"reference": picture(1)[..., :1]}, "reference has the shape"),
        ({"image": picture(1) * float("nan")}, "image holds 14400 values that are NaN"),
    ],
)
def test_bad_input_gets_a_sentence(host, change, sentence):
    with pytest.raises(RuntimeError, match=sentence):
        host.run_node(COMPARE, **{"image": picture(1), "reference": picture(1), "mask": box_mask(), **change})


def losses(name="stage 1", evaluations=50, terms=tuple(LOSS_COLORS)[1:], rate=9.0):
    falling = np.exp(-np.arange(evaluations) / rate)
    entry = {term: (falling * (place + 1) + 0.01).tolist() for place, term in enumerate(terms)}
    return {"name": name, "terms": {"total": np.sum(list(entry.values()), 0).tolist(), **entry}}


def test_every_term_has_its_colour(host):
    image = host.run_node(PLOT, losses=[losses()])
    assert image.shape == (1, 512, 768, 3)
    assert image.dtype == torch.float32
    for name, color in LOSS_COLORS.items():
        assert shows(image[0], color), name
    some = host.run_node(PLOT, losses=[losses(terms=("content", "style"))])[0]
    for name, color in LOSS_COLORS.items():
        assert shows(some, color) == (name in ("total", "content", "style")), name


def test_lines_stay_within_the_sheet_whatever_the_values(host):
    wild = {"total": [1e30, 1.0, float("inf"), float("nan"), 1e-30, -1.0, 0.0] * 5, "style": [1e-30] * 35}
    image = host.run_node(PLOT, losses=[{"name": "stage 1", "terms": wild}])[0]
    assert (image[:8] == 1).all()
    assert (image[-8:] == 1).all()
    assert (image[:, :8] == 1).all()
    assert (image[:, -8:] == 1).all()


def test_a_batch_has_one_chart_per_frame(host):
    image = host.run_node(PLOT, losses=[losses(rate=9.0), losses(rate=20.0), {"name": "stage 1", "terms": {}}])
    assert image.shape == (3, 512, 768, 3)
    assert not torch.equal(image[0, 60:], image[1, 60:])


@pytest.mark.parametrize("terms", [{}, {"total": [], "style": []}])
def test_nothing_was_optimised(host, terms):
    image = host.run_node(PLOT, losses=[{"name": "stage 1", "terms": terms}])[0]
    assert (image[200:300] < 0.5).any()
    assert (image[300:] == 1).all()
    zeros = host.run_node(PLOT, losses=[{"name": "stage 1", "terms": {"total": [0.0, 0.0], "style": [0.0, 0.0]}}])[0]
    assert (zeros[300:] == 1).all()
    assert not torch.equal(image, zeros)


def test_losses_of_no_frames_give_a_chart(host):
    assert host.run_node(PLOT, losses=[]).shape == (1, 512, 768, 3)


def test_terms_that_are_0_are_left_out(host):
    entry = losses(terms=("content", "style"))
    plain = host.run_node(PLOT, losses=[entry])
    entry["terms"]["total variation"] = [0.0] * 50
    assert torch.equal(host.run_node(PLOT, losses=[entry]), plain)


def test_a_term_that_begins_at_its_optimum_does_not_stretch_the_axis(host):
    entry = losses(terms=("content", "style"))
    entry["terms"]["content"][0] = 0.0
    plain = host.run_node(PLOT, losses=[entry])[0]
    entry["terms"]["content"][0] = 1e-12
    assert torch.equal(host.run_node(PLOT, losses=[entry])[0], plain)


@pytest.mark.parametrize("evaluations", [1, 2, 3, 5000])
def test_few_and_many_evaluations(host, evaluations):
    image = host.run_node(PLOT, losses=[losses(evaluations=evaluations, terms=("content", "style"))])[0]
    assert all(shows(image, LOSS_COLORS[name]) for name in ("total", "content", "style"))


@pytest.fixture
def chart(host):
    return sys.modules[host.nodes.NODE_CLASS_MAPPINGS[PLOT].__module__.replace(".evaluate", ".chart")]


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (-16, 16, [-15, -10, -5, 0, 5, 10, 15]),
        (0, 4, [0, 1, 2, 3, 4]),
        (0, 200, [0, 50, 100, 150, 200]),
        (0, 1234, [0, 200, 400, 600, 800, 1000, 1200]),
    ],
)
def test_linear_ticks_are_round(chart, low, high, expected):
    assert chart.linear_ticks(low, high)[0] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.004, 7, [0.01, 0.1, 1]),
        (0.04, 3, [0.05, 0.1, 0.2, 0.5, 1, 2]),
        (1e-6, 1e2, [1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1, 10, 100]),
    ],
)
def test_logarithmic_ticks_are_round(chart, low, high, expected):
    assert chart.logarithmic_ticks(low, high)[0] == pytest.approx(expected)


@pytest.mark.parametrize("values", [[1.0], [1.0, 1.001], [0.0, 5.0, 7.0], [1e-30, 1.0], [3e-7, 2e-7], [1e30]])
def test_a_logarithmic_axis_has_a_few_ticks_and_holds_what_it_can(chart, values):
    low, high = chart.logarithmic_range(values)
    assert low < max(values) < high
    assert high / low <= 2e8
    assert all(low <= value for value in values if value > max(values) / 1e8)
    assert 3 <= len(chart.logarithmic_ticks(low, high)[0]) <= 9
