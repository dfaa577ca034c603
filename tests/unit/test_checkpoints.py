import hashlib
import re
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from deepblend.segmentation.checkpoints import CHECKPOINTS, named, size_in_words, sources
from transfer_sets import SHARED


def test_names_are_unique_and_found():
    names = [checkpoint.name for checkpoint in CHECKPOINTS]
    assert len(set(names)) == len(names) == 10
    for checkpoint in CHECKPOINTS:
        assert named(checkpoint.name) is checkpoint
    assert named("../vocab.txt") is None


@pytest.mark.parametrize("checkpoint", CHECKPOINTS, ids=lambda checkpoint: checkpoint.name)
def test_every_entry_is_complete(checkpoint, monkeypatch):
    monkeypatch.delenv("HF_ENDPOINT", raising=False)
    assert re.fullmatch(r"[\w.-]+", checkpoint.name)
    assert re.fullmatch(r"[0-9a-f]{64}", checkpoint.sha256)
    assert checkpoint.size > 0
    assert checkpoint.purpose
    assert checkpoint.licence in ("Apache-2.0", "BSD-3-Clause", "none stated")
    assert checkpoint.folder == checkpoint.folders[0]
    assert sources(checkpoint) == checkpoint.urls
    hosts = [urlsplit(url).hostname for url in checkpoint.urls]
    assert len(set(hosts)) == len(hosts) >= 1
    for url in checkpoint.urls:
        assert urlsplit(url).scheme == "https"
        assert url.endswith(checkpoint.name)


def test_names_that_carry_a_part_of_their_checksum_agree_with_it():
    """As torchvision names its files."""
    vgg = named("vgg19-dcbb9e9d.pth")
    assert vgg.sha256.startswith("dcbb9e9d")


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_sizes_and_checksums_of_pan_are_those_of_its_files(scale):
    checkpoint = named(f"PANx{scale}_DF2K.pth")
    (path, *_) = [*Path(SHARED, "models", "pan").rglob(checkpoint.name), None]
    if path is None:
        pytest.skip(f"the developers' models are not in {SHARED}")
    content = path.read_bytes()
    assert (len(content), hashlib.sha256(content).hexdigest()) == (checkpoint.size, checkpoint.sha256)


@pytest.mark.parametrize("endpoint", ["https://hf-mirror.com", "https://hf-mirror.com/"])
def test_only_addresses_at_hugging_face_go_to_the_mirror(monkeypatch, endpoint):
    monkeypatch.setenv("HF_ENDPOINT", endpoint)
    official, mirrored = sources(named("sam_vit_b_01ec64.pth"))
    assert official == "https://dl.fbaipublicfiles.com/segment_anything/sam_vit_b_01ec64.pth"
    path = "ybelkada/segment-anything/resolve/main/checkpoints/sam_vit_b_01ec64.pth"
    assert mirrored == f"https://hf-mirror.com/{path}"


def test_an_empty_mirror_counts_as_none(monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "")
    assert sources(named("vocab.txt"))[0].startswith("https://huggingface.co/")


@pytest.mark.parametrize(
    ("size", "words"), [(375_042_383, "375 MB"), (2_564_550_879, "2565 MB"), (231_508, "0.2 MB"), (1_076_593, "1.1 MB")]
)
def test_sizes_in_words(size, words):
    assert size_in_words(size) == words
