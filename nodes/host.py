"""Everything the nodes need from ComfyUI itself. The only module that imports `comfy`."""

import time
from collections.abc import Callable
from pathlib import Path

import comfy.clip_vision
import comfy.diffusers_convert
import comfy.model_management
import comfy.model_patcher
import comfy.ops
import comfy.sd
import comfy.utils
import folder_paths
import torch
from PIL import Image
from torch import Tensor

PREVIEW_INTERVAL = 0.3  # seconds
PREVIEW_SIZE = 512  # pixels

# Folders of the models directory for which ComfyUI has no name of its own. Which files count is decided where they are
# listed: other packs use some of these names too, and each set of extensions is shared by all.
for _name in ("sams", "grounding-dino", "groundingdino", "bert-base-uncased", "perceptual"):
    folder_paths.add_model_folder_path(_name, str(Path(folder_paths.models_dir, _name)))


def compute_device() -> torch.device:
    return comfy.model_management.get_torch_device()


def make_room(size: int) -> None:
    """Have ComfyUI move models out of the compute device's memory until `size` bytes are free."""
    comfy.model_management.free_memory(size, compute_device())


def output_image(image: Tensor) -> Tensor:
    """IMAGE value of `[B, C, H, W]`."""
    return _to_intermediate(image.movedim(1, -1).contiguous())


def output_mask(mask: Tensor) -> Tensor:
    """MASK value of `[B, 1, H, W]`."""
    return _to_intermediate(mask[:, 0])


def _to_intermediate(values: Tensor) -> Tensor:
    return values.to(comfy.model_management.intermediate_device(), comfy.model_management.intermediate_dtype())


def model_directories(name: str) -> list[Path]:
    """Where ComfyUI looks for models of this kind, in that order, those of extra_model_paths.yaml among them."""
    return [Path(path) for path in folder_paths.get_folder_paths(name)]


def read_weights(path: Path) -> dict[str, torch.Tensor]:
    """Tensors of a file by name. Nothing in the file is executed.

    Raises:
        ValueError: if it cannot be read as such.
    """
    try:
        weights = comfy.utils.load_torch_file(str(path), safe_load=True)
        return {name: value for name, value in weights.items() if isinstance(value, torch.Tensor)}
    except Exception as error:  # each format has errors of its own
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(f"it cannot be read as a file of weights ({reason})") from error


def half_precision() -> torch.dtype:
    """The 16-bit type that the compute device is quick with and ComfyUI's options allow; else float32."""
    device = compute_device()
    if comfy.model_management.should_use_bf16(device):
        return torch.bfloat16
    return torch.float16 if comfy.model_management.should_use_fp16(device) else torch.float32


def is_quick_with_bfloat16() -> bool:
    """Whether the compute device has instructions of its own for bfloat16, and ComfyUI's options allow their use."""
    device = compute_device()
    if device.type != "cpu":
        return comfy.model_management.should_use_bf16(device)
    # Of processors ComfyUI believes that all are slow. Versions of torch that lack these questions cannot answer them.
    questions = (getattr(torch.cpu, f"_is_{name}_supported", None) for name in ("avx512_bf16", "amx_tile"))
    supported = torch.backends.mkldnn.is_available() and any(question and question() for question in questions)
    return supported and not comfy.model_management.FORCE_FP32


def managed(network: torch.nn.Module) -> comfy.model_patcher.ModelPatcher:
    """The network under ComfyUI's memory management."""
    return comfy.model_patcher.ModelPatcher(
        network, load_device=compute_device(), offload_device=comfy.model_management.unet_offload_device()
    )


def on_compute_device(patcher: comfy.model_patcher.ModelPatcher, working_bytes: int) -> torch.nn.Module:
    """The network, moved to the compute device, with room for what its use takes beside it."""
    # What is moved in inference mode can never give a gradient, nor be moved back outside of it.
    with torch.inference_mode(False):
        comfy.model_management.load_models_gpu([patcher], memory_required=working_bytes, force_full_load=True)
        # With --novram ComfyUI still leaves part of it behind, but these networks can only run whole.
        return patcher.model.to(patcher.load_device)


