"""What the package never does, because it would run code that somebody put into a file. See docs/reliability.md."""

import ast
from pathlib import Path

import pytest

import glassgpt

PACKAGE = Path(glassgpt.__file__).parent
MODULES = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "marshal", "shelve"}
CALLS = {
    "eval", "exec", "torch.load", "torch.save", "dcp.load", "yaml.load", "torch.distributed.checkpoint.load",
}  # fmt: skip
METHODS = {
    "all_gather_object", "gather_object", "broadcast_object_list", "scatter_object_list", "send_object_list",
    "recv_object_list",
}  # fmt: skip
ARGUMENTS = {"allow_pickle", "trust_remote_code", "weights_only"}


def banned(source: str) -> list[str]:
    """The banned things in Python source, as "line: what"."""
    found = []
    for node in ast.walk(ast.parse(source)):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [name for alias in node.names if (name := alias.name.split(".")[0]) in MODULES]
        elif isinstance(node, ast.ImportFrom):
            imported = [f"{node.module}.{alias.name}" for alias in node.names]
            names = [name for name in imported if name in CALLS or (node.module or "").split(".")[0] in MODULES]
        elif isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            names = [called] if called in CALLS or called.split(".")[-1] in METHODS else []
            names += [keyword.arg for keyword in node.keywords if keyword.arg in ARGUMENTS]
        found += [f"line {node.lineno}: {name}" for name in names]
    return found


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_nothing_banned(path: Path) -> None:
    assert banned(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "import os, pickle as p",
        "from pickle import loads",
        "from torch import load",
        "torch.load(path)",
        "torch.save(model, path)",
        "np.load(path, allow_pickle=True)",
        "dist.all_gather_object(parts, part)",
        "eval(text)",
        "exec(text)",
        "AutoModel.from_pretrained(name, trust_remote_code=True)",
    ],
)
def test_the_check_finds_it(source: str) -> None:
    assert banned(source)


def test_the_check_leaves_methods_alone() -> None:
    assert banned("model.eval()\nsafetensors.torch.load(content)\njson.load(file)\nnp.load(path)") == []
