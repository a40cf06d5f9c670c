"""Safetensors headers that lie. What the library writes and reads is in test_directory.py and test_hugging_face.py."""

import json

import pytest
import torch

from glassgpt.weights.files import chunks, read
from glassgpt.weights.safetensors_header import MAX_HEADER_BYTES, is_safetensors

A = {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}
B = {"dtype": "F16", "shape": [4], "data_offsets": [24, 32]}


def written(path, header: object, num_bytes: int = 32):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + bytes(num_bytes))
    return path


def test_tensors_may_lie_in_any_order(tmp_path):
    tensors = read(written(tmp_path / "x.safetensors", {"b": B, "__metadata__": {"format": "pt"}, "a": A}))
    assert {name: tuple(tensor.shape) for name, tensor in tensors.items()} == {"b": (4,), "a": (2, 3)}


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ({"a": A}, "its tensors end at byte .*, the file at"),
        ({"a": A, "b": B | {"data_offsets": [20, 28]}}, "b of shape .* cannot lie from byte"),
        ({"a": A, "b": B | {"data_offsets": [28, 36]}}, "b of shape .* cannot lie from byte"),
        ({"a": A | {"shape": [2, 4]}, "b": B}, "a of shape .* cannot lie from byte"),
        ({"a": A | {"shape": [2**40, 2**40]}, "b": B}, "a of shape .* cannot lie from byte"),
        ({"a": A | {"shape": [0, 3]}, "b": B}, r"a has the shape \(0, 3\)"),
        ({"a": A | {"shape": [-2, -3]}, "b": B}, r"a has the shape \(-2, -3\)"),
        ({"a": A | {"shape": [1] * 9}, "b": B}, "a has the shape"),
        ({"a": A | {"shape": [2.0, 3]}, "b": B}, "a is described in a way"),
        ({"a": A | {"data_offsets": [0, 24, 32]}, "b": B}, "a is described in a way"),
        ({"a": A | {"data_offsets": [False, 24]}, "b": B}, "a is described in a way"),
        ({"a": A | {"dtype": "F8_E4M3"}, "b": B}, "a is described in a way"),
        ({"a": A | {"code": "x"}, "b": B}, "a is described in a way"),
        ({"../a": A, "b": B}, r"'../a' is no name of a tensor"),
        ({"/a": A, "b": B}, "'/a' is no name of a tensor"),
        ({"a" * 300: A, "b": B}, "is no name of a tensor"),
        ({f"t{n}": A for n in range(20_001)}, "it has more than 20,000 tensors"),
        ([A, B], "its header is no JSON object"),
        (b'{"a":1,"a":2}', "it has the key 'a' twice"),
        (b'{"a":NaN}', "it has NaN"),
        (b"[" * 100_000, "nested too deep"),
        (b"[]," * 2**21, "has 2,097,152 opening brackets|nested|Extra data"),
        (b"\xff\xfe{}", "can't decode"),
        (b"{", "Expecting property name"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_header_that_lies_is_refused(tmp_path, header, message):
    with pytest.raises(ValueError, match=rf"x\.safetensors is not a whole safetensors file \((.*{message})"):
        read(written(tmp_path / "x.safetensors", header))


def test_a_huge_header_is_not_even_read(tmp_path):
    path = tmp_path / "x.safetensors"
    path.write_bytes((2**63).to_bytes(8, "little") + b"{}")
    with pytest.raises(ValueError, match="its header of 9,223,372,036,854,775,808 bytes is longer than 16,777,216"):
        read(path)
    assert not is_safetensors(path)
    path.write_bytes(MAX_HEADER_BYTES.to_bytes(8, "little") + b"{}")
    with pytest.raises(ValueError, match="bytes 8 to 16,777,224 are needed, the file has 10"):
        read(path)


def test_a_file_is_recognized_by_its_first_bytes(tmp_path):
    (tmp_path / "x").write_bytes(b"".join(chunks({"a": torch.zeros(2)})))
    assert is_safetensors(tmp_path / "x")
    assert not is_safetensors(tmp_path)
