"""The prompt of a text detector: phrases, each with its own threshold, and which tokens belong to which phrase."""

import re
from typing import NamedTuple

from .vocabulary import SPECIAL_IDS, Vocabulary

# A full stop between digits, or between a colon and a digit, is a decimal point: "bird:0.4 . red car".
SEPARATOR = re.compile(r"(?<![:\d])\.|\.(?!\d)|[,;\n]")
DECIMAL_COMMA = re.compile(r":\s*\d*,\d+")
EXAMPLE = '"bird . red car" or, with a threshold for one phrase, "bird:0.4 . red car"'


class Phrase(NamedTuple):
    text: str
    threshold: float  # least score, 0 to 1, of a box for it


def read_prompt(prompt: str, threshold: float) -> list[Phrase]:
    """The phrases of a prompt, separated by full stops, commas, semicolons or lines; a phrase may end with ":" and its
    threshold, the others have `threshold`.

    Raises:
        ValueError: if there is no phrase, or what follows a colon is not a threshold.
    """
    if comma := DECIMAL_COMMA.search(prompt):
        raise ValueError(
            f"prompt: {comma.group()!r} has a comma where a threshold has a point; write for example {EXAMPLE}"
        )
    phrases = [_read_phrase(part.strip(), threshold) for part in SEPARATOR.split(prompt) if part.strip()]
    if not phrases:
        raise ValueError(f"prompt holds no phrase; name the object, for example {EXAMPLE}")
    return phrases


def _read_phrase(part, threshold):
    text, colon, number = (piece.strip() for piece in part.rpartition(":"))
    if not colon:
        return Phrase(part, threshold)
    if ":" in text:
        raise ValueError(f"prompt: {part!r} has more than one colon; write for example {EXAMPLE}")
    if not text:
        raise ValueError(f"prompt: {part!r} names no object before the colon; write for example {EXAMPLE}")
    try:
        own_threshold = float(number)
    except ValueError:
        raise ValueError(
            f"prompt: after the colon of {part!r} a threshold from 0 to 1 is expected; write for example {EXAMPLE}"
        ) from None
    if number.isdigit() and own_threshold >= 1:
        raise ValueError(
            f'prompt: {part!r} asks for a count, as SAM3 takes it; here "{text}:0.4" sets the least score of a box '
            f'and "{text}" finds all of them, of which the input select keeps some or one'
        )
    if not 0 <= own_threshold <= 1:
        raise ValueError(f"prompt: the threshold of {part!r} is {number}; numbers from 0 to 1 are accepted")
    return Phrase(text, own_threshold)


def tokenize(phrases: list[Phrase], vocabulary: Vocabulary, longest: int) -> tuple[list[int], list[list[int]]]:
    """Token ids of all phrases as one caption, and the positions of each phrase's tokens among them.

    The caption is "first. second. third.", which the detector reads as phrases that do not see each other.

    Raises:
        ValueError: if there are more than `longest` tokens, or a phrase has none of its own.
    """
    caption, ranges = "", []
    for phrase in phrases:
        ranges.append((len(caption), len(caption) + len(phrase.text)))
        caption += f"{phrase.text}. "
    ids, offsets = vocabulary.encode(caption)
    if len(ids) > longest:
        raise ValueError(
            f"prompt has {len(ids)} tokens; at most {longest} are accepted, about {longest * 3 // 4} words"
        )
    positions = [
        [
            position
            for position, (token, (begin, end)) in enumerate(zip(ids, offsets, strict=True))
            if first <= begin and end <= last and token not in (*SPECIAL_IDS.values(), vocabulary.unknown)
        ]
        for first, last in ranges
    ]
    for phrase, found in zip(phrases, positions, strict=True):
        if not found:
            raise ValueError(
                f"prompt: {phrase.text!r} holds no word that the detector knows; name the object in English, for example "
                f"{EXAMPLE}"
            )
    return ids, positions
