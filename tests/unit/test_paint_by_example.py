"""The parts of Paint by Example from both file formats, beside diffusers' own network and its own conversion."""

import re

import pytest
import torch
from diffusers.pipelines.deprecated.paint_by_example.image_encoder import PaintByExampleImageEncoder
from diffusers.pipelines.stable_diffusion import convert_from_ckpt
from transformers import CLIPVisionConfig

from deepblend.diffusion.exemplar_mapper import ExemplarMapper
from deepblend.diffusion.paint_by_example import (
    mapper_sizes,
    parts_of_checkpoint,
    parts_of_folder,
    require_weights,
    vision_configuration,
)
from paint_by_example_networks import MAPPER_BLOCKS, VISION, authors_encoder, diffusers_encoder

ACCEPTED = (
    "the authors' checkpoint (model.ckpt, or saved anew as .safetensors) and their folder for diffusers "
    "(Fantasy-Studio/Paint-by-Example) are accepted"
)
FIRST_LAYER = "model.diffusion_model.input_blocks.0.0.weight"


@pytest.fixture(scope="module")
def encoder():
    return diffusers_encoder()


@pytest.fixture
def checkpoint(encoder):
    """The authors' file, with next to nothing in its diffusion model and VAE."""
    some = {FIRST_LAYER: torch.zeros(4, 9, 3, 3), "first_stage_model.quant_conv.bias": torch.zeros(8)}
    return some | authors_encoder(encoder.state_dict())


@pytest.fixture
def folder(encoder):
    return {"conv_in.weight": torch.zeros(4, 9, 3, 3)}, dict(encoder.state_dict()), {"quant_conv.bias": torch.zeros(8)}


def mapper_of(parts):
    mapper = ExemplarMapper(**mapper_sizes(parts.mapper))
    mapper.load_state_dict(parts.mapper)
    return mapper


