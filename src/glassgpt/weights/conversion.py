"""From one format to another, with proof: what was written is opened again and compared before anybody sees it."""

from __future__ import annotations

import hashlib
from pathlib import Path

from glassgpt.tokenizer.tokenizer import Tokenizer
from glassgpt.weights.certificate import Certificate, StoredModel
from glassgpt.weights.comparison import compare_behaviour, compare_tensors, remarks
from glassgpt.weights.formats import Progress, open_model, write_model
from glassgpt.weights.opened import Opened
from glassgpt.weights.staging import staged


def convert(
    source: Path,
    destination: Path,
    form: str,
    dtype: str | None = None,
    tokenizer: Tokenizer | None = None,
    progress: Progress | None = None,
) -> Certificate:
    """Writes the model at ``source`` to ``destination`` in another format, and the certificate with it: as
    ``certificate.json`` inside a directory, as ``<name>.certificate.json`` beside a file.

    ``tokenizer`` is for a source that has none, or a wrong one.

    Raises:
        FileExistsError: ``destination`` exists.
        ValueError: the source is damaged or of no known format, or the other format cannot express the model.
        DoesNotHold: the certificate does not; nothing has appeared at ``destination``.
    """
    opened = open_model(source)
    if tokenizer is not None:
        opened = opened.with_tokenizer(tokenizer)
    with staged(destination) as stage:
        write_model(opened, form, stage, dtype, progress)
        written = open_model(stage)
        certificate = Certificate(
            source=described(source, source, opened),
            destination=described(stage, destination, written),
            tensors=compare_tensors(opened, written),
            **compare_behaviour((source, opened), (stage, written)),
            remarks=remarks(opened, written),
        )
        if certificate.failures:
            raise DoesNotHold(certificate)
        certificate_path(stage).write_text(certificate.model_dump_json(indent=2) + "\n", encoding="utf-8")
    return certificate


class DoesNotHold(ValueError):
    """A conversion that changed the model more than its tolerances allow."""

    def __init__(self, certificate: Certificate):
        super().__init__(f"the conversion changed the model: {'; '.join(certificate.failures[:4])}")
        self.certificate = certificate


def certificate_path(path: Path) -> Path:
    """Where the certificate of the model at ``path`` lies."""
    return path / "certificate.json" if path.is_dir() else path.with_name(f"{path.name}.certificate.json")


def described(path: Path, name: Path, opened: Opened) -> StoredModel:
    """One side of the certificate, which calls it ``name``."""
    files = {path.name: path} if path.is_file() else {file.name: file for file in path.iterdir() if file.is_file()}
    hashes = {name: sha256(file) for name, file in sorted(files.items())}
    return StoredModel(path=str(name), format=opened.format, config=opened.config, files=hashes)


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
