"""A TOML file and dotted options become one configuration; every mistake names its place and what would be right."""

from typing import Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field

from glassgpt.cli.options import UsageError
from glassgpt.cli.settings import describe, resolve, split


class Optimizer(BaseModel):
    model_config = ConfigDict(extra="forbid")
    lr: float = Field(default=1e-3, gt=0, description="the peak of the schedule")
    weight_decay: float = 0.1
    betas: tuple[float, float] = (0.9, 0.95)


class Run(BaseModel):
    model_config = ConfigDict(extra="forbid")
    name: str = Field(default="run", pattern="^[a-z0-9]+$")
    steps: int = 100
    compile: bool = False
    precision: Literal["float32", "bfloat16"] = "float32"
    optimizer: Optimizer = Optimizer()


@pytest.fixture
def toml(tmp_path):
    path = tmp_path / "run.toml"
    path.write_text('name = "small"\nsteps = 7\n[optimizer]\nlr = 0.1\n')
    return path


def test_without_anything_the_defaults_hold():
    assert resolve(Run, None, {}) == Run()


def test_options_come_after_the_file_and_leave_the_rest_of_it(toml):
    plain, overrides = split(Run, ["text.txt", "--optimizer.lr", "3e-4", "--compile", "--steps=9", "more.txt"])
    assert plain == ["text.txt", "more.txt"]
    assert resolve(Run, toml, overrides) == Run(name="small", steps=9, compile=True, optimizer=Optimizer(lr=3e-4))


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--name", "2024"], Run(name="2024")),
        (["--compile", "false"], Run(compile=False)),
        (["--compile", "text.txt"], Run(compile=True)),
        (["--optimizer.weight-decay", "0"], Run(optimizer=Optimizer(weight_decay=0))),
        (["--optimizer.betas", "[0.8, 0.9]"], Run(optimizer=Optimizer(betas=(0.8, 0.9)))),
    ],
)
def test_values_take_the_type_of_their_field(arguments, expected):
    _, overrides = split(Run, arguments)
    assert resolve(Run, None, overrides) == expected


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--stpes", "3"], "there is no option --stpes: did you mean '--steps'?"),
        (["--lr", "3"], "there is no option --lr: did you mean '--optimizer.lr'?"),
        (["--optimizer.lrr", "3"], "there is no option --optimizer.lrr: did you mean '--optimizer.lr'?"),
        (["--steps"], "--steps needs a value: --steps VALUE"),
        (["--steps", "--compile"], "--steps needs a value: --steps VALUE"),
        (["--steps", "many"], "--steps is 'many', expected a valid integer, unable to parse string as an integer"),
        (["--optimizer.lr", "-1"], "--optimizer.lr is '-1', expected greater than 0"),
        (["--precision", "half"], "--precision is 'half', expected 'float32' or 'bfloat16'"),
        (["--name", "../up"], "--name is '../up', expected letters, digits, . _ and -, a letter or digit first"),
        (["--optimizer.betas", "[0.8"], "'[0.8' is not an array as TOML has it, such as [0.9, 0.95]"),
    ],
)
def test_a_wrong_option_is_named(arguments, message):
    with pytest.raises(UsageError) as caught:
        resolve(Run, None, split(Run, arguments)[1])
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[optimizr]\nlr = 1", "optimizr is not a setting: did you mean 'optimizer'?"),
        ("[optimizer]\nlrr = 1", "optimizer.lrr is not a setting: did you mean 'optimizer.lr'?"),
        ("lr = 1", "lr is not a setting: did you mean 'optimizer.lr'?"),
        ("steps = 'x'\nname = 1", "name is 1, expected a valid string\n  steps is 'x', expected a valid integer"),
        ("steps = ", "run.toml is not a TOML file: Invalid value"),
    ],
)
def test_a_wrong_file_is_explained(tmp_path, text, message):
    path = tmp_path / "run.toml"
    path.write_text(text)
    with pytest.raises(UsageError) as caught:
        resolve(Run, path, {})
    assert message in str(caught.value)
    assert "pydantic" not in str(caught.value)


def test_help_names_every_field_with_its_default():
    lines = describe(Run).splitlines()
    assert [line.split()[0] for line in lines][:4] == ["--name", "--steps", "--compile", "--precision"]
    assert "--optimizer.lr" in lines[4] and lines[4].endswith("0.001  the peak of the schedule")
