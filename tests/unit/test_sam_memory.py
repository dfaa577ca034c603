"""The estimate of memory against the tensors that are really alive at once."""

import weakref

import pytest
import torch
from segment_anything import sam_model_registry
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from deepblend.segmentation.sam import working_bytes
from deepblend.segmentation.sam_original import segmenter_from_weights
from sam_networks import tiny_sam_folder, tiny_sam_weights


class LiveTensors(TorchDispatchMode):
    """Counts bytes of tensors that operations make, from their making to their end; `peak` is the most at once."""

    def __init__(self):
        super().__init__()
        self.alive, self.peak = {}, 0

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        before = {storage._cdata for storage in storages((args, kwargs))}
        result = operation(*args, **(kwargs or {}))
        for storage in storages(result):
            if storage._cdata not in before and storage._cdata not in self.alive:
                self.alive[storage._cdata] = storage.nbytes()
                self.peak = max(self.peak, sum(self.alive.values()))
                weakref.finalize(storage, self.alive.pop, storage._cdata)
        return result


def storages(values):
    return [value.untyped_storage() for value in tree_leaves(values) if isinstance(value, torch.Tensor)]


def peak_of_encoding(segmenter, picture):
    with LiveTensors() as tensors:
        embedding = segmenter.encode(picture)
    return tensors.peak, embedding


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", ["vit_b", "vit_l", "vit_h"])
def test_estimate_holds_for_the_published_sizes(name, dtype):
    """On the device on which nothing is computed."""
    with torch.device("meta"):
        segmenter = segmenter_from_weights(sam_model_registry[name]().state_dict()).to("meta")
        segmenter.encoder.to(dtype)
        peak, _ = peak_of_encoding(segmenter, torch.rand(3, 768, 1024))
    assert peak <= working_bytes(segmenter, 1) <= 1.4 * peak


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("library", ["original", "transformers"])
def test_estimate_holds_for_both_libraries(library, dtype, tmp_path):
    """In a narrow network of so many tokens that attention counts most, as in the published ones."""
    if library == "original":
        segmenter = segmenter_from_weights(tiny_sam_weights(patch=8))
    else:
        pytest.importorskip("transformers")
        from deepblend.segmentation.sam_transformers import segmenter_from_folder

        segmenter = segmenter_from_folder(tiny_sam_folder(tmp_path / "sam", patch=8))
    segmenter.encoder.to(dtype)
    peak, embedding = peak_of_encoding(segmenter, torch.rand(3, 192, 256))
    assert peak <= working_bytes(segmenter, 1) <= 1.4 * peak
    with LiveTensors() as tensors:
        segmenter.decode(embedding, torch.rand(16, 4), None, None, True)
    assert tensors.peak <= working_bytes(segmenter, 16)


def test_decoder_counts_where_it_needs_more_than_the_encoder():
    segmenter = segmenter_from_weights(tiny_sam_weights())
    assert working_bytes(segmenter, 0) == working_bytes(segmenter, 1) < working_bytes(segmenter, 16)
    assert working_bytes(segmenter, 16) == working_bytes(segmenter, 100)
    with LiveTensors() as tensors:
        embedding = segmenter.encode(torch.rand(3, 192, 256))
        segmenter.decode(embedding, torch.rand(16, 4), None, None, True)
    assert tensors.peak <= working_bytes(segmenter, 16) <= 1.4 * tensors.peak
