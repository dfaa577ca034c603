"""Paint by Example in the real ComfyUI, beside diffusers' pipeline with the same weights."""

import os
import shutil
import sys
import types
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from transformers import CLIPImageProcessor

from paint_by_example_networks import (
    COMFYUI_UNET,
    authors_checkpoint,
    diffusers_encoder,
    diffusers_unet,
    diffusers_vae,
    half,
    save_folder,
)
from pictures import random_picture, smooth_picture, to_torch

LOADER, NODE = "DeepBlend_LoadPaintByExample", "DeepBlend_PaintByExample"
CHECKPOINT, FOLDER = "pbe/tiny.ckpt", "tiny-paint-by-example"
STEPS = 4
ACCEPTED = (
    "the authors' checkpoint (model.ckpt, or saved anew as .safetensors) and their folder for diffusers "
    "(Fantasy-Studio/Paint-by-Example) are accepted"
)


@pytest.fixture(scope="module")
def files(host):
    """The same small model in ComfyUI's folders, in both formats, and diffusers' own networks of it."""
    import folder_paths

    models = Path(folder_paths.models_dir)
    parts = diffusers_unet(), diffusers_encoder(), diffusers_vae()
    weights = authors_checkpoint(*parts)
    checkpoint, folder = models / "checkpoints" / CHECKPOINT, models / "diffusers" / FOLDER
    checkpoint.parent.mkdir(parents=True, exist_ok=True)
    # Lightning, which the authors trained with, keeps more than weights beside them.
    torch.save({"global_step": 7, "state_dict": weights}, checkpoint)
    save_folder(folder, parts)
    yield SimpleNamespace(checkpoint=checkpoint, folder=folder, weights=weights, parts=parts)
    shutil.rmtree(checkpoint.parent)
    shutil.rmtree(folder)


@pytest.fixture
def narrow_unet(monkeypatch):
    """Have ComfyUI, which knows diffusers' diffusion models by a list of sizes, know the small one too."""
    import comfy.model_detection

    monkeypatch.setattr(comfy.model_detection, "unet_config_from_diffusers_unet", lambda *_: dict(COMFYUI_UNET))


@pytest.fixture(scope="module")
def loaded(host, files):
    return dict(zip(("model", "encoder", "vae"), host.run_node(LOADER, model=CHECKPOINT), strict=True))


@pytest.fixture(scope="module")
def pipeline(files):
    """diffusers' own, with the schedule that ComfyUI's ddim_uniform has."""
    from diffusers import DDIMScheduler, PaintByExamplePipeline

    unet, encoder, vae = files.parts
    scheduler = DDIMScheduler(
        beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012, clip_sample=False, steps_offset=1
    )
    pipeline = PaintByExamplePipeline(vae, encoder, unet, scheduler, None, CLIPImageProcessor(), False)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def to_pil(image):
    return Image.fromarray((image[0] * 255).round().byte().numpy())


def picture(height, width, seed):
    """IMAGE that 8 bits hold."""
    return (random_picture(height, width, seed=seed) * 255).round() / 255


def region(height=64, width=64):
    """MASK of a box whose edges lie between cells of the latent."""
    mask = torch.zeros(1, height, width)
    mask[:, 16:48, 8:40] = 1
    return mask


