"""Stand-ins for the networks that tests without real weights need to follow an object from a phrase to the blend.

They find colours, by fixed rules, behind the same interfaces. They say nothing about how well the real networks find
objects; they only make the boxes and masks mean something.
"""

import numpy as np
import torch
from scipy import ndimage
from torch import nn

from deepblend.segmentation.sam import Embedding
from deepblend.segmentation.text_boxes import MEAN, STANDARD_DEVIATION
from deepblend.segmentation.vocabulary import SPECIAL_IDS
from grounding_dino_networks import TINY

# Colours as a phrase's words name them; the stand-ins know no other word.
COLORS = {"red": (0.8, 0.3, 0.2), "green": (0.2, 0.7, 0.2), "blue": (0.2, 0.3, 0.8)}
LARGEST_DISTANCE = 0.3  # in RGB
MARGIN = 2  # pixels of the segmenter's picture, around a box, in which the background is looked for
FEWEST_PIXELS = 50  # of a region at the detector's size


class ColorDetector(nn.Module):
    """In place of GroundingDINO: a box around every region of the colour that a phrase names. Larger regions score higher."""

    text_length = 256
    architecture = TINY

    def __init__(self, vocabulary):
        super().__init__()
        self.colors = {vocabulary.encode(word)[0][1]: torch.tensor(color) for word, color in COLORS.items()}

    def forward(self, pixels, token_ids):
        mean, deviation = (pixels.new_tensor(values)[:, None, None] for values in (MEAN, STANDARD_DEVIATION))
        picture = (pixels[0] * deviation + mean).float().cpu()
        height, width = picture.shape[1:]
        boxes, logits = [[0.5, 0.5, 1.0, 1.0]], [torch.full((token_ids.shape[1],), -9.0)]
        for position, token in enumerate(token_ids[0].tolist()):
            if token in SPECIAL_IDS.values() or token not in self.colors:
                continue
            for rows, columns, count in regions(picture, self.colors[token]):
                if count < FEWEST_PIXELS:
                    continue
                box = [columns.start + columns.stop, rows.start + rows.stop]
                size = [columns.stop - columns.start, rows.stop - rows.start]
                boxes.append([box[0] / 2 / width, box[1] / 2 / height, size[0] / width, size[1] / height])
                logits.append(torch.full((token_ids.shape[1],), -9.0))
                logits[-1][position] = 1 + 3 * count / (height * width)
        return torch.stack(logits)[None], torch.tensor([boxes])


class ContrastSegmenter(nn.Module):
    """In place of Segment Anything: of a box, what differs from the colours around it; of points, the colour
    under the first."""

    side, patch, heads, width, channels, attention_copies = 64, 16, 1, 8, 8, 1

    def __init__(self):
        super().__init__()
        self.encoder = nn.Linear(1, 1)
        self.encoded = 0

    def encode(self, picture):
        self.encoded += 1
        factor = max(picture.shape[1:]) / self.side
        size = tuple(max(1, round(length / factor)) for length in picture.shape[1:])
        features = nn.functional.interpolate(picture[None], size, mode="area")
        return Embedding(features, tuple(picture.shape[1:]), size)

    def decode(self, embedding, boxes, points, labels, several):
        picture = embedding.features[0]
        scale = [small / large for small, large in zip(embedding.input_size, embedding.size, strict=True)]
        logits = []
        for index in range(len(points if boxes is None else boxes)):
            if boxes is None:
                x, y = points[index, 0].tolist()
                color = picture[:, int(y * scale[0]), int(x * scale[1])]
                found = (picture - color[:, None, None]).norm(dim=0) < LARGEST_DISTANCE
            else:
                left, top, right, bottom = boxes[index].tolist()
                rows = slice(max(round(top * scale[0]) - MARGIN, 0), round(bottom * scale[0]) + MARGIN)
                columns = slice(max(round(left * scale[1]) - MARGIN, 0), round(right * scale[1]) + MARGIN)
                part = picture[:, rows, columns]
                edge = torch.cat([part[:, 0], part[:, -1], part[:, :, 0], part[:, :, -1]], 1).median(1).values
                found = torch.zeros(picture.shape[1:], dtype=torch.bool)
                found[rows, columns] = (part - edge[:, None, None]).norm(dim=0) > LARGEST_DISTANCE
            square = torch.full((self.side, self.side), -9.0)
            square[: found.shape[0], : found.shape[1]] = torch.where(found, 9.0, -9.0)
            logits.append(square[None].repeat(3 if several else 1, 1, 1))
        return torch.stack(logits), torch.ones(len(logits), 3 if several else 1)


def regions(picture, color):
    """Rows, columns and number of pixels of each connected region of about this colour in a picture `[3, H, W]`."""
    near = ((picture - color[:, None, None]).norm(dim=0) < LARGEST_DISTANCE).numpy()
    labels, _ = ndimage.label(near)
    counts = np.bincount(labels.ravel())[1:]
    return [(*place, int(count)) for place, count in zip(ndimage.find_objects(labels), counts, strict=True)]


def managed(network):
    """The network under ComfyUI's memory management."""
    import comfy.model_patcher

    cpu = torch.device("cpu")
    return comfy.model_patcher.ModelPatcher(network, load_device=cpu, offload_device=cpu)
