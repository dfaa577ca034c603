"""Segment Anything (Kirillov et al. 2023): from a picture, boxes and points to masks, whichever library holds the network."""

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# Which of the decoder's masks is taken.
BEST, LARGEST, SMALLEST = "best", "largest", "smallest"
CANDIDATES = (BEST, LARGEST, SMALLEST)
# Prompts that the decoder takes at once. Each costs it some 30 MB in the published networks.
CHUNK = 16
# Of the colours 0..255 of the pictures that SAM was trained on.
MEAN, DEVIATION = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
# The logistic function has the slope 1/4 at 0: a mask that fades as the probability does fades over so many logits.
LEAST_FADE = 4.0
# Numbers that are alive at once: of each channel of the image encoder at each token beside attention, of each pixel of
# the square before it, and of each channel of the decoder at each token and prompt. Measured as the growth of the
# process on a CPU with ViT-B, a little rounded up.
ENCODER_VALUES, PIXEL_VALUES, DECODER_VALUES = 30, 12, 9


class Embedding(NamedTuple):
    """What the network knows of a picture; it may be kept anywhere and decoded where the network is.

    features: `[1, channels, h, w]` float32, in the published networks `[1, 256, 64, 64]`.
    size: height and width of the picture.
    input_size: height and width that it was resized to, before padding to the network's square.
    """

    features: Tensor
    size: tuple[int, int]
    input_size: tuple[int, int]


class Prompt(NamedTuple):
    """One object: a box `(x0, y0, x1, y1)` around it, points on it and points that are not on it, in pixels."""

    box: tuple[float, float, float, float] | None
    positive: Sequence[tuple[float, float]]
    negative: Sequence[tuple[float, float]]


class Segmenter(nn.Module):
    """The network. The image encoder computes in the type of its own weights, which may be cast
    (`segmenter.encoder.to(torch.bfloat16)`); the rest stays in float32.

    side: pixels of the square that the image encoder takes.
    patch: pixels of the squares that become one token each.
    heads, width: attention heads and channels of the image encoder.
    channels: of the embedding and the decoder.
    attention_copies: matrices of all heads' attention over the whole picture that are alive at the same time.
    """

    attention_copies: int

    def __init__(self, side: int, patch: int, heads: int, width: int, channels: int):
        super().__init__()
        self.side, self.patch, self.heads, self.width, self.channels = side, patch, heads, width, channels
        # They follow the network to its device but are no weights.
        self.register_buffer("mean", torch.tensor(MEAN).view(3, 1, 1), persistent=False)
        self.register_buffer("deviation", torch.tensor(DEVIATION).view(3, 1, 1), persistent=False)

    @property
    def encoder(self) -> nn.Module:
        """The image encoder."""
        raise NotImplementedError

    def encode(self, picture: Tensor) -> Embedding:
        """picture: `[3, H, W]` in 0..1 on the network's device."""
        size = tuple(picture.shape[-2:])
        input_size = resized(size, self.side)
        pixels = (255 * _resize(picture[None].float(), input_size) - self.mean) / self.deviation
        pixels = F.pad(pixels, (0, self.side - input_size[1], 0, self.side - input_size[0]))
        features = self._features(pixels.to(next(self.encoder.parameters()).dtype))
        return Embedding(features.float(), size, input_size)

    def decode(
        self, embedding: Embedding, boxes: Tensor | None, points: Tensor | None, labels: Tensor | None, several: bool
    ) -> tuple[Tensor, Tensor]:
        """Masks of N objects, each given by a box, by points or by both, all in the same form.

        Args:
            embedding: on the network's device.
            boxes: `[N, 4]` corners x0, y0, x1, y1 in pixels of the picture, or None.
            points: `[N, P, 2]` x, y in pixels of the picture, or None.
            labels: `[N, P]` 1 on the object, 0 not on it, -1 no point; None without points.
            several: three masks for prompts that can mean a part or the whole, instead of one.

        Returns:
            Logits `[N, 3 or 1, h, w]` at a quarter of the square's size, and the intersections over union `[N, 3 or 1]`
            that the network expects of them.
        """
        (height, width), (input_height, input_width) = embedding.size, embedding.input_size
        device = embedding.features.device
        scale = torch.tensor([input_width / width, input_height / height], device=device)
        boxes = None if boxes is None else boxes.to(scale) * scale.repeat(2)
        points = None if points is None else points.to(scale) * scale
        labels = None if labels is None else labels.to(device)
        return self._logits(embedding.features, boxes, points, labels, several)

    def _features(self, pixels: Tensor) -> Tensor:
        """Features `[1, channels, h, w]` of a normalised square `[1, 3, side, side]`."""
        raise NotImplementedError

    def _logits(
        self, features: Tensor, boxes: Tensor | None, points: Tensor | None, labels: Tensor | None, several: bool
    ) -> tuple[Tensor, Tensor]:
        """As `decode`, with coordinates in pixels of the square."""
        raise NotImplementedError


def resized(size: tuple[int, int], side: int) -> tuple[int, int]:
    """Height and width of a picture whose longer side becomes `side`, rounded as SAM does, at least one pixel."""
    scale = side / max(size)
    return max(1, int(size[0] * scale + 0.5)), max(1, int(size[1] * scale + 0.5))


def _resize(pixels: Tensor, size: tuple[int, int]) -> Tensor:
    resize = partial(F.interpolate, mode="bilinear", antialias=True, align_corners=False)
    if size[1] == 1:
        # PyTorch's code for CPUs mixes up the rows of a single column; a single row it gets right.
        return resize(pixels.mT, size[::-1]).mT
    return resize(pixels, size)


