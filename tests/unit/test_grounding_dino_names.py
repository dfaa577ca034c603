import dataclasses
import re

import pytest
import torch

from deepblend.segmentation.grounding_dino_names import hub_weights, tensor_names
from grounding_dino_networks import SWIN_T, TINY, tiny_weights

# The layers of the published networks, but narrow: names do not depend on widths.
NARROW = {
    "embed": 24,
    "heads": (3, 6, 12, 24),
    "queries": 5,
    "feed_forward": 64,
    "text_tokens": 1030,
    "text_channels": 48,
    "text_heads": 1,
    "text_feed_forward": 32,
}
NETWORKS = {
    "Swin-T": dataclasses.replace(SWIN_T, **NARROW),
    "Swin-B": dataclasses.replace(SWIN_T, depths=(2, 2, 18, 2), window=12, **NARROW),
    "tiny": TINY,
}
NOT_LEARNED = r".*(relative_position_index|bert\.pooler\.dense\.(weight|bias))"


@pytest.mark.parametrize("network", NETWORKS)
def test_originals_are_the_tensors_of_the_authors_network(network):
    names = {name for name in tiny_weights(architecture=NETWORKS[network]) if not re.fullmatch(NOT_LEARNED, name)}
    assert set(tensor_names(NETWORKS[network])) == names


@pytest.mark.parametrize("network", ["Swin-T", "Swin-B"])
def test_others_are_the_tensors_of_a_file_that_transformers_writes(network, tmp_path):
    transformers = pytest.importorskip("transformers")
    safetensors = pytest.importorskip("safetensors.torch")
    sizes = NETWORKS[network]
    configuration = transformers.GroundingDinoConfig(
        backbone_config=transformers.SwinConfig(
            embed_dim=sizes.embed, depths=list(sizes.depths), window_size=sizes.window, out_indices=[2, 3, 4]
        ),
        text_config=transformers.BertConfig(
            vocab_size=sizes.text_tokens, hidden_size=48, num_attention_heads=1, intermediate_size=32
        ),
        num_queries=sizes.queries,
        encoder_ffn_dim=sizes.feed_forward,
        decoder_ffn_dim=sizes.feed_forward,
    )
    transformers.GroundingDinoForObjectDetection(configuration).save_pretrained(tmp_path)
    expected = {
        name: tuple(value.shape)
        for name, value in safetensors.load_file(tmp_path / "model.safetensors").items()
        # A computed table, and a normalisation of transformers 5 that nothing uses.
        if not re.search(r"relative_position_index|swin\.layernorm", name)
    }
    found = {name: tuple(value.shape) for name, value in hub_weights(tiny_weights(architecture=sizes), sizes).items()}
    # The same part again for each layer and once more for all of them, which transformers leaves out as it writes.
    again = {name for name in found if re.match(r"model\.decoder\.bbox_embed\.|bbox_embed\.[1-9]", name)}
    assert len(again) == (6 + 5) * 3 * 2
    assert expected.keys() & again == set()
    assert expected == {name: shape for name, shape in found.items() if name not in again}


@pytest.mark.parametrize("network", NETWORKS)
def test_no_two_tensors_get_the_same_name(network):
    names = [name for names in tensor_names(NETWORKS[network]).values() for name in names]
    assert len(names) == len(set(names))


def test_every_value_is_converted_once_and_none_is_changed():
    weights = tiny_weights()
    converted = hub_weights(weights, TINY)
    for original, names in tensor_names(TINY).items():
        assert torch.equal(torch.cat([converted[name] for name in names]), weights[original])
    assert sum(len(names) for names in tensor_names(TINY).values()) == len(converted)