def diffusion_model(
    weights: dict[str, Tensor], beside_latent: tuple[str, ...], disable_dynamic: bool = False
) -> comfy.model_patcher.ModelPatcher:
    """MODEL value of an inpainting model of Stable Diffusion 1, under its original names or those of diffusers.

    beside_latent: what the model reads after the latent, in that order, in ComfyUI's words: "mask", "mask_inverted",
    "masked_image".

    Raises:
        ValueError: if ComfyUI does not know the model, or weights are missing.
    """
    names = set(weights)
    patcher = comfy.sd.load_diffusion_model_state_dict(dict(weights), disable_dynamic=disable_dynamic)
    if patcher is None:
        raise ValueError("ComfyUI does not know its diffusion model")
    model = patcher.model
    expected = set(model.diffusion_model.state_dict())
    if "conv_in.weight" in names:  # the names are those of diffusers
        original = comfy.utils.unet_to_diffusers(model.model_config.unet_config)
        expected = {name for name in original if original[name] in expected}
    if missing := sorted(expected - names):
        raise ValueError(f"{missing[0]} of its diffusion model is missing")
    model.concat_keys = beside_latent
    return patcher


def autoencoder(weights: dict[str, Tensor]) -> comfy.sd.VAE:
    """VAE value.

    Raises:
        ValueError: if ComfyUI does not know it, or weights are missing.
    """
    vae = comfy.sd.VAE(sd=weights)
    if vae.first_stage_model is None:
        raise ValueError("ComfyUI does not know its VAE")
    # Without a word to the user ComfyUI would decode with random numbers in their place.
    names = comfy.diffusers_convert.convert_vae_state_dict(weights)
    if missing := sorted(set(vae.first_stage_model.state_dict()) - set(weights) - set(names)):
        raise ValueError(f"{missing[0]} of its VAE is missing")
    return vae


def clip_vision(configuration: dict, projection: Callable[..., torch.nn.Module]) -> comfy.clip_vision.ClipVisionModel:
    """CLIP's image encoder without weights, with a projection of our own at its end.

    configuration: its sizes, as in transformers' config.json.
    projection: makes the module that gets the pooled output after the last norm; called with ComfyUI's `operations`,
        `dtype` and `device`.
    """
    encoder = comfy.clip_vision.ClipVisionModel(configuration)
    encoder.model.visual_projection = projection(
        operations=comfy.ops.manual_cast, dtype=encoder.dtype, device=encoder.patcher.offload_device
    ).eval()
    return encoder


class Progress:
    """Progress bar with a preview of the picture; stops the node when the user cancels the run."""

    def __init__(self, total: int):
        self.total = total
        self.bar = comfy.utils.ProgressBar(total)
        self.last_preview = time.monotonic()

    def preview_is_due(self) -> bool:
        """Whether a picture passed now would be shown; for callers that must compose it first."""
        return time.monotonic() - self.last_preview >= PREVIEW_INTERVAL

    def __call__(self, step: int, image: Tensor | None = None) -> None:
        """Show that `step` of the total is reached, and `image` (`[1, C, H, W]`) when a preview is due."""
        comfy.model_management.throw_exception_if_processing_interrupted()
        preview = None
        if image is not None and self.preview_is_due():
            self.last_preview = time.monotonic()
            stride = max(1, max(image.shape[-2:]) // PREVIEW_SIZE)
            pixels = image[0, :3, ::stride, ::stride].clamp(0, 1).mul(255).round().byte().movedim(0, -1).cpu().numpy()
            preview = ("JPEG", Image.fromarray(pixels), PREVIEW_SIZE)
        self.bar.update_absolute(step, self.total, preview)
