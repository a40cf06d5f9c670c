"""A TOML file and ``--a.b VALUE`` options as one validated configuration. Knows no particular configuration."""

from __future__ import annotations

import tomllib
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from glassgpt.cli.options import UsageError, did_you_mean

Model = TypeVar("Model", bound=BaseModel)


def resolve(model: type[Model], toml: Path | None, overrides: dict[str, Any]) -> Model:
    """The configuration ``model`` of a TOML file (None: the defaults) with ``overrides`` by dotted path on top.

    Everything is validated once, together. ``overrides`` come from ``split``.

    Raises:
        UsageError: a key nobody knows, or a value that cannot be; all of them are named.
    """
    values: dict[str, Any] = {}
    if toml is not None:
        try:
            values = tomllib.loads(toml.read_text(encoding="utf-8"))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise UsageError(f"{toml} is not a TOML file: {error}") from error
    for path, value in overrides.items():
        *tables, key = path.split(".")
        table = values
        for name in tables:
            table = table.setdefault(name, {})
            if not isinstance(table, dict):
                raise UsageError(f"--{path}: {name!r} is a value, not a table of values")
        table[key] = value
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise UsageError(explain(error, model, options=overrides)) from error


def split(model: type[BaseModel], arguments: Sequence[str]) -> tuple[list[str], dict[str, Any]]:
    """Separates ``my.toml --optimizer.lr 3e-4 --compile`` into plain arguments and overrides of ``model``'s fields.

    A command takes them all as ``*arguments: Annotated[str, Parameter(allow_leading_hyphen=True)]``; its own options
    are gone by then. Values are text, which the model converts, or ``[0.9, 0.95]`` as in TOML. A bool needs no value.

    Raises:
        UsageError: an option is no field of the model, or its value is missing.
    """
    known, plain, overrides = fields(model), [], {}
    rest = list(arguments)
    while rest:
        argument = rest.pop(0)
        if not argument.startswith("--"):
            plain.append(argument)
            continue
        name, equals, value = argument[2:].partition("=")
        path = name.replace("-", "_")
        if path not in known:
            raise UsageError(f"there is no option --{name}: {suggest(path, model, '--') or 'see --help'}")
        if not equals:
            is_switch, following = known[path].annotation is bool, rest[0] if rest else "--"
            if following in ("true", "false") or not (is_switch or following.startswith("--")):
                value = rest.pop(0)
            elif is_switch:
                value = "true"
            else:
                raise UsageError(f"--{name} needs a value: --{name} VALUE")
        overrides[path] = parse(value)
    return plain, overrides


def parse(value: str) -> Any:
    """A value of the command line: an array as in TOML, everything else as text."""
    if not value.startswith("["):
        return value
    try:
        return tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{value!r} is not an array as TOML has it, such as [0.9, 0.95]: {error}") from error


def fields(model: type[BaseModel], prefix: str = "") -> dict[str, FieldInfo]:
    """Every field of a configuration by its dotted path, nested ones included, in order."""
    found: dict[str, FieldInfo] = {}
    for name, field in model.model_fields.items():
        kinds = [field.annotation, *get_args(field.annotation)]
        nested = next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)), None)
        found |= {f"{prefix}{name}": field} if nested is None else fields(nested, f"{prefix}{name}.")
    return found


def describe(model: type[BaseModel]) -> str:
    """The fields of a configuration as lines for a command's docstring, which is its help: option, default, meaning."""
    lines = []
    for path, field in fields(model).items():
        default = "required" if field.is_required() else field.get_default(call_default_factory=True)
        lines.append(f"  --{path:<28} {default}".rstrip() + (f"  {field.description}" if field.description else ""))
    return "\n".join(lines)


def suggest(path: str, model: type[BaseModel], prefix: str = "") -> str:
    """A suggestion for an unknown path: the field of that name in another table, or the field or table most like it."""
    paths = list(fields(model))
    tables = [path.rpartition(".")[0] for path in paths if "." in path]
    elsewhere = [other for other in paths if other.split(".")[-1] == path.split(".")[-1]]
    if elsewhere:
        return f"did you mean {prefix + elsewhere[0]!r}?"
    return did_you_mean(prefix + path, [prefix + other for other in (*paths, *tables)])


def explain(error: ValidationError, model: type[BaseModel] | None = None, options: Collection[str] = ()) -> str:
    """A validation error as one line a problem: which value, what was given, what was expected."""
    lines = []
    for problem in error.errors():
        path = ".".join(map(str, problem["loc"]))
        name = f"--{path}" if path in options else path
        reason = problem["msg"].removeprefix("Value error, ").replace("Input should be", "expected")
        if problem["type"] == "extra_forbidden":
            hint = suggest(path, model) if model is not None else ""
            lines.append(f"{name} is not a setting: {hint or 'remove it'}")
        elif problem["type"] == "missing":
            lines.append(f"{name} is missing: give it a value")
        elif problem["type"] == "string_pattern_mismatch":  # names alone have a pattern
            lines.append(
                f"{name} is {problem['input']!r}, expected letters, digits, . _ and -, a letter or digit first"
            )
        elif problem["type"] == "value_error":
            lines.append(f"{name}: {reason}" if name else reason)
        else:
            lines.append(f"{name} is {problem['input']!r}, {reason}")
    return "\n  ".join(lines)
