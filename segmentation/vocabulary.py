"""The vocabulary of GroundingDINO's text network, BERT's uncased one, and text turned into its tokens."""

import json
from pathlib import Path

# The tokens that part phrases; the network has these ids built in.
SPECIAL_IDS = {"[CLS]": 101, "[SEP]": 102, ".": 1012, "?": 1029}
UNKNOWN = "[UNK]"
LARGEST_ID = 1_000_000  # far beyond what any vocabulary holds
ACCEPTED = "vocab.txt of bert-base-uncased is accepted"


class Vocabulary:
    """size: the number of tokens; each has an id below it. unknown: the id of what is no word of it."""

    def __init__(self, tokens: dict[str, int], name: str):
        """Take the ids of all tokens; name: what messages call the vocabulary.

        Raises:
            ValueError: if this is not BERT's uncased vocabulary.
            ImportError: if tokenizers is not installed.
        """
        for token, expected in SPECIAL_IDS.items():
            if tokens.get(token) != expected:
                found = f"has the id {tokens[token]}" if token in tokens else "is absent"
                raise ValueError(
                    f"{name} is not BERT's uncased vocabulary: '{token}' {found}, {expected} is expected; {ACCEPTED}"
                )
        if UNKNOWN not in tokens:
            raise ValueError(f"{name} is not BERT's uncased vocabulary: '{UNKNOWN}' is absent; {ACCEPTED}")
        try:
            import tokenizers
        except ImportError as error:
            raise ImportError(
                f"reading a prompt needs tokenizers, which cannot be imported ({error}); "
                "install tokenizers, which comes with transformers"
            ) from error
        self.unknown = tokens[UNKNOWN]
        self.size = max(tokens.values()) + 1
        self._tokenizer = tokenizers.BertWordPieceTokenizer(tokens, lowercase=True)

    def encode(self, text: str) -> tuple[list[int], list[tuple[int, int]]]:
        """Ids of the text's tokens between [CLS] and [SEP], and for each the characters of the text that it stands for.

        Letters count as small and without accents. A name of a special token in the text is that token; the ranges of
        [CLS] and [SEP] around the text are empty.
        """
        encoding = self._tokenizer.encode(text)
        return encoding.ids, encoding.offsets


def read_vocabulary(path: Path) -> Vocabulary:
    """Read a vocab.txt, one token a line in the order of their ids, or the tokenizer.json of a Hugging Face folder.

    Raises:
        ValueError: if the file cannot be read or is not BERT's uncased vocabulary.
        ImportError: if tokenizers is not installed.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
        tokens = _tokens_of_json(text) if path.suffix == ".json" else _tokens_of_lines(text)
    except (OSError, ValueError, RecursionError) as error:
        raise ValueError(f"{path} cannot be read as a vocabulary ({error}); {ACCEPTED}") from error
    return Vocabulary(tokens, str(path))


def _tokens_of_lines(text: str) -> dict[str, int]:
    # Not splitlines: some tokens are characters at which it would part a line. Reading has made CRLF a line feed.
    return {token: number for number, token in enumerate(text.removesuffix("\n").split("\n"))}


def _tokens_of_json(text: str) -> dict[str, int]:
    model = json.loads(text)
    model = model.get("model") if isinstance(model, dict) else None
    tokens = model.get("vocab") if isinstance(model, dict) else None
    if not isinstance(tokens, dict) or not all(_is_id(number) for number in tokens.values()):
        raise ValueError("model.vocab is not a table of tokens and ids")
    return tokens


def _is_id(number: object) -> bool:
    return isinstance(number, int) and not isinstance(number, bool) and 0 <= number < LARGEST_ID
