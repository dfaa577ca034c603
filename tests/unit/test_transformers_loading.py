"""Hugging Face folders from strangers: only tensors and sizes are taken from them, for both networks alike."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from deepblend.segmentation.grounding_dino import detector_from_folder
from deepblend.segmentation.sam_transformers import segmenter_from_folder
from grounding_dino_networks import tiny_folder
from sam_networks import tiny_sam_folder

transformers = pytest.importorskip("transformers")

KINDS = {
    "sam": (tiny_sam_folder, segmenter_from_folder, "SamModel"),
    "grounding-dino": (tiny_folder, detector_from_folder, "GroundingDinoForObjectDetection"),
}


@pytest.fixture(params=KINDS)
def kind(request):
    return KINDS[request.param]


@pytest.fixture
def folder(kind, tmp_path):
    path = tmp_path / "models" / "chosen"
    path.mkdir(parents=True)
    return kind[0](path)


def entries(folder, **changes):
    values = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(values | changes))


def index(folder, names):
    """An index that says in which file each tensor lies; names: tensor -> file."""
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": names}))


def assert_same(network, other):
    values, others = network.state_dict(), other.state_dict()
    assert values.keys() == others.keys()
    assert all(torch.equal(value, others[name]) for name, value in values.items())


def test_transformers_never_sees_the_folder(kind, folder, monkeypatch):
    """In which it would follow adapter_config.json to PEFT, which imports what that names."""
    model, seen = getattr(transformers, kind[2]), []
    load = model.from_pretrained.__func__

    def observed(cls, source, **options):
        seen.append((source, {name for name, value in options.items() if str(folder) in str(value)}))
        return load(cls, source, **options)

    monkeypatch.setattr(model, "from_pretrained", classmethod(observed))
    adapter = {
        "peft_type": "LORA",
        "base_model_name_or_path": str(folder.parent),
        "megatron_core": "models.chosen.trap",
    }
    (folder / "adapter_config.json").write_text(json.dumps(adapter))
    kind[1](folder)
    assert seen == [(None, set())]


ORDERS = {
    "quantisation": {"quantization_config": {"quant_method": "bitsandbytes", "load_in_8bit": True}},
    "attention": {"attn_implementation": "someone/attention", "_attn_implementation": "someone/attention"},
    "fusion": {"fusion_config": {"patch_embeddings": True}},
    "kernels": {"use_kernels": True, "kernel_config": {"RMSNorm": "a/b:c"}},
    "a type that is no type": {"torch_dtype": "os", "dtype": "os"},
    "weights elsewhere": {"transformers_weights": "../../secret.safetensors"},
    "code": {"auto_map": {"AutoModel": "trap.Trap", "AutoConfig": "trap.Trap"}},
}


@pytest.mark.parametrize("orders", ORDERS)
def test_entries_that_say_more_than_sizes_have_no_say(kind, folder, orders):
    expected = kind[1](folder)
    entries(folder, **ORDERS[orders])
    values = json.loads((folder / "config.json").read_text())
    entries(
        folder,
        **{
            name: value | ORDERS[orders]
            for name, value in values.items()
            if name.endswith("_config") and "model_type" in str(value)
        },
    )
    (folder / "trap.py").write_text("raise SystemExit('executed')")
    assert_same(kind[1](folder), expected)


def test_weights_in_several_files(kind, folder):
    expected = kind[1](folder)
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    halves = {name: f"model-0000{1 + number % 2}-of-00002.safetensors" for number, name in enumerate(weights)}
    for file in set(halves.values()):
        save_file({name: weights[name] for name in weights if halves[name] == file}, folder / file)
    index(folder, halves)
    assert_same(kind[1](folder), expected)


@pytest.mark.parametrize(
    "place", ["../secret.safetensors", "/secret.safetensors", "..\\secret.safetensors", "w.bin", "sub/w.safetensors", 7]
)
def test_an_index_that_leads_elsewhere_is_refused(kind, folder, place):
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").rename(folder.parent / "secret.safetensors")
    torch.save(weights, folder / "w.bin")
    index(folder, dict.fromkeys(weights, place))
    with pytest.raises(
        ValueError, match=r"index\.json in the folder chosen names .* which is no safetensors file in it"
    ):
        kind[1](folder)


@pytest.mark.parametrize("text", ["[" * 200_000, "{", "[]", '{"weight_map": [1]}', '{"weight_map": {"a": {}}}'])
def test_an_index_that_is_none_is_refused(kind, folder, text):
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors.index.json").write_text(text)
    with pytest.raises(ValueError, match=r"index\.json in the folder chosen (cannot be read|names)") as refusal:
        kind[1](folder)
    assert "\n" not in str(refusal.value)


def test_a_configuration_that_is_none_is_refused(kind, folder):
    (folder / "config.json").write_text("[" * 200_000)
    with pytest.raises(ValueError, match=r"config\.json in the folder chosen cannot be read"):
        kind[1](folder)


def test_sizes_that_make_no_network_are_refused(kind, folder):
    values = json.loads((folder / "config.json").read_text())
    part = "vision_config" if "vision_config" in values else "text_config"
    entries(folder, **{part: {**values[part], "hidden_size": "many"}})
    with pytest.raises(ValueError, match="chosen") as refusal:
        kind[1](folder)
    assert "\n" not in str(refusal.value)


def test_loading_leaves_the_random_numbers_alone(kind, folder):
    torch.manual_seed(1)
    before = torch.random.get_rng_state()
    kind[1](folder)
    assert torch.equal(torch.random.get_rng_state(), before)
