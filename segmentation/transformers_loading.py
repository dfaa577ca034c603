"""Networks of transformers from tensors and sizes, and both of them from Hugging Face folders.

transformers is never given a folder: there it follows config.json, the weights' index and adapter_config.json to other files,
packages and addresses. Here a folder's tensors are read as safetensors, and of its config.json only what describes the
network.
"""

import contextlib
import json
import re
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
SHARD = re.compile(r"[\w-]+(\.[\w-]+)*\.safetensors")  # a file in the folder itself
PLAIN = bool, int, float, str, type(None)


def read_configuration(folder: Path, model_type: str, accepted: str) -> dict[str, Any]:
    """All entries of a folder's config.json, which may be a stranger's; accepted: the end of a message.

    Raises:
        ValueError: if it cannot be read, or describes a network of another type.
    """
    try:
        values = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ValueError(f"the folder {folder.name} holds no config.json; {accepted}") from error
    except (OSError, ValueError, RecursionError) as error:
        raise ValueError(f"config.json in the folder {folder.name} cannot be read ({error}); {accepted}") from error
    found = values.get("model_type") if isinstance(values, dict) else None
    if found != model_type:
        raise ValueError(f"the folder {folder.name} holds a network of model_type {found!r}; {accepted}")
    return values


def chosen(values: dict[str, Any], names: Collection[str]) -> dict[str, Any]:
    """The entries of these names that are plain values or lists of such; whatever else there is has no say."""
    return {name: value for name, value in values.items() if name in names and _is_plain(value)}


def _is_plain(value: Any) -> bool:
    return all(isinstance(item, PLAIN) for item in (value if isinstance(value, list) else [value]))


def read_folder(folder: Path, accepted: str) -> dict[str, Tensor]:
    """All tensors of a folder's safetensors; accepted: the end of a message.

    Raises:
        ValueError: if there are none, they cannot be read, or they are said to lie outside of the folder.
    """
    if (folder / WEIGHTS).is_file():
        shards = [WEIGHTS]
    elif (folder / INDEX).is_file():
        shards = _shards(folder, accepted)
    else:
        others = ", ".join(sorted(path.name for path in folder.glob("*.bin")))
        found = f"only {others}, whose form can carry code and is not read" if others else "no weights"
        raise ValueError(f"the folder {folder.name} holds {found}; {accepted}")
    from safetensors.torch import load_file

    weights = {}
    for shard in shards:
        try:
            weights |= load_file(folder / shard)
        except Exception as error:  # what safetensors raises depends on its version
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise ValueError(f"{shard} in the folder {folder.name} cannot be read ({reason}); {accepted}") from error
    return weights


def _shards(folder: Path, accepted: str) -> list[str]:
    try:
        names = sorted(set(json.loads((folder / INDEX).read_text(encoding="utf-8"))["weight_map"].values()))
    except (OSError, ValueError, RecursionError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{INDEX} in the folder {folder.name} cannot be read ({error}); {accepted}") from error
    for name in names:
        if not SHARD.fullmatch(str(name)):
            raise ValueError(
                f"{INDEX} in the folder {folder.name} names {str(name)[:80]!r}, which is no safetensors file in it; {accepted}"
            )
    return names


def loaded(
    model: type[nn.Module], configuration: Any, weights: dict[str, Tensor], ignored: re.Pattern[str], what: str
) -> nn.Module:
    """transformers' network with these weights in float32, for evaluation only. Prints nothing.

    Args:
        model: a class of transformers.
        configuration: of the network.
        weights: by the names of the files on Hugging Face.
        ignored: names of tensors that may be missing or left over, since no result depends on them.
        what: holds the weights, for messages.

    Raises:
        ValueError: unless the weights are just the network's own.
    """
    weights = {name: value.float() if value.is_floating_point() else value for name, value in weights.items()}
    with _silence(), torch.random.fork_rng(devices=[]):  # transformers 4 draws weights that it then replaces
        network, report = model.from_pretrained(
            None,
            config=configuration,
            state_dict=weights,
            ignore_mismatched_sizes=True,  # they are reported, and refused below
            output_loading_info=True,
        )
    for kind, problem in (
        ("mismatched_keys", "of another shape than the network's"),
        ("missing_keys", "missing"),
        ("unexpected_keys", "not part of the network"),
    ):
        names = sorted(key if isinstance(key, str) else key[0] for key in report[kind])
        names = [name for name in names if not ignored.fullmatch(name)]
        if names:
            raise ValueError(
                f"{what}: {names[0]} is {problem} ({len(names)} such); weights that fit their sizes are accepted"
            )
    if report.get("error_msgs"):
        reason = report["error_msgs"][0].splitlines()[0]
        raise ValueError(f"{what}: {reason}; weights that fit their sizes are accepted")
    return network.float().requires_grad_(False).eval()


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """transformers without its progress bars and reports; afterwards it speaks as before."""
    from transformers.utils import logging

    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity(logging.CRITICAL)
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()
