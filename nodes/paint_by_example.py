"""Paint by Example: a picture says what a diffusion model paints into a region."""

from functools import partial
from pathlib import Path

import torch
from comfy_api.latest import io

from ..diffusion.exemplar_mapper import ExemplarMapper
from ..diffusion.paint_by_example import (
    ACCEPTED,
    Parts,
    mapper_sizes,
    parts_of_checkpoint,
    parts_of_folder,
    require_weights,
    vision_configuration,
)
from .host import Progress, autoencoder, clip_vision, diffusion_model, read_weights
from .inputs import read_image, require_choices
from .model_files import find_or_fetch, fingerprint, model_choices
from .sockets import Exemplar

FOLDERS = ("checkpoints", "diffusers")  # of the models directory, for the single file and for the folder
# The file of weights in each part of a folder for diffusers, in the order in which they are looked for.
NETWORK_FILES = tuple(
    f"diffusion_pytorch_model{kind}" for kind in (".safetensors", ".fp16.safetensors", ".bin", ".fp16.bin")
)
ENCODER_FILES = ("model.safetensors", "model.fp16.safetensors", "pytorch_model.bin", "pytorch_model.fp16.bin")
# What the diffusion model reads after the latent. ComfyUI's other inpainting models read the mask first, and as it is.
BESIDE_LATENT = ("masked_image", "mask_inverted")
CENTER, NONE = "center", "none"


class LoadPaintByExample(io.ComfyNode):
    """Loads a Paint by Example model in its parts."""

    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="DeepBlend_LoadPaintByExample",
            display_name="Load Paint by Example",
            category="DeepBlend",
            description="Loads a Paint by Example model, which paints what an exemplar picture shows into a region: the authors' "
            "checkpoint from models/checkpoints, or their folder for diffusers from models/diffusers.",
            search_aliases=["paint by example", "exemplar", "reference inpainting", "image prompt", "paint-by-example"],
            inputs=[
                io.Combo.Input(
                    "model",
                    options=model_choices(FOLDERS),
                    tooltip="The authors' model.ckpt, under any name, or the folder Paint-by-Example with unet, image_encoder and vae in "
                    "it. Other checkpoints in the list are refused with a sentence.",
                ),
            ],
            outputs=[
                io.Model.Output("model", tooltip="The diffusion model, for KSampler."),
                Exemplar.Output("encoder", tooltip="What it sees exemplars with, for Paint by Example."),
                io.Vae.Output("vae", tooltip="For Inpaint Model Conditioning and VAE Decode."),
            ],
        )

    @classmethod
    def fingerprint_inputs(cls, model):
        return fingerprint(FOLDERS, model, download=False)

    @classmethod
    def execute(cls, model) -> io.NodeOutput:
        path = find_or_fetch(FOLDERS, model, download=False)
        try:
            parts = _parts(path)
            network = _exemplar_network(parts)
            patcher, vae = diffusion_model(parts.diffusion, BESIDE_LATENT), autoencoder(parts.autoencoder)
        except ValueError as error:
            raise ValueError(f"model {model!r}: {error}") from error
        # With these ComfyUI loads the weights anew for nodes that compile them or put them onto another device.
        patcher.cached_patcher_init = (_reloaded_model, (path,))
        vae.patcher.cached_patcher_init = (_reloaded_vae, (path,))
        unconditional = parts.unconditional.float().clone()
        encoder = {"clip_vision": network, "unconditional": unconditional, "config": {"name": model}}
        return io.NodeOutput(patcher, encoder, vae)


class PaintByExample(io.ComfyNode):
    """Says with a picture what a diffusion model paints."""

    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="DeepBlend_PaintByExample",
            display_name="Paint by Example",
            category="DeepBlend",
            description="Turns an exemplar picture into conditioning: what it shows is painted into the region, seen afresh, in the "
            "target's light and perspective, not copied. Inpaint Model Conditioning adds target and mask; KSampler's cfg says how "
            "closely the exemplar is followed.",
            search_aliases=[
                "exemplar",
                "image prompt",
                "reference image",
                "image conditioning",
                "paint by example",
                "subject",
            ],
            inputs=[
                Exemplar.Input("encoder", tooltip="From Load Paint by Example."),
                io.Image.Input(
                    "exemplar",
                    tooltip="What should appear: a picture that the object fills, with little else around it. It is seen at "
                    "224×224 pixels. Several go with as many frames, one for each. What is transparent counts as white.",
                ),
                io.Combo.Input(
                    "crop",
                    options=[CENTER, NONE],
                    default=CENTER,
                    tooltip="How an exemplar that is not square is fitted: center takes the square in its middle, none squeezes all "
                    "of it into the square.",
                ),
            ],
            outputs=[
                io.Conditioning.Output("positive", tooltip="The exemplar, for Inpaint Model Conditioning."),
                io.Conditioning.Output(
                    "negative", tooltip="No exemplar, as the model has learned it, for Inpaint Model Conditioning."
                ),
            ],
        )

    @classmethod
    def execute(cls, encoder, exemplar, crop) -> io.NodeOutput:
        require_choices(cls, crop=crop)
        exemplar = read_image("exemplar", exemplar)
        progress = Progress(len(exemplar))
        tokens = []
        for index, picture in enumerate(exemplar):
            progress(index)
            picture = _on_white(picture.float())[None].movedim(1, -1)
            seen = encoder["clip_vision"].encode_image(picture, crop=crop == CENTER)
            tokens.append(seen["image_embeds"].float())
        progress(len(exemplar))
        unconditional = encoder["unconditional"].to(tokens[0])
        return io.NodeOutput([[torch.cat(tokens)[:, None], {}]], [[unconditional, {}]])


def _on_white(picture):
    """`[3 or 4, H, W]` in 0..1 as `[3, H, W]`."""
    if len(picture) == 3:
        return picture
    alpha = picture[3:].clamp(0, 1)
    return picture[:3] * alpha + (1 - alpha)


def _parts(path: Path) -> Parts:
    if not path.is_dir():
        return parts_of_checkpoint(read_weights(path))
    weights = [
        read_weights(_first_file(path, part, names))
        for part, names in (("unet", NETWORK_FILES), ("image_encoder", ENCODER_FILES), ("vae", NETWORK_FILES))
    ]
    return parts_of_folder(*weights)


def _first_file(folder, part, names):
    for name in names:
        if (path := folder / part / name).is_file():
            return path
    raise ValueError(f"it has no {part}/{names[0]}, and no file in its place as .fp16 or .bin; {ACCEPTED}")


def _exemplar_network(parts: Parts):
    """ComfyUI's CLIP vision with the mapper at its end."""
    network = clip_vision(vision_configuration(parts.vision), partial(ExemplarMapper, **mapper_sizes(parts.mapper)))
    weights = parts.vision | {f"visual_projection.{name}": value for name, value in parts.mapper.items()}
    require_weights(network.model.state_dict(), weights)
    network.load_sd(weights)
    return network


def _reloaded_model(path: Path, disable_dynamic: bool = False):
    return diffusion_model(_parts(path).diffusion, BESIDE_LATENT, disable_dynamic)


def _reloaded_vae(path: Path, disable_dynamic: bool = False):
    # ComfyUI's class for VAEs has no such choice, and its own loader leaves it aside too.
    return autoencoder(_parts(path).autoencoder).patcher
