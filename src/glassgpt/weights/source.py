"""From what a user types to a model directory: a run, a directory, a hub id or a published size's name."""

from __future__ import annotations

import re
from difflib import get_close_matches
from pathlib import Path

from glassgpt.model.config import ALIASES, SIZES

# OpenAI's checkpoints on the Hugging Face hub.
PUBLISHED = {size: f"openai-community/{size}" for size in SIZES if not size.startswith("gpt3")}
FILES = ["*.json", "*.safetensors", "merges.txt"]
OLDER = ["pytorch_model*.bin"]  # what holds the weights where no safetensors do: larger repositories have both

# A small model of English prose that comes with this package.
BUNDLED = "classics"
BUNDLED_DIRECTORY = Path(__file__).parents[1] / "bundled" / BUNDLED

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


def find(source: str | Path) -> Path:
    """The model directory that ``source`` means.

    A directory with ``config.json`` is taken as it is; one with ``checkpoints/`` gives its newest verified checkpoint;
    ``classics`` is the small model that comes with this package;
    ``gpt2`` ... ``gpt2-xl`` (also ``124M`` and the like) and ``owner/name`` are downloaded through huggingface_hub,
    which honours HF_HOME and HF_HUB_OFFLINE.

    Raises:
        FileNotFoundError: nothing of that name is here, or the hub cannot be asked; says what was tried.
        ValueError: the run's checkpoints are all damaged, or the size was never published.
    """
    path, text = Path(source), str(source)
    if (path / "config.json").is_file():
        return path
    if (path / "checkpoints").is_dir():
        return _newest_checkpoint(path)
    if path.exists():
        what = "a file" if path.is_file() else "a directory without config.json or checkpoints/"
        raise FileNotFoundError(
            f"{text} is {what}: give a run, a model directory, a hub id or one of {_sizes()}; a model of another "
            f"format becomes a directory by `glassgpt convert {text} NEW --to hf`"
        )
    if text == BUNDLED:
        return BUNDLED_DIRECTORY
    name = ALIASES.get(text.lower(), text.lower())
    if name in SIZES and name not in PUBLISHED:
        raise ValueError(f"the weights of {name} were never published: choose one of {_sizes()}")
    if name in PUBLISHED:
        return _download(PUBLISHED[name])
    if _HUB_ID.fullmatch(text):
        return _download(text)
    raise FileNotFoundError(
        f"no model {text!r}: no such file or directory{_lookalike(text)}, and neither a hub id (owner/name) nor one of "
        f"{BUNDLED}, {_sizes()}"
    )


def names_model(text: str) -> bool:
    """Whether a text is meant as a model, rather than as something to write: a path, a hub id or a known name."""
    is_path = text.startswith(("/", "./", "../", "~")) or (text != "" and len(text) < 256 and Path(text).exists())
    return is_path or bool(_HUB_ID.fullmatch(text)) or text == BUNDLED or text.lower() in SIZES.keys() | ALIASES.keys()


def locate(source: str | Path) -> Path:
    """The file or directory, of whatever format, that ``source`` means: what is there, or else what ``find`` finds."""
    path = Path(source)
    return path if path.exists() and not (path / "checkpoints").is_dir() else find(source)


def _newest_checkpoint(run: Path) -> Path:
    from glassgpt.weights.checkpoint import newest

    if (checkpoint := newest(run / "checkpoints")) is None:
        raise FileNotFoundError(f"{run} has no checkpoint yet: let `glassgpt train` reach its first one")
    return checkpoint.path


def _download(repository: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, RepositoryNotFoundError

    try:
        path = Path(snapshot_download(repository, allow_patterns=FILES))
        return (
            path
            if any(path.glob("*.safetensors"))
            else Path(snapshot_download(repository, allow_patterns=FILES + OLDER))
        )
    except RepositoryNotFoundError as error:
        raise FileNotFoundError(
            f"the hub has no model {repository!r}, and there is no such directory here{_lookalike(repository)}"
        ) from error
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError) as error:
        raise FileNotFoundError(
            f"could not get {repository}: it is no directory here{_lookalike(repository)}, it is not in the cache "
            f"({_cache()}) and the hub did not answer. Connect to the network, or run `hf download {repository}` where "
            "there is one and copy that cache here (HF_HOME)"
        ) from error


def _lookalike(text: str) -> str:
    """What is beside the place that a path names, and is called nearly so."""
    folder = Path(text).parent
    names = [str(path) for path in folder.iterdir()] if folder.is_dir() else []
    close = get_close_matches(text, names, n=1, cutoff=0.8)
    return f" (did you mean {close[0]}?)" if close else ""


def _cache() -> str:
    from huggingface_hub.constants import HF_HUB_CACHE

    return HF_HUB_CACHE


def _sizes() -> str:
    return ", ".join(PUBLISHED)