def graph(loader, exemplar, target, mask, seed=3, cfg=5.0, crop="center"):
    """From a loaded model to the picture, with the noise alone to begin with, as the authors do."""
    start = {"samples": torch.zeros(len(target), 4, target.shape[1] // 8, target.shape[2] // 8)}
    conditioned = {"encoder": loader["encoder"], "exemplar": exemplar, "crop": crop}
    inpaint = {"positive": ["1", 0], "negative": ["1", 1], "vae": loader["vae"], "pixels": target, "mask": mask}
    sample = {"model": loader["model"], "positive": ["2", 0], "negative": ["2", 1], "latent_image": start}
    sample |= {"sampler_name": "ddim", "scheduler": "ddim_uniform", "denoise": 1.0}
    return {
        "1": {"class_type": NODE, "inputs": conditioned},
        "2": {"class_type": "InpaintModelConditioning", "inputs": {**inpaint, "noise_mask": False}},
        "3": {"class_type": "KSampler", "inputs": {**sample, "seed": seed, "steps": STEPS, "cfg": cfg}},
        "4": {"class_type": "VAEDecode", "inputs": {"samples": ["3", 0], "vae": loader["vae"]}},
    }


def wired(loaded, linked):
    return {name: linked(value) for name, value in loaded.items()}


@pytest.mark.parametrize("cfg", [5.0, 1.0])
def test_the_whole_graph_paints_what_the_pipeline_of_diffusers_paints(host, loaded, pipeline, linked, cfg):
    exemplar, target, mask = picture(224, 224, 1), picture(64, 64, 2), region()
    (painted,) = host.run_graph(graph(wired(loaded, linked), exemplar, target, mask, cfg=cfg), ["4", 0])
    sigma = loaded["model"].model.model_sampling.sigmas[751]
    noise = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(3))
    expected = pipeline(
        to_pil(exemplar),
        to_pil(target),
        Image.fromarray((mask[0] * 255).byte().numpy()),
        num_inference_steps=STEPS,
        guidance_scale=cfg,
        latents=noise * sigma / (1 + sigma**2).sqrt(),
        output_type="np",
    ).images
    assert expected.std() > 0.05
    assert np.abs(painted.numpy() - expected).max() < 1e-3


class Recorder:
    """Keeps what goes into the diffusion model and comes out of it, once per call."""

    def __init__(self, patcher):
        self.calls = []
        self.patcher = patcher.clone()
        self.patcher.set_model_unet_function_wrapper(self)

    def __call__(self, apply_model, call):
        denoised = apply_model(call["input"], call["timestep"], **call["c"])
        self.calls.append(SimpleNamespace(**call, denoised=denoised))
        return denoised


def record(host, loaded, linked, *arguments, **options):
    recorder = Recorder(loaded["model"])
    prompt = graph(wired(loaded | {"model": recorder.patcher}, linked), *arguments, **options)
    host.run_graph(prompt, ["3", 0])
    return recorder.calls


def test_a_step_of_the_diffusion_model_is_that_of_diffusers(host, loaded, pipeline, linked):
    exemplar, target, mask = picture(224, 224, 4), picture(64, 80, 5), region(64, 80)
    for call in record(host, loaded, linked, exemplar, target, mask):
        latent, sigma = call.input, call.timestep[0]
        scale = (1 + sigma**2).sqrt()
        negative_first = torch.tensor(call.cond_or_uncond).argsort(descending=True)
        with torch.no_grad():
            keep, masked = pipeline_inputs(pipeline, target, mask)
            keep, masked = pipeline.prepare_mask_latents(
                keep, masked, 1, 64, 80, torch.float32, torch.device("cpu"), None, True
            )
            tokens = pipeline._encode_image(to_pil(exemplar), torch.device("cpu"), 1, True)
            step = loaded["model"].model.model_sampling.timestep(sigma)
            noise = pipeline.unet(torch.cat([latent / scale, masked, keep], 1), step, tokens).sample
        found = ((latent - call.denoised) / sigma)[negative_first]
        assert (call.c["c_crossattn"][negative_first] - tokens).abs().max() < 1e-5
        assert torch.equal(call.c["c_concat"][:, 4:], keep) and 0 < keep.mean() < 1
        assert (found - noise).abs().max() < 1e-4
        assert (noise[0] - noise[1]).abs().max() > 0.01, "the exemplar counts"


def pipeline_inputs(pipeline, target, mask):
    """The mask, 1 where the target stays, and the target with 0 under it: what diffusers calls preparing them."""
    module = sys.modules[type(pipeline).__module__]
    return module.prepare_mask_and_masked_image(to_pil(target), Image.fromarray((mask[0] * 255).byte().numpy()))


def test_a_mask_whose_edge_crosses_cells_is_taken_at_their_middles(host, loaded, linked):
    """As the authors shrink it, bilinearly and without antialiasing, and then to 0 or 1; diffusers takes each cell's corner."""
    mask = (random_picture(64, 64, seed=6)[..., 0] > 0.4).float()
    call = record(host, loaded, linked, picture(32, 32, 7), picture(64, 64, 8), mask)[0]
    middles = mask.reshape(8, 8, 8, 8)[:, 3:5, :, 3:5].mean((1, 3))
    assert torch.equal(call.c["c_concat"][0, 4], 1 - middles.round())
    assert 0.2 < middles.round().mean() < 0.8


def test_the_token_is_that_of_diffusers(host, loaded, pipeline, linked):
    exemplar = picture(224, 224, 9)
    positive, negative = host.run_node(NODE, encoder=linked(loaded["encoder"]), exemplar=exemplar)
    expected = pipeline._encode_image(to_pil(exemplar), torch.device("cpu"), 1, True).detach()
    assert positive[0][0].shape == negative[0][0].shape == (1, 1, 768)
    assert expected.std() > 0.1
    assert (torch.cat([negative[0][0], positive[0][0]]) - expected).abs().max() < 1e-5


@pytest.mark.parametrize(("height", "width"), [(300, 401), (640, 225), (90, 60)])
@pytest.mark.parametrize("crop", ["center", "none"])
def test_exemplars_of_other_sizes_are_seen_as_the_pipeline_and_the_authors_see_them(
    host, loaded, linked, height, width, crop
):
    """center: as the pipeline's preprocessing has it. none: as the authors' script does, which resizes to a square."""
    smooth = to_torch(smooth_picture(height, width, 10)) * 0.6 + 0.2  # Pillow clips what overshoots in between
    exemplar = (smooth.movedim(1, -1) * 255).round() / 255
    image = to_pil(exemplar) if crop == "center" else to_pil(exemplar).resize((224, 224), Image.Resampling.BICUBIC)
    expected = CLIPImageProcessor()(image, return_tensors="pt").pixel_values
    vision, seen = loaded["encoder"]["clip_vision"].model.vision_model, []
    handle = vision.register_forward_pre_hook(
        lambda _, __, kwargs: seen.append(kwargs["pixel_values"]), with_kwargs=True
    )
    host.run_node(NODE, encoder=linked(loaded["encoder"]), exemplar=exemplar, crop=crop)
    handle.remove()
    # Both round to 8 bits, in between or at the end; 1/255 is 0.015 in CLIP's units.
    difference = (seen[0] - expected).abs()
    assert difference.max() < 0.05 and difference.mean() < 0.005


def test_every_exemplar_of_a_batch_counts_alone_and_for_its_own_frame(host, loaded, linked):
    exemplars, targets = torch.cat([picture(50, 70, 11), picture(50, 70, 12)]), picture(64, 64, 13).repeat(2, 1, 1, 1)
    encoder = linked(loaded["encoder"])
    positive, _ = host.run_node(NODE, encoder=encoder, exemplar=exemplars)
    assert positive[0][0].shape == (2, 1, 768)
    for index in range(2):
        alone, _ = host.run_node(NODE, encoder=encoder, exemplar=exemplars[index : index + 1])
        assert torch.equal(alone[0][0], positive[0][0][index : index + 1])
    together = record(host, loaded, linked, exemplars, targets, region())[0]
    first = together.cond_or_uncond.index(0) * 2
    assert torch.equal(together.c["c_crossattn"][first : first + 2], positive[0][0])


def test_what_is_transparent_counts_as_white(host, loaded, linked):
    color, alpha = picture(40, 40, 14), torch.zeros(1, 40, 40, 1)
    alpha[:, 10:30, 10:30] = 1
    alpha[:, 10:30, 5:10] = 0.5
    on_white = color * alpha + 1 - alpha
    encoder = linked(loaded["encoder"])
    first, _ = host.run_node(NODE, encoder=encoder, exemplar=torch.cat([color, alpha], -1))
    second, _ = host.run_node(NODE, encoder=encoder, exemplar=on_white)
    third, _ = host.run_node(NODE, encoder=encoder, exemplar=color)
    torch.testing.assert_close(first[0][0], second[0][0], atol=1e-3, rtol=0)
    assert (first[0][0] - third[0][0]).abs().max() > 0.01


def test_the_default_of_inpaint_model_conditioning_keeps_what_is_not_masked(host, loaded, linked):
    """With its noise_mask the latent outside of the region is the target's own."""
    prompt = graph(wired(loaded, linked), picture(32, 32, 15), picture(64, 64, 16), region())
    prompt["2"]["inputs"]["noise_mask"] = True
    prompt["3"]["inputs"]["latent_image"] = ["2", 2]
    before, after = host.run_graph(prompt, ["2", 2], ["3", 0])
    cells = region()[:, ::8, ::8].bool()[:, None].expand(1, 4, 8, 8)
    assert (after["samples"] - before["samples"])[~cells].abs().max() < 1e-4
    assert (after["samples"] - before["samples"])[cells].abs().mean() > 0.1


def test_all_formats_give_the_same(host, files, loaded, narrow_unet, linked):
    safetensors = files.checkpoint.with_name("anew.safetensors")
    save_file(half(files.weights), safetensors)
    exemplar, target, mask = picture(64, 64, 17), picture(64, 64, 18), region()
    (expected,) = host.run_graph(graph(wired(loaded, linked), exemplar, target, mask), ["4", 0])
    for name in ("pbe/anew.safetensors", FOLDER):
        other = dict(zip(("model", "encoder", "vae"), host.run_node(LOADER, model=name), strict=True))
        (found,) = host.run_graph(graph(wired(other, linked), exemplar, target, mask), ["4", 0])
        assert torch.equal(found, expected), name
        assert other["encoder"]["config"] == {"name": name}
    safetensors.unlink()


def test_other_inpainting_models_keep_their_order(loaded, files):
    import comfy.sd

    prefix = "model.diffusion_model."
    weights = {k.removeprefix(prefix): v for k, v in files.weights.items() if k.startswith(prefix)}
    other = comfy.sd.load_diffusion_model_state_dict(weights)
    assert other.model.concat_keys == ("mask", "masked_image")
    assert (
        loaded["model"].model.concat_keys
        == loaded["model"].clone().model.concat_keys
        == ("masked_image", "mask_inverted")
    )


def test_comfyui_can_load_the_model_anew_for_another_device(loaded, files):
    for patcher in (loaded["model"], loaded["vae"].patcher):
        anew = patcher.deepclone_multigpu(torch.device("cpu"))
        assert anew.model is not patcher.model
        weights = patcher.model.state_dict()
        assert all(torch.equal(value, weights[name]) for name, value in anew.model.state_dict().items())
    assert loaded["model"].deepclone_multigpu().model.concat_keys == ("masked_image", "mask_inverted")


def test_everything_is_under_comfyui_memory_management(host, loaded):
    import comfy.model_management

    encoder = loaded["encoder"]["clip_vision"]
    assert encoder.patcher in [entry.model for entry in comfy.model_management.current_loaded_models]
    mapper = encoder.model.visual_projection
    assert {value.dtype for value in mapper.parameters()} == {encoder.dtype}
    count = sum(value.numel() * value.element_size() for value in encoder.model.state_dict().values())
    assert encoder.patcher.model_size() == count


def test_what_lightning_left_in_the_authors_file_does_no_harm(host, files, linked):
    """Its class of callbacks may stand in it as a key."""
    name = "pytorch_lightning.callbacks.model_checkpoint"
    module = types.ModuleType(name)
    module.ModelCheckpoint = type("ModelCheckpoint", (), {"__module__": name})
    path = files.checkpoint.with_name("lightning.ckpt")
    parents = {part: types.ModuleType(part) for part in ("pytorch_lightning", "pytorch_lightning.callbacks")}
    with pytest.MonkeyPatch.context() as patch:
        for part, fake in {**parents, name: module}.items():
            patch.setitem(sys.modules, part, fake)
        content = {"callbacks": {module.ModelCheckpoint: {"best": 1.0}}, "state_dict": files.weights}
        torch.save(content, path)
    host.run_node(LOADER, model="pbe/lightning.ckpt")
    path.unlink()


class Executes:
    """Makes a folder when it is unpickled."""

    FOLDER = Path(__file__).with_name("executed")

    def __reduce__(self):
        return os.mkdir, (str(self.FOLDER),)


def test_files_that_are_not_the_model_are_refused_with_a_sentence(host, files, narrow_unet):
    def refusal(content, name="wrong.ckpt"):
        path = files.checkpoint.with_name(name)
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            torch.save(content, path)
        host.executor = host.new_executor()
        with pytest.raises(RuntimeError) as raised:
            host.run_node(LOADER, model=f"pbe/{name}")
        path.unlink()
        text = str(raised.value).strip()
        assert text.startswith(f"model 'pbe/{name}': ") and len(text.splitlines()) == 1
        return text.removeprefix(f"model 'pbe/{name}': ")

    whole = files.checkpoint.read_bytes()
    assert refusal(whole[: len(whole) // 2]).startswith("it cannot be read as a file of weights (")
    assert refusal(b"not a file of weights").startswith("it cannot be read as a file of weights (")
    anew = files.checkpoint.with_name("anew.safetensors")
    save_file({"a": torch.zeros(1000)}, anew)
    assert refusal(anew.read_bytes()[:-100], "anew.safetensors").startswith("it cannot be read as a file of weights (")
    assert refusal({"a": Executes()}).startswith("it cannot be read as a file of weights (")
    assert not Executes.FOLDER.exists()
    assert refusal({"a": torch.zeros(1)}) == f"there is no diffusion model with the authors' names in it; {ACCEPTED}"
    weights = dict(files.weights)
    for lost, sentence in (
        ("model.diffusion_model.out.2.bias", "out.2.bias of its diffusion model is missing"),
        ("first_stage_model.decoder.mid.attn_1.q.weight", "decoder.mid.attn_1.q.weight of its VAE is missing"),
        (
            "cond_stage_model.mapper.resblocks.1.mlp.c_fc.bias",
            f"visual_projection.blocks.1.widen.bias is missing; {ACCEPTED}",
        ),
        (
            "cond_stage_model.transformer.vision_model.post_layernorm.weight",
            f"vision_model.post_layernorm.weight is missing; {ACCEPTED}",
        ),
    ):
        assert refusal({name: value for name, value in weights.items() if name != lost}) == sentence
    lost = "first_stage_model.decoder."
    assert refusal({name: value for name, value in weights.items() if not name.startswith(lost)}) == (
        "ComfyUI does not know its VAE"
    )


def test_folders_that_are_not_whole_are_refused_with_a_sentence(host, files):
    other = files.folder.with_name("not-whole")
    (other / "unet").mkdir(parents=True)
    (other / "model_index.json").write_text("{}")
    with pytest.raises(RuntimeError) as raised:
        host.run_node(LOADER, model="not-whole")
    shutil.rmtree(other)
    assert str(raised.value).strip() == (
        "model 'not-whole': it has no unet/diffusion_pytorch_model.safetensors, and no file in its place as .fp16 or "
        f".bin; {ACCEPTED}"
    )


def test_a_folder_whose_vae_lacks_a_weight_is_refused(host, files, narrow_unet):
    folder = shutil.copytree(files.folder, files.folder.with_name("lacking"))
    path = folder / "vae" / "diffusion_pytorch_model.safetensors"
    weights = half(files.parts[2].state_dict())
    del weights["decoder.mid_block.attentions.0.to_out.0.bias"]
    save_file(weights, path)
    with pytest.raises(RuntimeError, match=r"decoder\.mid\.attn_1\.proj_out\.bias of its VAE is missing"):
        host.run_node(LOADER, model="lacking")
    shutil.rmtree(folder)


def test_the_list_has_files_and_folders_each_once(host, files):
    options = host.nodes.NODE_CLASS_MAPPINGS[LOADER].INPUT_TYPES()["required"]["model"][1]["options"]
    assert [name for name in options if "tiny" in name or "unet" in name] == [CHECKPOINT, FOLDER]


def test_a_file_below_the_folder_that_changes_has_it_loaded_anew(host, files):
    node = host.nodes.NODE_CLASS_MAPPINGS[LOADER]
    before = node.fingerprint_inputs(model=FOLDER)
    os.utime(files.folder / "vae" / "diffusion_pytorch_model.safetensors", (1, 1))
    assert node.fingerprint_inputs(model=FOLDER) != before


def test_official_sizes_are_known_to_comfyui():
    """By their shapes alone, as diffusers' classes have them: there are no official weights on a test machine."""
    import comfy.model_detection
    import comfy.supported_models
    import comfy.utils
    from diffusers import UNet2DConditionModel

    with torch.device("meta"):
        weights = UNet2DConditionModel(in_channels=9, cross_attention_dim=768).state_dict()
    configuration = comfy.model_detection.unet_config_from_diffusers_unet(weights)
    assert configuration["in_channels"] == 9 and configuration["model_channels"] == 320
    assert isinstance(comfy.model_detection.model_config_from_diffusers_unet(weights), comfy.supported_models.SD15)
    original = comfy.utils.unet_to_diffusers(configuration)
    assert weights.keys() <= original.keys()
    renamed = {f"model.diffusion_model.{original[name]}": value for name, value in weights.items()}
    found = comfy.model_detection.model_config_from_unet(renamed, "model.diffusion_model.")
    assert isinstance(found, comfy.supported_models.SD15) and found.inpaint_model()
    assert found.unet_config["num_res_blocks"] == [2, 2, 2, 2]
