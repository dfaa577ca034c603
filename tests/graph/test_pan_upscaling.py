"""PAN in ComfyUI's own Load Upscale Model and Upscale Image (using Model), and how it gets there."""

import asyncio
import logging
import shutil
import sys
import types
from pathlib import Path

import pytest
import torch
from torch import nn

from deepblend.blending_core.pan import PAN
from pan_networks import random_weights
from pictures import smooth_picture
from transfer_sets import SHARED, read

OFFICIAL = {scale: SHARED / "models" / "pan" / f"PANx{scale}_DF2K.pth" for scale in (2, 4)}
BIRD = SHARED / "data" / "sr" / "Set5" / "LR_bicubic" / "X4" / "birdx4.png"
# A graphics card multiplies with ten bits after the point.
ROUNDING = 1e-4 if torch.cuda.is_available() else 1e-5


@pytest.fixture
def folder(host):
    """ComfyUI's folder for upscale models, emptied afterwards."""
    import folder_paths

    path = Path(folder_paths.models_dir, "upscale_models")
    path.mkdir(exist_ok=True)
    host.executor = host.new_executor()  # or the loader could come from the cache of another test
    yield path
    # The folder stays: ComfyUI remembers it with what it listed, and stumbles where it is gone.
    for file in path.iterdir():
        file.unlink()


@pytest.fixture
def random_file(folder):
    weights = random_weights(stages=2)
    torch.save(weights, folder / "small.pth")
    return PAN(weights)


def upscale(host, name, image):
    graph = {
        "1": {"class_type": "UpscaleModelLoader", "inputs": {"model_name": name}},
        "2": {"class_type": "ImageUpscaleWithModel", "inputs": {"upscale_model": ["1", 0], "image": image}},
    }
    return host.run_graph(graph, ["2", 0])[0]


def directly(network, image):
    with torch.inference_mode():
        return network(image.movedim(-1, 1)).clamp(0, 1).movedim(1, -1)


def picture(height, width, batch=1):
    frames = [smooth_picture(height, width, seed) for seed in range(batch)]
    return torch.stack([torch.from_numpy(frame).float() for frame in frames])


def test_a_file_is_read_and_run_by_the_nodes_of_comfyui(host, random_file):
    image = picture(30, 41, batch=2)
    result = upscale(host, "small.pth", image)
    assert result.shape == (2, 120, 164, 3)
    torch.testing.assert_close(result, directly(random_file, image), rtol=0, atol=ROUNDING)


@pytest.mark.parametrize("scale", OFFICIAL)
def test_the_published_file_is_read_and_run(host, folder, scale):
    if not OFFICIAL[scale].exists():
        pytest.skip(f"the developers' models are not in {SHARED}")
    name = OFFICIAL[scale].name
    shutil.copy(OFFICIAL[scale], folder / name)
    image = read(BIRD, "RGB")
    result = upscale(host, name, image)
    assert result.shape == (1, scale * image.shape[1], scale * image.shape[2], 3)
    weights = torch.load(OFFICIAL[scale], weights_only=True)
    torch.testing.assert_close(result, directly(PAN(weights), image), rtol=0, atol=ROUNDING)


def test_a_picture_of_several_tiles_is_that_of_one(host, random_file):
    image = picture(24, 700)
    result, whole = upscale(host, "small.pth", image), directly(random_file, image)
    # The first tile has 512 columns, and 32 are shared with the next.
    torch.testing.assert_close(result[:, :, : 480 * 4], whole[:, :, : 480 * 4], rtol=0, atol=ROUNDING)
    torch.testing.assert_close(result[:, :, 512 * 4 :], whole[:, :, 512 * 4 :], rtol=0, atol=ROUNDING)
    assert (result - whole).abs().max() < 0.05


def test_published_file_leaves_no_seam_between_tiles(host, folder):
    if not OFFICIAL[2].exists():
        pytest.skip(f"the developers' models are not in {SHARED}")
    shutil.copy(OFFICIAL[2], folder / "PANx2.pth")
    image = read(BIRD, "RGB").repeat(1, 1, 9, 1)[:, :40, :560]
    weights = torch.load(OFFICIAL[2], weights_only=True)
    result, whole = upscale(host, "PANx2.pth", image), directly(PAN(weights), image)
    assert (result - whole).abs().max() < 1 / 255


def test_a_picture_with_alpha_gets_a_sentence(host, random_file):
    with pytest.raises(RuntimeError, match="the picture has 4 channels where PAN takes the 3 of RGB"):
        upscale(host, "small.pth", torch.rand(1, 16, 16, 4))


@pytest.mark.parametrize(
    "wrapped",
    [
        lambda weights: {"params": weights},
        lambda weights: {f"module.{name}": value for name, value in weights.items()},
        lambda weights: {name: value.half() for name, value in weights.items()},
    ],
    ids=["in a dictionary", "from parallel training", "in half precision"],
)
def test_files_in_other_wrappings_are_read(host, folder, wrapped):
    weights = random_weights(stages=2)
    torch.save(wrapped(weights), folder / "wrapped.pth")
    image = picture(8, 8)
    torch.testing.assert_close(upscale(host, "wrapped.pth", image), directly(PAN(weights), image), rtol=0, atol=5e-3)


def test_a_damaged_file_gets_a_sentence(host, folder):
    weights = random_weights(stages=2)
    del weights["conv_last.bias"]
    torch.save(weights, folder / "damaged.pth")
    with pytest.raises(RuntimeError, match=r"conv_last.bias is missing where \[3\] belongs; weights of PAN"):
        upscale(host, "damaged.pth", picture(8, 8))


