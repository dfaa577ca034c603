"""A checkpoint of the Stable Diffusion 1.x family with random weights that is small on disk and quick to run.

ComfyUI tells the family by its widths (320 channels, text of 768), so those are real. The UNet has one level, and all
matrices share their numbers: row i of a matrix is row 0 shifted by i places, which a file stores once. The VAE is
ComfyUI's own tiny one with weights chosen by hand: its latents are the means of 8 x 8 blocks.
"""

import json
from pathlib import Path

import torch

NAME = "tiny.ckpt"
SIDE = 128  # pixels of a crop that takes it a quarter of a second


def small(prompt):
    """A workflow with this checkpoint, a small crop and few steps."""
    for entry in prompt.values():
        inputs = entry["inputs"]
        if entry["class_type"] == "CheckpointLoaderSimple":
            inputs["ckpt_name"] = NAME
        elif entry["class_type"] == "KSampler":
            inputs["steps"] = 2
        elif entry["class_type"] == "DeepBlend_CropObject":
            inputs["width"] = inputs["height"] = SIDE
    return prompt


def put_checkpoint(in_channels=4):
    """Writes the checkpoint into ComfyUI's folder; 9 `in_channels` make it an inpainting model. Returns its path."""
    import folder_paths

    path = Path(folder_paths.models_dir, "checkpoints", NAME)
    path.parent.mkdir(parents=True, exist_ok=True)
    weights = {f"model.diffusion_model.{name}": value for name, value in unet_weights(in_channels).items()}
    weights |= {f"cond_stage_model.transformer.{name}": value for name, value in text_weights().items()}
    weights |= {f"first_stage_model.{name}": value for name, value in block_mean_weights().items()}
    torch.save(weights, path)
    return path


def unet_weights(in_channels):
    import comfy.ops
    from comfy.ldm.modules.diffusionmodules.openaimodel import UNetModel

    network = UNetModel(
        image_size=32,
        in_channels=in_channels,
        out_channels=4,
        model_channels=320,
        num_res_blocks=[1],
        channel_mult=[1],
        num_heads=8,
        transformer_depth=[1],
        transformer_depth_output=[1, 1],
        transformer_depth_middle=1,
        context_dim=768,
        use_spatial_transformer=True,
        legacy=False,
        device="meta",
        operations=comfy.ops.disable_weight_init,
    )
    weights = random_like(network)
    weights["out.2.weight"] = weights["out.2.weight"] / 30  # so that it sees about as much noise as there is
    return weights


def text_weights():
    """CLIP's text model at its full size, which ComfyUI has in a file of its own."""
    import comfy.clip_model
    import comfy.ops
    import comfy.sd1_clip

    config = json.loads(Path(comfy.sd1_clip.__file__).with_name("sd1_clip_config.json").read_text())
    network = comfy.clip_model.CLIPTextModel(config, torch.float32, "meta", comfy.ops.disable_weight_init)
    return {name: value for name, value in random_like(network).items() if name != "text_projection.weight"}


def random_like(network):
    """Weights for a network of which only the shapes are known."""
    generator = torch.Generator().manual_seed(0)
    weights = {}
    for name, value in network.state_dict().items():
        shape = value.shape
        if len(shape) == 1:
            weights[name] = torch.ones(shape) if name.endswith("weight") else torch.zeros(shape)
            continue
        columns = shape[1:].numel()
        numbers = torch.randn(shape[0] + columns - 1, generator=generator) / columns**0.5
        weights[name] = numbers.as_strided((shape[0], columns), (1, 1)).unflatten(1, shape[1:])
    return weights


def block_mean_weights():
    """Of ComfyUI's TAESD: what it encodes are colours averaged over 8 x 8 pixels, and it decodes flat blocks.

    Its decoder begins with 3 tanh(x / 3), which is all that changes them.
    """
    from comfy.taesd.taesd import TAESD

    network = TAESD()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
        network.vae_scale.fill_(0.18215)  # so that latents have the size of Stable Diffusion's
        convolutions = [layer for part in (network.taesd_encoder, network.taesd_decoder) for layer in part]
        for layer in convolutions:
            if not isinstance(layer, torch.nn.Conv2d):
                continue  # the blocks add nothing to what they get
            for channel in range(3):
                if layer.stride == (2, 2):
                    layer.weight[channel, channel, 1:, 1:] = 1 / 4
                else:
                    layer.weight[channel, channel, 1, 1] = 1
    return network.state_dict()
