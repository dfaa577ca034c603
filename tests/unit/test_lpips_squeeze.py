import numpy as np
import pytest
import torch
import torchvision

from lpips_squeeze import LPIPS, find_lpips

# Outputs of these modules of torchvision's `features` are compared: the first rectification and seven fire modules but one
# before each pooling.
COMPARED = (1, 4, 7, 9, 10, 11, 12)
CHANNELS = (64, 128, 256, 384, 384, 512, 512)


@pytest.fixture(scope="module")
def weights():
    generator = torch.Generator().manual_seed(0)
    backbone = {
        name: torch.randn(value.shape, generator=generator) * (2 / max(1, value[0].numel())) ** 0.5
        for name, value in torchvision.models.squeezenet1_1(weights=None).state_dict().items()
    }
    heads = {
        f"lin{index}.model.1.weight": torch.rand(1, count, 1, 1, generator=generator)
        for index, count in enumerate(CHANNELS)
    }
    return backbone, heads


def pictures(height=47, width=61):
    generator = torch.Generator().manual_seed(1)
    return [torch.rand(2, 3, height, width, generator=generator, dtype=torch.float64) for _ in range(2)]


def formula(image, reference, backbone, heads):
    """The paper's equation 1 in float64, with the network that torchvision builds."""
    network = torchvision.models.squeezenet1_1(weights=None).double()
    network.load_state_dict({name: value.double() for name, value in backbone.items()})
    shift, scale = np.array([-0.030, -0.088, -0.188]), np.array([0.458, 0.448, 0.450])
    stacks = []
    for picture in (image, reference):
        values = (2 * picture.numpy() - 1 - shift[:, None, None]) / scale[:, None, None]
        maps, kept = torch.from_numpy(values), []
        with torch.no_grad():
            for index, module in enumerate(network.features):
                maps = module(maps)
                if index in COMPARED:
                    kept.append(maps.numpy())
        stacks.append(kept)
    total = 0
    for index, (first, second) in enumerate(zip(*stacks, strict=True)):
        first, second = (maps / (np.linalg.norm(maps, axis=1, keepdims=True) + 1e-10) for maps in (first, second))
        weight = heads[f"lin{index}.model.1.weight"].double().numpy()[0]
        total = total + ((first - second) ** 2 * weight).sum(1).mean((1, 2))
    return total


def test_equals_the_formula(weights):
    image, reference = pictures()
    found = LPIPS(*weights).double()(image, reference)
    assert found.numpy() == pytest.approx(
        formula(image, reference, *weights), rel=1e-7
    )  # mean and deviation are float32
    assert LPIPS(*weights)(image.float(), reference.float()).numpy() == pytest.approx(found.numpy(), rel=1e-4)


def test_equal_pictures_have_no_distance_and_the_order_does_not_count(weights):
    network = LPIPS(*weights)
    image, reference = (picture.float() for picture in pictures())
    assert network(image, image).tolist() == [0, 0]
    assert network(image, reference).tolist() == pytest.approx(network(reference, image).tolist())


def test_without_files_there_is_none(tmp_path):
    assert find_lpips(tmp_path) is None
