"""A small Paint by Example model for tests in both file formats, with weights random but always the same.

Where its sizes differ from the official ones ComfyUI leaves no choice for the others: the diffusion model has two levels of
320 channels, the VAE's encoder is whole, its decoder narrow, and CLIP has five layers of 64 channels. All values are exact in
16 bits, which is how ComfyUI keeps CLIP.
"""

import functools
import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import CLIPVisionConfig

UNET = {
    "in_channels": 9,
    "out_channels": 4,
    "block_out_channels": (320, 320),
    "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
    "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
    "layers_per_block": 1,
    "cross_attention_dim": 768,
    "attention_head_dim": 8,
    "sample_size": 8,
}
# The same in ComfyUI's words.
COMFYUI_UNET = {
    "image_size": 32,
    "use_spatial_transformer": True,
    "legacy": False,
    "adm_in_channels": None,
    "in_channels": 9,
    "out_channels": 4,
    "model_channels": 320,
    "num_res_blocks": [1, 1],
    "channel_mult": [1, 1],
    "transformer_depth": [1, 0],
    "transformer_depth_output": [1, 1, 0, 0],
    "transformer_depth_middle": 1,
    "use_linear_in_transformer": False,
    "context_dim": 768,
    "use_temporal_resblock": False,
    "use_temporal_attention": False,
}
VISION = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 9,
    "num_attention_heads": 1,
    "image_size": 224,
    "patch_size": 56,
    "projection_dim": 768,
}
MAPPER_BLOCKS = 2  # diffusers makes one for five layers of CLIP, rounded up
VAE_LEVELS = ("DownEncoderBlock2D",) * 4, ("UpDecoderBlock2D",) * 4


def random_values(network, seed=0):
    """The network with random values that neither vanish nor grow on the way through it."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, value in network.named_parameters():
            noise = torch.randn(value.shape, generator=generator)
            if value.dim() > 1:
                noise *= value[0].numel() ** -0.5
            elif "norm" in name and name.endswith("weight"):
                noise = 1 + 0.1 * noise
            else:
                noise *= 0.1
            value.copy_(noise.half())
    return network.eval()


def diffusers_unet():
    from diffusers import UNet2DConditionModel

    return random_values(UNet2DConditionModel(**UNET), 1)


def diffusers_encoder():
    from diffusers.pipelines.deprecated.paint_by_example.image_encoder import PaintByExampleImageEncoder

    return random_values(PaintByExampleImageEncoder(CLIPVisionConfig(**VISION)), 2)


def diffusers_vae():
    from diffusers import AutoencoderKL

    vae, narrow = (
        AutoencoderKL(3, 3, *VAE_LEVELS, block_out_channels=widths, layers_per_block=2, sample_size=64)
        for widths in ((128, 256, 512, 512), (32, 64, 128, 128))
    )
    vae.decoder = narrow.decoder
    random_values(vae, 3)
    with torch.no_grad():
        # Its spread vanishes: diffusers draws from it, ComfyUI takes its middle.
        vae.quant_conv.weight[4:] = 0
        vae.quant_conv.bias[4:] = -30
    return vae


def save_folder(folder, parts):
    """Save the parts as diffusers does, in 16 bits."""
    folder = Path(folder)
    names = ("unet", "diffusion_pytorch_model"), ("image_encoder", "model"), ("vae", "diffusion_pytorch_model")
    for part, (name, file) in zip(parts, names, strict=True):
        (folder / name).mkdir(parents=True)
        save_file(half(part.state_dict()), folder / name / f"{file}.safetensors")
        (folder / name / "config.json").write_text("{}", encoding="utf-8")
    index = {"_class_name": "PaintByExamplePipeline"}
    (folder / "model_index.json").write_text(json.dumps(index), encoding="utf-8")
    return folder


def half(weights):
    return {k: (v.half() if v.is_floating_point() else v).contiguous() for k, v in weights.items()}


def authors_checkpoint(unet, encoder, vae):
    """The parts' weights under the names of the authors' file, those of diffusion model and VAE by ComfyUI's conversion."""
    import comfy.diffusers_convert

    autoencoder = comfy.diffusers_convert.convert_vae_state_dict(vae.state_dict())
    return _checkpoint(unet, encoder, autoencoder)


@functools.cache
def checkpoint_with_quick_vae():
    """The authors' file with a VAE that is quick with whole pictures: a random TAESD, which ComfyUI takes for one as well."""
    from comfy.taesd.taesd import TAESD

    return _checkpoint(diffusers_unet(), diffusers_encoder(), random_values(TAESD(), 4).state_dict())


def _checkpoint(unet, encoder, autoencoder):
    return half(
        {
            **authors_unet(unet.state_dict()),
            **authors_encoder(encoder.state_dict()),
            **{f"first_stage_model.{name}": value for name, value in autoencoder.items()},
        }
    )


def authors_unet(unet):
    import comfy.utils

    renamed = comfy.utils.unet_to_diffusers(COMFYUI_UNET)
    return {f"model.diffusion_model.{renamed[name]}": value for name, value in unet.items()}


def authors_encoder(encoder):
    """The image encoder's weights in the authors' words, as their modules state them."""
    found = {"learnable_vector": encoder["uncond_vector"]}
    for kind in ("weight", "bias"):
        found[f"proj_out.{kind}"] = encoder[f"proj_out.{kind}"]
        found[f"cond_stage_model.final_ln.{kind}"] = encoder[f"final_layer_norm.{kind}"]
        for block in range(MAPPER_BLOCKS):
            ours, theirs = f"cond_stage_model.mapper.resblocks.{block}", f"mapper.blocks.{block}"
            queries_keys_values = [encoder[f"{theirs}.attn1.to_{letter}.{kind}"] for letter in "qkv"]
            found |= {
                f"{ours}.attn.c_qkv.{kind}": torch.cat(queries_keys_values),
                f"{ours}.attn.c_proj.{kind}": encoder[f"{theirs}.attn1.to_out.0.{kind}"],
                f"{ours}.ln_1.{kind}": encoder[f"{theirs}.norm1.{kind}"],
                f"{ours}.ln_2.{kind}": encoder[f"{theirs}.norm3.{kind}"],
                f"{ours}.mlp.c_fc.{kind}": encoder[f"{theirs}.ff.net.0.proj.{kind}"],
                f"{ours}.mlp.c_proj.{kind}": encoder[f"{theirs}.ff.net.2.{kind}"],
            }
    for name, value in encoder.items():
        if name.startswith("model."):
            within = name.removeprefix("model.").removeprefix("vision_model.")
            found[f"cond_stage_model.transformer.vision_model.{within}"] = value
    positions = torch.arange((VISION["image_size"] // VISION["patch_size"]) ** 2 + 1)
    return found | {"cond_stage_model.transformer.vision_model.embeddings.position_ids": positions[None]}