@pytest.fixture
def pan_upscaling(host):
    """The pack's module, as ComfyUI has loaded it."""
    pack = host.nodes.NODE_CLASS_MAPPINGS["DeepBlend_AutoBlend"].__module__
    return sys.modules[pack.replace(".blend", ".pan_upscaling")]


@pytest.fixture
def registry(host):
    """A registry with spandrel's architectures and no PAN."""
    from spandrel import MAIN_REGISTRY, ArchRegistry

    registry = ArchRegistry()
    registry.add(*(known for known in MAIN_REGISTRY if known.architecture.id != "DeepBlend_PAN"))
    return registry


def test_registered_once_when_the_pack_loads(pan_upscaling):
    from spandrel import MAIN_REGISTRY

    known = [known.architecture.id for known in MAIN_REGISTRY]
    assert known.count("DeepBlend_PAN") == 1
    pan_upscaling.register_pan(MAIN_REGISTRY)
    assert [known.architecture.id for known in MAIN_REGISTRY] == known


def test_what_spandrel_knows_about_it(pan_upscaling, registry):
    from spandrel import ModelTiling

    pan_upscaling.register_pan(registry)
    model = registry.load(random_weights(stages=2))
    assert (model.scale, model.purpose, model.input_channels, model.output_channels) == (4, "SR", 3, 3)
    assert model.tags == ["8nf", "5unf", "2nb"]
    assert model.supports_half and model.supports_bfloat16
    assert model.tiling == ModelTiling.SUPPORTED
    assert model.size_requirements.none
    assert model.architecture.name == "PAN"
    assert model(torch.rand(1, 3, 1, 1)).shape == (1, 3, 4, 4)


def test_no_architecture_of_spandrel_takes_its_files_nor_it_theirs(pan_upscaling, registry):
    """A network of each of these, made by spandrel, is still what it was."""
    from spandrel.architectures import ESRGAN, SPAN, Compact, SwinIR

    weights = random_weights(stages=2)
    assert not [known.architecture.id for known in registry if known.detect(weights)]
    pan_upscaling.register_pan(registry)
    pan = registry["DeepBlend_PAN"]
    others = {
        "ESRGAN": ESRGAN.ESRGAN(num_filters=8, num_blocks=1),
        "Compact": Compact.Compact(num_feat=8, num_conv=2),
        "SPAN": SPAN.SPAN(num_in_ch=3, num_out_ch=3, feature_channels=8),
        "SwinIR": SwinIR.SwinIR(embed_dim=12, depths=[1], num_heads=[2]),
    }
    for name, network in others.items():
        weights = network.state_dict()
        assert not pan.detect(weights), name


class OtherPAN(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv_first = nn.Conv2d(3, 8, 3)


def other_architecture(name, takes_pan=True):
    from spandrel import Architecture, ImageModelDescriptor

    class Other(Architecture):
        def load(self, state_dict):
            network = OtherPAN()
            weights = {key: value for key, value in state_dict.items() if key.startswith("conv_first.")}
            return ImageModelDescriptor(network, weights, self, "SR", [], True, True, 4, 3, 3)

    return Other(id=name, detect=lambda weights: takes_pan and "SCPA_trunk.0.PAConv.k2.weight" in weights)


@pytest.mark.parametrize("name", ["PAN", "SomePixelAttention"])
def test_a_pan_that_was_there_before_stays_in_charge(pan_upscaling, registry, name):
    from spandrel import ArchSupport

    registry.add(ArchSupport.from_architecture(other_architecture(name)))
    pan_upscaling.register_pan(registry)
    assert isinstance(registry.load(random_weights(stages=2)).model, OtherPAN)


def test_another_architecture_called_pan_does_not_keep_ours_away(pan_upscaling, registry):
    from spandrel import ArchSupport

    registry.add(ArchSupport.from_architecture(other_architecture("PAN", takes_pan=False)))
    pan_upscaling.register_pan(registry)
    assert registry.load(random_weights(stages=2)).architecture.id == "DeepBlend_PAN"


def test_another_pack_can_register_its_own_afterwards(pan_upscaling, registry):
    from spandrel import ArchSupport

    pan_upscaling.register_pan(registry)
    registry.add(ArchSupport.from_architecture(other_architecture("PAN")))
    assert registry.load(random_weights(stages=2)).architecture.id == "DeepBlend_PAN"


@pytest.fixture
def no_spandrel(host, monkeypatch):
    for name in [name for name in sys.modules if name.split(".")[0] == "spandrel" or name.endswith(".pan_upscaling")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "spandrel", None)


@pytest.fixture
def old_spandrel(no_spandrel, monkeypatch):
    """One without what is needed of it."""
    monkeypatch.setitem(sys.modules, "spandrel", types.ModuleType("spandrel"))


@pytest.mark.parametrize("spandrel", ["no_spandrel", "old_spandrel"])
def test_without_spandrel_the_nodes_are_there_and_the_log_says_what_is_missing(host, spandrel, request, caplog):
    request.getfixturevalue(spandrel)
    pack = host.nodes.NODE_CLASS_MAPPINGS["DeepBlend_AutoBlend"].__module__.removesuffix(".blend")
    with caplog.at_level(logging.INFO):
        extension = asyncio.run(sys.modules[pack].comfy_entrypoint())
        asyncio.run(extension.on_load())
    (record,) = [record for record in caplog.records if "PAN" in record.message]
    assert record.message.startswith("DeepBlend: files of PAN cannot be loaded, since spandrel cannot be used (")
    assert "DeepBlend_AutoBlend" in [node.GET_SCHEMA().node_id for node in asyncio.run(extension.get_node_list())]