def working_bytes(segmenter: Segmenter, count: int) -> int:
    """Memory that embedding a picture and decoding `count` prompts takes at most, beside the weights, the pictures and
    the masks. Attention over the whole picture dominates it; the factors are measured (see the constants)."""
    tokens = (segmenter.side // segmenter.patch) ** 2
    attention = segmenter.attention_copies * segmenter.heads * tokens**2
    values = attention + ENCODER_VALUES * tokens * segmenter.width
    encoding = values * next(segmenter.encoder.parameters()).element_size() + 4 * PIXEL_VALUES * segmenter.side**2
    decoding = 4 * DECODER_VALUES * tokens * segmenter.channels * min(count, CHUNK)
    return max(encoding, decoding)


def prompt_masks(
    segmenter: Segmenter,
    embedding: Embedding,
    prompts: Sequence[Prompt],
    candidate: str,
    soft_edges: bool,
) -> Tensor:
    """The mask of each prompt.

    Args:
        segmenter: on the embedding's device.
        embedding: of the picture.
        prompts: one for each object.
        candidate: BEST takes what SAM's authors recommend: the decoder's single mask for a box or for more than one
            point, and for a single point, which can mean a part or the whole, the one of three masks that the network
            trusts most. LARGEST and SMALLEST take one of the three by its area; an empty one only if all are.
        soft_edges: let the mask fade as the network's certainty does, over at least a pixel, instead of 0 and 1.

    Returns:
        `[N, H, W]` float32 in 0..1 on the embedding's device.

    Raises:
        ValueError: if a prompt has neither a box nor a point, or the candidate is none of the three.
    """
    if candidate not in CANDIDATES:
        raise ValueError(f"candidate is {candidate!r}; {', '.join(CANDIDATES)} are accepted")
    masks = embedding.features.new_empty((len(prompts), *embedding.size))
    for chosen in _batches(prompts):
        batch = [prompts[index] for index in chosen]
        several = candidate != BEST or _is_ambiguous(batch[0])
        logits, scores = segmenter.decode(embedding, *_tensors(batch), several)
        # One object after the other, since a large picture holds few masks of its full size at once.
        for index, options, trust in zip(chosen, logits, scores, strict=True):
            if candidate == BEST:
                picked = options[trust.argmax()]
            else:
                picked = _by_area(options, candidate, embedding, segmenter.side)
            masks[index] = mask_of_logits(full_size(picked, embedding, segmenter.side), soft_edges)
    return masks


def full_size(logits: Tensor, embedding: Embedding, side: int) -> Tensor:
    """The decoder's logits `[h, w]` at the picture's size `[H, W]`: to the square, without its padding, to the picture."""
    square = F.interpolate(logits[None, None], (side, side), mode="bilinear", align_corners=False)
    inside = square[..., : embedding.input_size[0], : embedding.input_size[1]]
    return F.interpolate(inside, embedding.size, mode="bilinear", align_corners=False)[0, 0]


def mask_of_logits(logits: Tensor, soft_edges: bool) -> Tensor:
    """The mask of logits `[H, W]`: 1 where they are positive, else 0.

    With soft edges it is 1/2 + z / max(4, |∇z|), clamped to 0..1: where the logits z are flat, the network is unsure and
    the mask fades as its probability does; where they are steep, it is the part of each pixel that lies inside the edge,
    as far as its distance tells. It is 0 wherever z <= -max(2, |∇z| / 2).
    """
    if not soft_edges:
        return (logits > 0).float()
    slope = torch.hypot(_derivative(logits, 0), _derivative(logits, 1))
    return (0.5 + logits / slope.clamp(min=LEAST_FADE)).clamp(0, 1)


def _derivative(values: Tensor, axis: int) -> Tensor:
    """Per pixel along an axis: central differences, one-sided at the frame."""
    if values.shape[axis] == 1:
        return torch.zeros_like(values)
    return torch.gradient(values, dim=axis)[0]


def _by_area(options: Tensor, candidate: str, embedding: Embedding, side: int) -> Tensor:
    """The largest or the smallest of the masks whose logits are `[C, h, w]`; an empty one only if all are."""
    areas = [int((full_size(option, embedding, side) > 0).sum()) for option in options]
    if candidate == LARGEST:
        area = max(areas)
    else:
        area = min(filter(None, areas), default=0)
    return options[areas.index(area)]


def _batches(prompts: Sequence[Prompt]) -> list[list[int]]:
    """Places of the prompts that are decoded together.

    A box and each point are a token that all others attend to, and so is what would fill a gap; hence only prompts of
    the same form go together, and each gives what it gives alone.
    """
    forms: dict[tuple[bool, int], list[int]] = {}
    for index, prompt in enumerate(prompts):
        count = len(prompt.positive) + len(prompt.negative)
        if prompt.box is None and count == 0:
            raise ValueError(
                f"prompt {index + 1} of {len(prompts)} has neither a box nor a point; it needs one of them"
            )
        forms.setdefault((prompt.box is not None, count), []).append(index)
    return [places[start : start + CHUNK] for places in forms.values() for start in range(0, len(places), CHUNK)]


def _is_ambiguous(prompt: Prompt) -> bool:
    return prompt.box is None and len(prompt.positive) + len(prompt.negative) == 1


def _tensors(batch: list[Prompt]) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """Boxes, points and labels of prompts of the same form, as `Segmenter.decode` takes them."""
    boxes = None if batch[0].box is None else torch.tensor([prompt.box for prompt in batch], dtype=torch.float32)
    if not batch[0].positive and not batch[0].negative:
        return boxes, None, None
    points = torch.tensor([[*prompt.positive, *prompt.negative] for prompt in batch], dtype=torch.float32)
    labels = torch.tensor([[1] * len(prompt.positive) + [0] * len(prompt.negative) for prompt in batch])
    return boxes, points, labels
