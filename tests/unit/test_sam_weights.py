"""Which weights are taken, and what is said of others."""

import sys

import pytest
import torch
from segment_anything import sam_model_registry

from deepblend.segmentation.sam_original import ACCEPTED as ACCEPTED_FILES
from deepblend.segmentation.sam_original import segmenter_from_weights
from deepblend.segmentation.sam_transformers import ACCEPTED as ACCEPTED_FOLDERS
from deepblend.segmentation.sam_transformers import segmenter_from_folder
from sam_networks import hugging_face_names, tiny_sam, tiny_sam_folder, tiny_sam_weights

PICTURE = torch.rand(3, 60, 80, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", ["vit_b", "vit_l", "vit_h"])
def test_published_networks_are_recognised(name):
    with torch.device("meta"):
        published = sam_model_registry[name]()
    found = segmenter_from_weights(published.state_dict())
    encoder, expected = found.encoder, published.image_encoder
    assert found.side == expected.img_size == 1024
    for block, other in zip(encoder.blocks, expected.blocks, strict=True):
        assert block.window_size == other.window_size
        assert (block.attn.num_heads, block.attn.scale) == (other.attn.num_heads, other.attn.scale)
        assert (block.norm1.eps, block.norm2.eps) == (other.norm1.eps, other.norm2.eps)
    assert found.prompt_encoder.input_image_size == published.prompt_encoder.input_image_size
    assert found.prompt_encoder.image_embedding_size == published.prompt_encoder.image_embedding_size
    for layer, other in zip(
        found.mask_decoder.transformer.layers, published.mask_decoder.transformer.layers, strict=True
    ):
        for part in ("self_attn", "cross_attn_token_to_image", "cross_attn_image_to_token"):
            assert getattr(layer, part).num_heads == getattr(other, part).num_heads
            assert getattr(layer, part).internal_dim == getattr(other, part).internal_dim
    # Every part is of the same kind and size as the authors' builder makes it.
    assert repr(encoder) == repr(expected)
    assert repr(found.prompt_encoder) == repr(published.prompt_encoder)
    assert repr(found.mask_decoder) == repr(published.mask_decoder)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_files_of_half_precision_are_computed_in_single_precision(dtype):
    weights = {name: value.to(dtype) for name, value in tiny_sam_weights().items()}
    expected = segmenter_from_weights({name: value.float() for name, value in weights.items()}).encode(PICTURE)
    found = segmenter_from_weights(weights)
    assert {value.dtype for value in found.parameters()} == {torch.float32}
    assert torch.equal(found.encode(PICTURE).features, expected.features)


def test_weights_are_shared_with_the_file_but_not_changed_by_casting():
    weights = tiny_sam_weights()
    before = {name: value.clone() for name, value in weights.items()}
    segmenter = segmenter_from_weights(weights)
    place = "image_encoder.patch_embed.proj.weight"
    assert segmenter.state_dict()[place].data_ptr() == weights[place].data_ptr()
    segmenter.encoder.to(torch.bfloat16)
    segmenter.encode(PICTURE)
    assert all(value.dtype == torch.float32 and torch.equal(value, before[name]) for name, value in weights.items())


def test_only_the_weights_of_the_network_are_moved_and_stored():
    weights = tiny_sam_weights()
    segmenter = segmenter_from_weights(weights)
    assert segmenter.state_dict().keys() == weights.keys()
    assert not any(value.requires_grad for value in segmenter.parameters()) and not segmenter.training
    assert not any(value.is_meta for value in (*segmenter.parameters(), *segmenter.buffers()))


def test_mean_colours_that_some_files_carry_are_left_aside():
    weights = tiny_sam_weights()
    more = {**weights, "pixel_mean": tiny_sam().pixel_mean, "pixel_std": tiny_sam().pixel_std}
    expected = segmenter_from_weights(weights).encode(PICTURE).features
    assert torch.equal(segmenter_from_weights(more).encode(PICTURE).features, expected)


def with_names(*names):
    return {**tiny_sam_weights(), **{name: torch.zeros(1) for name in names}}


def only(*names):
    return {name: torch.zeros(1) for name in names}


def changed(name, change=None):
    weights = tiny_sam_weights()
    value = weights.pop(name)
    return weights if change is None else {**weights, name: change(value)}


REFUSED = {
    "SAM-HQ": (with_names("mask_decoder.hf_token.weight", "mask_decoder.hf_mlp.layers.0.weight"), "these are SAM-HQ"),
    "SAM-HQ of a small encoder": (
        only("image_encoder.patch_embed.seq.0.c.weight", "mask_decoder.hf_token.weight"),
        "these are SAM-HQ",
    ),
    "MobileSAM": (
        only("image_encoder.patch_embed.seq.0.c.weight", "image_encoder.layers.0.blocks.0.conv1.c.weight"),
        "these are MobileSAM",
    ),
    "SAM 2": (only("image_encoder.trunk.pos_embed", "memory_attention.norm.weight"), "these are SAM 2"),
    "SAM 2 without its memory": (only("sam_mask_decoder.mask_tokens.weight"), "these are SAM 2"),
    "SAM 2 of Hugging Face": (only("vision_encoder.backbone.pos_embed"), "these are SAM 2"),
    "SAM 3": (only("detector.backbone.vision_backbone.trunk.pos_embed", "tracker.maskmem_tpos_enc"), "these are SAM 3"),
    "SAM 3 of Hugging Face": (only("detector_model.vision_encoder.neck.fpn_layers.0.proj1.weight"), "these are SAM 3"),
    "Hugging Face's names": (hugging_face_names(tiny_sam_weights()), "Hugging Face's names: keep the file in a folder"),
    "GroundingDINO": (
        only("backbone.0.patch_embed.proj.weight", "bert.embeddings.word_embeddings.weight"),
        r"not a Segment Anything checkpoint: .*patch_embed.proj.weight is missing \(there is backbone.0",
    ),
    "nothing": ({}, r"not a Segment Anything checkpoint: .* \(there is nothing\)"),
    "one level down": (only("model"), r"not a Segment Anything checkpoint: .* \(there is model\)"),
    "an encoder alone": (
        {name: value for name, value in tiny_sam_weights().items() if name.startswith("image_encoder.")},
        "mask_decoder.mask_tokens.weight is missing",
    ),
    "a missing bias": (changed("mask_decoder.output_upscaling.0.bias"), r"output_upscaling\.0\.bias is missing"),
    "a missing block": (
        {name: value for name, value in tiny_sam_weights().items() if ".blocks.0." not in name},
        r"blocks\.0\..* is missing",
    ),
    "an adapter": (
        with_names("image_encoder.blocks.0.Adapter.fc1.weight"),
        r"blocks\.0\.Adapter\.fc1\.weight belongs to another network",
    ),
    "another length": (
        changed("image_encoder.neck.1.weight", lambda value: value[1:]),
        r"neck\.1\.weight is \[63\] where \[64\] belongs",
    ),
    "windows of two sizes": (
        changed("image_encoder.blocks.0.attn.rel_pos_h", lambda value: value[2:]),
        r"rel_pos_w is \[11, 16\] where \[9, 16\] belongs",
    ),
    "a flat weight": (
        changed("image_encoder.patch_embed.proj.weight", torch.flatten),
        r"proj\.weight is \[36864\] where 4 dimensions belong",
    ),
    "an empty weight": (
        changed("image_encoder.patch_embed.proj.weight", lambda value: value[:0]),
        r"proj\.weight is \[0, 3, 16, 16\]",
    ),
    "heads that do not divide the channels": (
        {name: value[:, :7] if "rel_pos" in name else value for name, value in tiny_sam_weights().items()},
        "48 channels of the image encoder cannot be shared among heads of 7",
    ),
    "a decoder that eight heads cannot share": (
        changed("mask_decoder.transformer.layers.0.cross_attn_token_to_image.q_proj.weight", lambda value: value[:20]),
        "the shapes of the weights fit no Segment Anything network",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_anything_else_is_refused_with_one_sentence(case):
    weights, message = REFUSED[case]
    with pytest.raises(ValueError, match=f"{message}.*{ACCEPTED_FILES}") as refusal:
        segmenter_from_weights(weights)
    assert "\n" not in str(refusal.value) and len(str(refusal.value)) < 320


@pytest.mark.parametrize("model_type", ["sam2", "sam2_video", "sam_hq", "sam3", "edgetam", None])
def test_folders_of_other_networks_are_refused(model_type, tmp_path):
    folder = tiny_sam_folder(tmp_path / "chosen", model_type=model_type)
    with pytest.raises(
        ValueError, match=f"folder chosen holds a network of model_type {model_type!r}; {ACCEPTED_FOLDERS}"
    ):
        segmenter_from_folder(folder)


def spoil_config(folder):
    (folder / "config.json").write_text("{")


def forget_config(folder):
    (folder / "config.json").unlink()


def pickle_weights(folder):
    (folder / "model.safetensors").unlink()
    torch.save(hugging_face_names(tiny_sam_weights()), folder / "pytorch_model.bin")


def cut_weights(folder):
    content = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(content[: len(content) // 2])


def drop_weight(folder):
    weights = hugging_face_names(tiny_sam_weights())
    del weights["mask_decoder.iou_token.weight"]
    tiny_sam_folder(folder, weights=weights)


def add_weight(folder):
    tiny_sam_folder(folder, weights={**hugging_face_names(tiny_sam_weights()), "mask_decoder.hq_token.weight": PICTURE})


def shorten_weight(folder):
    weights = hugging_face_names(tiny_sam_weights())
    weights["mask_decoder.iou_token.weight"] = weights["mask_decoder.iou_token.weight"][:, 1:].contiguous()
    tiny_sam_folder(folder, weights=weights)


BROKEN = {
    forget_config: "holds no config.json; {0}",
    spoil_config: "config.json in the folder chosen cannot be read .*; {0}",
    pickle_weights: "holds only pytorch_model.bin, whose form can carry code and is not read; {0}",
    cut_weights: "model.safetensors in the folder chosen cannot be read .*; {0}",
    drop_weight: r"mask_decoder\.iou_token\.weight is missing \(1 such\); {1}",
    add_weight: r"mask_decoder\.hq_token\.weight is not part of the network \(1 such\); {1}",
    shorten_weight: r"mask_decoder\.iou_token\.weight is of another shape .*; {1}",
}


@pytest.mark.parametrize("breaking", BROKEN, ids=lambda breaking: breaking.__name__)
def test_broken_folders_are_refused_with_one_sentence(breaking, tmp_path):
    pytest.importorskip("transformers")
    folder = tiny_sam_folder(tmp_path / "chosen")
    breaking(folder)
    with pytest.raises(
        ValueError, match=BROKEN[breaking].format(ACCEPTED_FOLDERS, "weights that fit their sizes are accepted")
    ) as refusal:
        segmenter_from_folder(folder)
    assert "\n" not in str(refusal.value) and "chosen" in str(refusal.value)


def test_folder_in_half_precision_is_computed_in_single_precision(tmp_path):
    pytest.importorskip("transformers")
    weights = {name: value.half() for name, value in hugging_face_names(tiny_sam_weights()).items()}
    found = segmenter_from_folder(tiny_sam_folder(tmp_path / "sam", weights=weights, torch_dtype="float16"))
    original = segmenter_from_weights({name: value.half() for name, value in tiny_sam_weights().items()})
    assert {value.dtype for value in found.parameters()} == {torch.float32}
    assert (found.encode(PICTURE).features - original.encode(PICTURE).features).abs().max() < 1e-4


def test_folder_may_hold_the_positions_twice(tmp_path):
    """As files that transformers saved itself do, depending on its version."""
    pytest.importorskip("transformers")
    weights = hugging_face_names(tiny_sam_weights())
    weights["prompt_encoder.shared_embedding.positional_embedding"] = weights[
        "shared_image_embedding.positional_embedding"
    ].clone()
    segmenter_from_folder(tiny_sam_folder(tmp_path / "sam", weights=weights))


def test_nothing_in_a_folder_is_executed(tmp_path):
    pytest.importorskip("transformers")
    folder = tiny_sam_folder(tmp_path / "sam", auto_map={"AutoModel": "trap.Trap", "AutoConfig": "trap.Trap"})
    (folder / "trap.py").write_text("raise SystemExit('executed')")
    segmenter_from_folder(folder)


def test_loading_a_folder_prints_nothing(tmp_path, capfd):
    pytest.importorskip("transformers")
    folder = tiny_sam_folder(tmp_path / "sam")
    capfd.readouterr()
    segmenter_from_folder(folder)
    assert capfd.readouterr() == ("", "")


def test_missing_packages_are_named(monkeypatch, tmp_path):
    folder = tiny_sam_folder(tmp_path / "sam")
    monkeypatch.setitem(sys.modules, "segment_anything.modeling", None)
    with pytest.raises(ImportError, match=r"needs segment-anything, .*; install segment-anything$"):
        segmenter_from_weights(tiny_sam_weights())
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ImportError, match=r"needs transformers, .*; install transformers$"):
        segmenter_from_folder(folder)
