import numpy as np
import pytest
import torch

from deepblend.blending_core.composite import composite
from deepblend.blending_core.feather import feather_inward


@pytest.mark.parametrize("size", [(1, 1), (37, 53), (512, 512), (1023, 517)])
@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize("batch", [1, 3])
def test_target_is_untouched_bit_for_bit_where_the_mask_is_0(size, channels, batch):
    generator = torch.Generator().manual_seed(0)
    target, image = (torch.rand(batch, c, *size, generator=generator) for c in (channels, 3))
    soft = torch.rand(batch, 1, *size, generator=generator)
    soft = torch.where(soft < 0.5, torch.zeros(()), soft)
    for mask in (soft, (soft > 0).float(), feather_inward(soft, 3), torch.zeros_like(soft)):
        result = composite(image, mask, target)
        outside = (mask == 0).expand_as(target)
        assert result.shape == target.shape
        assert torch.equal(result[outside], target[outside])


def test_full_mask_gives_the_image_bit_for_bit():
    image, target = torch.rand(1, 3, 9, 9), torch.rand(1, 3, 9, 9)
    assert torch.equal(composite(image, torch.ones(1, 1, 9, 9), target), image)


def test_soft_mask_mixes_as_stated():
    generator = np.random.default_rng(0)
    image, target, mask = (generator.random((1, c, 8, 8)) for c in (3, 3, 1))
    found = composite(*(torch.from_numpy(x) for x in (image, mask, target)))
    assert np.abs(found.numpy() - (mask * image + (1 - mask) * target)).max() < 1e-15


def test_transparent_target_follows_porter_and_duff():
    generator = np.random.default_rng(1)
    image, mask = generator.random((1, 3, 8, 8)), generator.random((1, 1, 8, 8))
    target = generator.random((1, 4, 8, 8))
    target[:, 3, :3] = 0
    found = composite(*(torch.from_numpy(x) for x in (image, mask, target))).numpy()
    alpha = mask + target[:, 3:] * (1 - mask)
    color = (mask * image + target[:, 3:] * (1 - mask) * target[:, :3]) / alpha
    assert np.abs(found - np.concatenate([color, alpha], 1)).max() < 1e-12
    assert np.abs(found[:, :3, :3] - image[:, :, :3]).max() < 1e-12  # nothing of an invisible colour shows


@pytest.mark.parametrize("channels", [3, 4])
def test_is_differentiable(channels):
    generator = torch.Generator().manual_seed(2)
    image = torch.rand(1, 3, 3, 4, dtype=torch.float64, generator=generator, requires_grad=True)
    mask = (0.1 + 0.8 * torch.rand(1, 1, 3, 4, dtype=torch.float64, generator=generator)).requires_grad_()
    target = (0.1 + 0.8 * torch.rand(1, channels, 3, 4, dtype=torch.float64, generator=generator)).requires_grad_()
    assert torch.autograd.gradcheck(composite, (image, mask, target))
