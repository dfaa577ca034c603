import json
import sys

import pytest

from deepblend.segmentation.vocabulary import SPECIAL_IDS, read_vocabulary
from grounding_dino_networks import tiny_vocabulary

TEXTS = (
    "red car.",
    "Red CAR . blue bird? cat",
    "a dog, on the left - big!",
    "caf\u00e9 \u00dcBER na\u00efve cat.",
    "unknown \u4e2d\u6587 \u2603 dog",
    "  two\tspaces\n\nand\u00a0lines  .",
    "dogs2run's",
    "",
    ".",
    "x" * 300,
    "e\u0301clair \u0130stanbul",
    "red [SEP] dog",
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bert")
    tiny_vocabulary(folder)
    (folder / "config.json").write_text('{"model_type": "bert"}')
    return folder


@pytest.fixture(scope="module")
def vocabulary(folder):
    return read_vocabulary(folder / "vocab.txt")


@pytest.mark.parametrize("text", TEXTS)
def test_tokens_are_those_of_transformers(folder, vocabulary, text):
    transformers = pytest.importorskip("transformers")
    expected = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)(
        text, return_offsets_mapping=True
    )
    ids, offsets = vocabulary.encode(text)
    assert ids == expected["input_ids"]
    assert [tuple(pair) for pair in offsets] == [tuple(pair) for pair in expected["offset_mapping"]]


def test_offsets_are_ranges_of_the_text_as_it_was_written(vocabulary):
    text = "Red  CAR . Bo\u00e4t?"
    ids, offsets = vocabulary.encode(text)
    assert ids[0] == SPECIAL_IDS["[CLS]"] and ids[-1] == SPECIAL_IDS["[SEP]"]
    assert [text[start:end] for start, end in offsets] == ["", "Red", "CAR", ".", "Bo\u00e4t", "?", ""]
    assert [number for number in ids if number in SPECIAL_IDS.values()] == [101, 1012, 1029, 102]


def test_words_that_are_not_listed_are_spelt(vocabulary):
    _, offsets = vocabulary.encode("owl")
    assert offsets == [(0, 0), (0, 1), (1, 2), (2, 3), (0, 0)]


def test_lines_may_end_as_on_windows(folder, vocabulary, tmp_path):
    path = tmp_path / "vocab.txt"
    path.write_bytes((folder / "vocab.txt").read_bytes().replace(b"\n", b"\r\n"))
    read = read_vocabulary(path)
    assert read.size == vocabulary.size == 1030
    assert [read.encode(text) for text in TEXTS] == [vocabulary.encode(text) for text in TEXTS]


def test_size_counts_the_last_line_with_and_without_its_end(folder, tmp_path):
    path = tmp_path / "vocab.txt"
    path.write_bytes((folder / "vocab.txt").read_bytes().removesuffix(b"\n"))
    assert read_vocabulary(path).size == 1030
    path.write_bytes((folder / "vocab.txt").read_bytes() + "\u4e2d\n\u2028\n".encode())
    assert read_vocabulary(path).size == 1032


def test_tokenizer_json_gives_the_same_tokens(folder, vocabulary, tmp_path):
    transformers = pytest.importorskip("transformers")
    transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True).save_pretrained(tmp_path)
    read = read_vocabulary(tmp_path / "tokenizer.json")
    assert read.size == vocabulary.size
    assert [read.encode(text) for text in TEXTS] == [vocabulary.encode(text) for text in TEXTS]


def changed(folder, change):
    tokens = (folder / "vocab.txt").read_text(encoding="utf-8").split("\n")
    change(tokens)
    return "\n".join(tokens).encode()


REFUSED = {
    "empty": (lambda folder: b"", r"'\[CLS\]' is absent, 101 is expected"),
    "a shifted token": (
        lambda folder: changed(folder, lambda tokens: tokens.insert(1000, "surplus")),
        r"'\.' has the id 1013, 1012 is expected",
    ),
    "another first token": (
        lambda folder: changed(folder, lambda tokens: tokens.insert(0, "surplus")),
        r"'\[CLS\]' has the id 102, 101 is expected",
    ),
    "no question mark": (
        lambda folder: changed(folder, lambda tokens: tokens.__setitem__(1029, "!!")),
        r"'\?' is absent, 1029 is expected",
    ),
    "no unknown token": (
        lambda folder: changed(folder, lambda tokens: tokens.__setitem__(100, "other")),
        r"'\[UNK\]' is absent",
    ),
    "not UTF-8": (lambda folder: "caf\u00e9".encode("latin-1"), r"cannot be read as a vocabulary \(.*utf-8"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_other_files_are_refused_with_one_sentence(folder, tmp_path, case):
    content, message = REFUSED[case]
    path = tmp_path / "vocab.txt"
    path.write_bytes(content(folder))
    assert_refused(path, message)


@pytest.mark.parametrize("content", ["[]", "{", '{"model": 3}', '{"model": {"vocab": [["a", 1]]}}'])
def test_other_json_is_refused_with_one_sentence(tmp_path, content):
    path = tmp_path / "tokenizer.json"
    path.write_text(content)
    assert_refused(path, "cannot be read as a vocabulary")


@pytest.mark.parametrize("number", [-5, 10**12, True, 1.0, "7"])
def test_ids_that_are_none_are_refused(tmp_path, number):
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps({"model": {"vocab": {**SPECIAL_IDS, "[UNK]": 100, "word": number}}}))
    with pytest.raises(
        ValueError, match=r"tokenizer\.json cannot be read as a vocabulary \(model\.vocab is not a table"
    ):
        read_vocabulary(path)


def test_a_tokenizer_of_another_model_is_refused(tmp_path):
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps({"model": {"type": "BPE", "vocab": {"<s>": 0, ".": 4}}}))
    assert_refused(path, r"'\[CLS\]' is absent")


def test_a_missing_file_is_named(tmp_path):
    assert_refused(tmp_path / "vocab.txt", "cannot be read as a vocabulary")


def test_without_tokenizers_a_sentence_says_what_to_install(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(ImportError, match=r"needs tokenizers, which cannot be imported .* install tokenizers"):
        read_vocabulary(folder / "vocab.txt")


def assert_refused(path, message):
    with pytest.raises(ValueError, match=f"{message}.*vocab.txt of bert-base-uncased is accepted$") as refusal:
        read_vocabulary(path)
    assert str(path) in str(refusal.value) and "\n" not in str(refusal.value)
