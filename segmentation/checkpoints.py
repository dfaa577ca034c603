"""The files of weights that the nodes know by name: where they come from, and how to tell that they arrived whole."""

import os
from typing import NamedTuple

HUGGING_FACE = "https://huggingface.co"

# Folders of ComfyUI's models directory in which files are looked for; the first of each receives what is fetched.
SAM = ("sams",)
GROUNDING_DINO = ("grounding-dino", "groundingdino")  # other packs and ComfyUI-Manager do not agree on one name
PERCEPTUAL = ("perceptual",)
UPSCALE = ("upscale_models",)
VOCABULARY = ("bert-base-uncased",)


class Checkpoint(NamedTuple):
    """One file.

    name: the official file name, unique in the catalogue.
    folders: folders of the models directory in which it is looked for.
    purpose: what it is for, in a few words.
    licence: as its authors state it.
    size: bytes.
    sha256: of the whole file, in hexadecimal digits.
    urls: where it can be fetched, the authors' own place first.
    """

    name: str
    folders: tuple[str, ...]
    purpose: str
    licence: str
    size: int
    sha256: str
    urls: tuple[str, ...]

    @property
    def folder(self) -> str:
        """The folder that receives it."""
        return self.folders[0]


CHECKPOINTS = (
    Checkpoint(
        "sam_vit_b_01ec64.pth",
        SAM,
        "box to mask: SAM with ViT-B, the quickest",
        "Apache-2.0",
        375_042_383,
        "ec2df62732614e57411cdcf32a23ffdf28910380d03139ee0f4fcbe91eb8c912",
        (
            "https://dl.fbaipublicfiles.com/segment_anything/sam_vit_b_01ec64.pth",
            f"{HUGGING_FACE}/ybelkada/segment-anything/resolve/main/checkpoints/sam_vit_b_01ec64.pth",
        ),
    ),
    Checkpoint(
        "sam_vit_l_0b3195.pth",
        SAM,
        "box to mask: SAM with ViT-L",
        "Apache-2.0",
        1_249_524_607,
        "3adcc4315b642a4d2101128f611684e8734c41232a17c648ed1693702a49a622",
        (
            "https://dl.fbaipublicfiles.com/segment_anything/sam_vit_l_0b3195.pth",
            f"{HUGGING_FACE}/ybelkada/segment-anything/resolve/main/checkpoints/sam_vit_l_0b3195.pth",
        ),
    ),
    Checkpoint(
        "sam_vit_h_4b8939.pth",
        SAM,
        "box to mask: SAM with ViT-H, the most exact",
        "Apache-2.0",
        2_564_550_879,
        "a7bf3b02f3ebf1267aba913ff637d9a2d5c33d3173bb679e46d9f338c26f262e",
        (
            "https://dl.fbaipublicfiles.com/segment_anything/sam_vit_h_4b8939.pth",
            f"{HUGGING_FACE}/ybelkada/segment-anything/resolve/main/checkpoints/sam_vit_h_4b8939.pth",
        ),
    ),
    Checkpoint(
        "groundingdino_swint_ogc.pth",
        GROUNDING_DINO,
        "text to box: GroundingDINO with Swin-T, the quicker",
        "Apache-2.0",
        693_997_677,
        "3b3ca2563c77c69f651d7bd133e97139c186df06231157a64c507099c52bc799",
        (
            "https://github.com/IDEA-Research/GroundingDINO/releases/download/v0.1.0-alpha/groundingdino_swint_ogc.pth",
            f"{HUGGING_FACE}/ShilongLiu/GroundingDINO/resolve/main/groundingdino_swint_ogc.pth",
        ),
    ),
    Checkpoint(
        "groundingdino_swinb_cogcoor.pth",
        GROUNDING_DINO,
        "text to box: GroundingDINO with Swin-B, the more exact",
        "Apache-2.0",
        938_057_991,
        "46270f7a822e6906b655b729c90613e48929d0f2bb8b9b76fd10a856f3ac6ab7",
        (
            "https://github.com/IDEA-Research/GroundingDINO/releases/download/v0.1.0-alpha2/groundingdino_swinb_cogcoor.pth",
            f"{HUGGING_FACE}/ShilongLiu/GroundingDINO/resolve/main/groundingdino_swinb_cogcoor.pth",
        ),
    ),
    Checkpoint(
        "vocab.txt",
        VOCABULARY,
        "the words that GroundingDINO reads, of BERT base uncased",
        "Apache-2.0",
        231_508,
        "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3",
        (
            f"{HUGGING_FACE}/google-bert/bert-base-uncased/resolve/main/vocab.txt",
            "https://s3.amazonaws.com/models.huggingface.co/bert/bert-base-uncased-vocab.txt",
        ),
    ),
    Checkpoint(
        "vgg19-dcbb9e9d.pth",
        PERCEPTUAL,
        "features for deep blending: VGG-19",
        "BSD-3-Clause",
        574_673_361,
        "dcbb9e9dad569fff7a846263a77324fc34978fea2bfb039c012d710e1776ae44",
        ("https://download.pytorch.org/models/vgg19-dcbb9e9d.pth",),
    ),
    *(
        Checkpoint(
            f"PANx{scale}_DF2K.pth",
            UPSCALE,
            f"higher resolution: PAN, {scale} times the size",
            "none stated",
            size,
            sha256,
            (
                "https://raw.githubusercontent.com/zhaohengyuan1/PAN/master/experiments/pretrained_models/"
                f"PANx{scale}_DF2K.pth",
            ),
        )
        for scale, size, sha256 in (
            (2, 1_076_593, "fcf8ed48656abbaae46309ee91745684b80235a9c8b37a2d8fb0715a3ad3f00f"),
            (3, 1_076_593, "86491751d73645a8816a0d6ec62ccde6b22ce5da930e36b3b87f5437167fbc89"),
            (4, 1_121_681, "739fab99ee7b7058dab4d1b84aa2869bb9fc3995a1c08789c20355bee943833c"),
        )
    ),
)


def named(name: str) -> Checkpoint | None:
    """The catalogue's file of that name, if there is one."""
    return next((checkpoint for checkpoint in CHECKPOINTS if checkpoint.name == name), None)


def sources(checkpoint: Checkpoint) -> tuple[str, ...]:
    """Its addresses; those at Hugging Face at the mirror that the environment variable HF_ENDPOINT names, if it is set."""
    mirror = os.environ.get("HF_ENDPOINT", "").rstrip("/") or HUGGING_FACE
    return tuple(
        mirror + url.removeprefix(HUGGING_FACE) if url.startswith(f"{HUGGING_FACE}/") else url
        for url in checkpoint.urls
    )


def size_in_words(size: int) -> str:
    """A number of bytes as people say it: "375 MB", "0.2 MB"."""
    return f"{size / 1e6:.0f} MB" if size >= 1e7 else f"{size / 1e6:.1f} MB"