@pytest.mark.parametrize("format", ["checkpoint", "folder"])
def test_mapper_gives_what_that_of_diffusers_gives(encoder, checkpoint, folder, format):
    mapper = mapper_of(parts_of_checkpoint(checkpoint) if format == "checkpoint" else parts_of_folder(*folder))
    pooled = torch.randn(3, VISION["hidden_size"], generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = encoder.proj_out(encoder.final_layer_norm(encoder.mapper(pooled[:, None])))[:, 0]
        found = mapper(pooled)
    assert expected.std() > 0.1 and (expected[0] - expected[1]).abs().max() > 0.1
    assert (found - expected).abs().max() < 1e-5


def test_the_conversion_of_diffusers_finds_the_same_network_in_the_authors_file(encoder, checkpoint, monkeypatch):
    monkeypatch.setattr(CLIPVisionConfig, "from_pretrained", lambda *_, **__: CLIPVisionConfig(**VISION))
    prefix = "cond_stage_model.transformer."
    names = {name.removeprefix("vision_model."): name for name in encoder.model.state_dict()}
    as_installed = {
        prefix + names[within]: checkpoint.pop(prefix + "vision_model." + within) for within in names
    }  # this version of transformers may leave the second part out
    del checkpoint[f"{prefix}vision_model.embeddings.position_ids"]
    converted = convert_from_ckpt.convert_paint_by_example_checkpoint(checkpoint | as_installed).state_dict()
    for name, value in encoder.state_dict().items():
        assert torch.equal(converted[name], value), name


def test_both_formats_hold_the_same_parts(checkpoint, folder):
    first, second = parts_of_checkpoint(checkpoint), parts_of_folder(*folder)
    assert torch.equal(first.unconditional, second.unconditional) and first.unconditional.shape == (1, 1, 768)
    for ours, theirs in ((first.vision, second.vision), (first.mapper, second.mapper)):
        assert ours.keys() - theirs.keys() <= {"vision_model.embeddings.position_ids"}
        assert all(torch.equal(ours[name], value) for name, value in theirs.items())
    assert set(first.diffusion) == {"input_blocks.0.0.weight"} and set(second.diffusion) == {"conv_in.weight"}
    assert set(first.autoencoder) == set(second.autoencoder) == {"quant_conv.bias"}


def test_names_with_and_without_the_part_that_newer_versions_of_transformers_leave_out(folder):
    unet, encoder, vae = folder
    short = {re.sub(r"^model\.(vision_model\.)?", "model.", name): value for name, value in encoder.items()}
    long = {re.sub(r"^model\.(vision_model\.)?", "model.vision_model.", name): value for name, value in encoder.items()}
    assert short.keys() != long.keys()
    assert parts_of_folder(unet, short, vae).vision.keys() == parts_of_folder(unet, long, vae).vision.keys()


def test_sizes_are_read_from_the_weights(checkpoint):
    parts = parts_of_checkpoint(checkpoint)
    configuration = vision_configuration(parts.vision)
    known = CLIPVisionConfig(**VISION).to_dict()
    assert configuration == {name: known[name] for name in configuration}
    assert mapper_sizes(parts.mapper) == {"width": 64, "token_width": 768, "depth": MAPPER_BLOCKS}


def test_sizes_of_the_official_model():
    """CLIP ViT-L/14 and five blocks of 1024 channels, of which diffusers' classes state the shapes."""
    official = {
        "hidden_size": 1024,
        "intermediate_size": 4096,
        "num_hidden_layers": 24,
        "num_attention_heads": 16,
        "image_size": 224,
        "patch_size": 14,
        "projection_dim": 768,
    }
    with torch.device("meta"):
        encoder = PaintByExampleImageEncoder(CLIPVisionConfig(**official)).state_dict()
        parts = parts_of_folder(
            {"conv_in.weight": torch.empty(320, 9, 3, 3)}, encoder, {"quant_conv.bias": torch.empty(8)}
        )
        mapper = ExemplarMapper(**mapper_sizes(parts.mapper))
    known = CLIPVisionConfig(**official).to_dict()
    configuration = vision_configuration(parts.vision)
    assert configuration == {name: known[name] for name in configuration}
    assert mapper_sizes(parts.mapper) == {"width": 1024, "token_width": 768, "depth": 5}
    require_weights(mapper.state_dict(), parts.mapper)


def test_other_files_are_refused_with_a_sentence(checkpoint, folder):
    def refusal(weights):
        with pytest.raises(ValueError) as raised:
            parts_of_checkpoint(weights)
        return str(raised.value)

    def without(beginning):
        return {name: value for name, value in checkpoint.items() if not name.startswith(beginning)}

    assert refusal({}) == f"there is no diffusion model with the authors' names in it; {ACCEPTED}"
    assert refusal(without("learnable")) == (
        "it is a Stable Diffusion checkpoint but not one of Paint by Example: learnable_vector is missing; " + ACCEPTED
    )
    assert refusal(checkpoint | {FIRST_LAYER: torch.zeros(4, 4, 3, 3)}) == (
        f"its diffusion model takes 4 channels where Paint by Example takes 9; {ACCEPTED}"
    )
    without_first_layer = {FIRST_LAYER.replace("0.0", "1.0"): torch.zeros(4), **without(FIRST_LAYER)}
    assert refusal(without_first_layer) == f"input_blocks.0.0.weight is missing; {ACCEPTED}"
    assert refusal(checkpoint | {FIRST_LAYER: torch.zeros(4)}) == (
        f"input_blocks.0.0.weight has 1 dimensions where 4 belong; {ACCEPTED}"
    )
    assert refusal(without("cond_stage_model.transformer.")) == f"it has no CLIP image encoder; {ACCEPTED}"
    assert refusal(without("first_stage_model.")) == f"it has no VAE; {ACCEPTED}"
    unet, encoder, vae = folder
    del encoder["uncond_vector"]
    with pytest.raises(ValueError, match="its image encoder is not that of Paint by Example: uncond_vector is missing"):
        parts_of_folder(unet, encoder, vae)


def test_missing_and_misshapen_weights_are_named(checkpoint):
    parts = parts_of_checkpoint(checkpoint)
    expected = ExemplarMapper(**mapper_sizes(parts.mapper)).state_dict()
    lacking = {name: value for name, value in parts.mapper.items() if name != "blocks.1.output.bias"}
    with pytest.raises(ValueError, match=r"^blocks\.1\.output\.bias is missing; the authors' checkpoint"):
        require_weights(expected, lacking)
    with pytest.raises(ValueError, match=r"^norm\.bias is \[3\] where \[64\] belongs; the authors' checkpoint"):
        require_weights(expected, parts.mapper | {"norm.bias": torch.zeros(3)})
    with pytest.raises(ValueError, match=r"patch_embedding\.weight is missing; the authors' checkpoint"):
        vision_configuration({})
