"""The packages of the export extra, imported when they are needed."""

from __future__ import annotations

from importlib import import_module
from typing import Any


def package(name: str) -> Any:
    """The package of this name; an ImportError that names the extra where it is not installed."""
    try:
        return import_module(name)
    except ImportError as error:
        raise ImportError(f"{error.name} is missing: pip install 'glassgpt[export]'") from error
