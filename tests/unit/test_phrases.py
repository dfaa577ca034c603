import re

import pytest

from deepblend.segmentation.phrases import Phrase, read_prompt, tokenize


class Words:
    """A vocabulary in which every word and punctuation mark is a token, but for a sign."""

    unknown = 100

    def encode(self, text):
        found = [(match.group(), match.span()) for match in re.finditer(r"\w+|[^\w\s]", text)]
        ids = [{".": 1012, "?": 1029, "🐦": 100}.get(word, 2000 + number) for number, (word, _) in enumerate(found)]
        return [101, *ids, 102], [(0, 0), *(span for _, span in found), (0, 0)]


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("bird", [("bird", 0.3)]),
        ("bird . red car", [("bird", 0.3), ("red car", 0.3)]),
        ("bird:0.4 . red car", [("bird", 0.4), ("red car", 0.3)]),
        ("bird:0.4. red car:.25.", [("bird", 0.4), ("red car", 0.25)]),
        ("bird : 0.4, red car", [("bird", 0.4), ("red car", 0.3)]),
        ("bird:0.4.red car", [("bird", 0.4), ("red car", 0.3)]),
        ("a cat;\n a dog\n", [("a cat", 0.3), ("a dog", 0.3)]),
        (" .. , Red Car . ", [("Red Car", 0.3)]),
        ("bird:0 . cat:1.0", [("bird", 0.0), ("cat", 1.0)]),
        ("2 cats.3 dogs", [("2 cats", 0.3), ("3 dogs", 0.3)]),
        ("a 0.5 l bottle", [("a 0.5 l bottle", 0.3)]),
    ],
)
def test_phrases_and_their_thresholds(prompt, expected):
    assert read_prompt(prompt, 0.3) == [Phrase(*values) for values in expected]


@pytest.mark.parametrize(
    ("prompt", "sentence"),
    [
        ("", 'prompt holds no phrase; name the object, for example "bird . red car"'),
        (" . , ", "prompt holds no phrase"),
        ("cat:2, dog:3", "'cat:2' asks for a count, as SAM3 takes it; here \"cat:0.4\" sets the least score of a box"),
        ("cat:1", "'cat:1' asks for a count"),
        ("cat:1.5", "the threshold of 'cat:1.5' is 1.5; numbers from 0 to 1 are accepted"),
        ("cat:-0.1", "the threshold of 'cat:-0.1' is -0.1; numbers from 0 to 1"),
        ("cat:nan", "the threshold of 'cat:nan' is nan; numbers from 0 to 1"),
        ("cat:high", "after the colon of 'cat:high' a threshold from 0 to 1 is expected"),
        ("cat:", "after the colon of 'cat:' a threshold from 0 to 1 is expected"),
        ("bird:0,4 . car", "':0,4' has a comma where a threshold has a point"),
        ("bird:0.4:0.5", "'bird:0.4:0.5' has more than one colon"),
        (":0.4", "':0.4' names no object before the colon"),
    ],
)
def test_what_is_no_prompt_gets_a_sentence(prompt, sentence):
    with pytest.raises(ValueError, match="prompt") as error:
        read_prompt(prompt, 0.3)
    assert sentence in str(error.value)


def test_each_phrase_has_its_own_tokens():
    ids, positions = tokenize([Phrase("red car", 0.3), Phrase("is it a bird?", 0.3)], Words(), 256)
    #        [CLS] red car . is it a bird ? . [SEP]
    assert len(ids) == 11
    assert ids[0] == 101 and ids[3] == ids[9] == 1012 and ids[8] == 1029 and ids[10] == 102
    assert positions == [[1, 2], [4, 5, 6, 7]]


def test_a_prompt_may_be_too_long():
    phrases = [Phrase("one two three", 0.3)] * 3
    assert len(tokenize(phrases, Words(), 14)[0]) == 14
    with pytest.raises(ValueError, match="prompt has 14 tokens; at most 13 are accepted"):
        tokenize(phrases, Words(), 13)


def test_a_phrase_without_a_word_gets_a_sentence():
    for text in ("?", "🐦"):
        with pytest.raises(ValueError, match=rf"prompt: '{re.escape(text)}' holds no word that the detector knows"):
            tokenize([Phrase("bird", 0.3), Phrase(text, 0.3)], Words(), 256)
    _, positions = tokenize([Phrase("bird 🐦", 0.3)], Words(), 256)
    assert positions == [[1]]
