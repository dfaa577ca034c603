"""The workflow seam_inpainting with a small diffusion model of random weights in ComfyUI's own sampler."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn.functional import max_pool2d

from oracles import resized
from tiny_diffusion import put_checkpoint, small
from workflow_files import load

WORKFLOW = Path(__file__).resolve().parents[2] / "workflows" / "api" / "seam_inpainting.json"
BLENDED, BAND, CROP, CROPPED_BAND, BOXES = ["12", 0], ["16", 0], ["17", 0], ["17", 1], ["17", 2]
REPAINTED, RESULT = ["29", 0], ["31", 0]


@pytest.fixture(params=[4, 9], ids=["ordinary", "inpainting"])
def prompt(host, request):
    checkpoint = put_checkpoint(request.param)
    host.executor = host.new_executor()  # its cache does not see that the file is another one
    yield small(load(WORKFLOW))
    checkpoint.unlink()


def through_the_vae(picture):
    """What encoding and decoding make of `[H, W, 3]`, if nothing happens between them."""
    blocks = picture.double().unflatten(0, (-1, 8)).unflatten(2, (-1, 8)).mean((1, 3))
    return (3 * torch.tanh(blocks / 3)).repeat_interleave(8, 0).repeat_interleave(8, 1)


def stitched(blended, band, repainted, box):
    """The repainted crop in its box, mixed in by the band: float64 `[H, W, 3]`."""
    back = resized(repainted.double().numpy(), (box["height"], box["width"]))
    wanted = blended.double().numpy()
    part = (slice(box["y"], box["y"] + box["height"]), slice(box["x"], box["x"] + box["width"]))
    m = band.double().numpy()[part][..., None]
    m[m < 1 / 255] = 0  # what 8 bits cannot show is no mask
    wanted[part] = m * back + (1 - m) * wanted[part]
    return wanted


def test_only_the_band_is_repainted(host, photographs, prompt):
    blended, band, crop, cropped_band, boxes, repainted, result = host.run_graph(
        prompt, BLENDED, BAND, CROP, CROPPED_BAND, BOXES, REPAINTED, RESULT
    )
    ((box,),) = boxes
    assert result.shape == blended.shape == (1, 400, 600, 3)
    assert 0.02 < (band > 0).float().mean() < 0.1
    assert torch.equal(result[band == 0], blended[band == 0])
    assert (result - blended)[band == 1].abs().mean() > 0.05
    assert np.abs(result[0].numpy() - stitched(blended[0], band[0], repainted[0], box)).max() < 1e-5

    # Within the crop the sampler works on cells of 8 pixels, and leaves those without band alone.
    untouched = max_pool2d(cropped_band[None], 8)[0, 0] == 0
    untouched = untouched.repeat_interleave(8, 0).repeat_interleave(8, 1)
    assert 0.2 < untouched.float().mean() < 0.8
    difference = (repainted[0] - through_the_vae(crop[0])).abs()
    assert difference[untouched].max() < 1e-3
    assert difference[~untouched].mean() > 0.05


def test_denoise_of_0_gives_what_the_vae_makes_of_the_crop(host, photographs, prompt):
    prompt = {**prompt, "28": {**prompt["28"], "inputs": {**prompt["28"]["inputs"], "denoise": 0.0}}}
    blended, band, crop, boxes, result = host.run_graph(prompt, BLENDED, BAND, CROP, BOXES, RESULT)
    ((box,),) = boxes
    wanted = stitched(blended[0], band[0], through_the_vae(crop[0]), box)
    assert np.abs(result[0].numpy() - wanted).max() < 1e-3
    assert torch.equal(result[band == 0], blended[band == 0])


@pytest.mark.parametrize("prompt", [4], ids=["ordinary"], indirect=True)
def test_change_grows_with_denoise(host, photographs, prompt):
    changes = []
    for denoise in (0.01, 0.6):
        host.executor = host.new_executor()
        settings = {**prompt["28"]["inputs"], "denoise": denoise}
        crop, repainted = host.run_graph({**prompt, "28": {**prompt["28"], "inputs": settings}}, CROP, REPAINTED)
        changes.append((repainted[0] - through_the_vae(crop[0])).abs().mean().item())
    assert changes[0] < 0.01
    assert changes[0] < changes[1] / 4


@pytest.mark.parametrize("prompt", [4], ids=["ordinary"], indirect=True)
def test_noise_mask_on_an_encoded_crop_does_the_same(host, photographs, prompt):
    """VAE Encode and Set Latent Noise Mask in place of InpaintModelConditioning, over two frames."""
    frames = {"class_type": "RepeatImageBatch", "inputs": {"image": BLENDED, "amount": 2}}
    encoded = {"class_type": "VAEEncode", "inputs": {"pixels": CROP, "vae": ["23", 2]}}
    masked = {"class_type": "SetLatentNoiseMask", "inputs": {"samples": ["encoded", 0], "mask": CROPPED_BAND}}
    prompt = {name: {**entry, "inputs": dict(entry["inputs"])} for name, entry in prompt.items()}
    prompt |= {"frames": frames, "encoded": encoded, "masked": masked}
    prompt["17"]["inputs"]["image"] = prompt["31"]["inputs"]["target"] = ["frames", 0]
    prompt["28"]["inputs"] |= {"positive": ["24", 0], "negative": ["25", 0], "latent_image": ["masked", 0]}
    blended, band, result = host.run_graph(prompt, ["frames", 0], BAND, RESULT)
    assert result.shape == (2, 400, 600, 3)
    for before, after in zip(blended, result, strict=True):
        assert torch.equal(after[band[0] == 0], before[band[0] == 0])
        assert (after - before)[band[0] == 1].abs().mean() > 0.05
