import json

import pytest

from glassgpt.training.torture.savers import facts
from glassgpt.weights.manifest import Manifest, build, decode


@pytest.fixture
def manifest() -> Manifest:
    sha256 = "0" * 64
    return build(
        {
            **facts(),
            "step": 7,
            "created": 1,
            "parent": {"step": 6, "digest": sha256},
            "files": {"config.json": {"bytes": 2, "sha256": sha256}},
            "tensors": {"wte.weight": {"file": "model.safetensors", "dtype": "F32", "shape": [5, 4]}},
        }
    )


def test_round_trip(manifest: Manifest) -> None:
    assert decode(manifest.encode()) == manifest


def test_canonical_form(manifest: Manifest) -> None:
    text = manifest.encode().decode("ascii")
    assert text.endswith("}\n")
    assert text == json.dumps(json.loads(text), sort_keys=True, separators=(",", ":")) + "\n"
    assert '"batch":{"accumulation":1,"global":1,"micro":1,"n_ctx":1}' in text


def test_every_flipped_bit_is_refused(manifest: Manifest) -> None:
    content = manifest.encode()
    for bit in range(8 * len(content)):
        damaged = bytearray(content)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(ValueError, match=r"manifest\.json"):
            decode(bytes(damaged))


NO_MANIFESTS = {
    "empty": b"",
    "list": b"[]\n",
    "null": b"null\n",
    "no fields": b"{}\n",
    "duplicate keys": b'{"step":1,"step":1}\n',
    "not a number": b'{"loss":NaN}\n',
    "deep": b"[" * 100_000,
    "not text": b"\xff\xfe",
    "long number": b"9" * 5000,
}


@pytest.mark.parametrize("content", NO_MANIFESTS.values(), ids=NO_MANIFESTS)
def test_what_is_no_manifest_is_refused(content: bytes) -> None:
    with pytest.raises(ValueError, match=r"manifest\.json"):
        decode(content)


def test_unknown_version_is_refused(manifest: Manifest) -> None:
    later = manifest.model_copy(update={"version": 2})
    with pytest.raises(ValueError, match="version"):
        decode(later.encode())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"metrics": {"loss": float("nan"), "grad_norm": 1.0}}, "metrics.loss: .*finite"),
        ({"metrics": {"loss": 1.0, "grad_norm": float("inf")}}, "metrics.grad_norm: .*finite"),
        ({"step": -1}, "step: "),
        ({"step": True}, "step: "),
        ({"color": "red"}, "color: "),
        ({"seed": None}, "seed: "),
        ({"batch": {"micro": 1, "accumulation": 1, "n_ctx": 1}}, "batch.global: Field required"),
        *(
            ({"files": {name: {"bytes": 0, "sha256": "0" * 64}}}, "files")
            for name in ("../x", "/x", "a/b", ".x", "training/../x", "training/", "x" * 200, "x\n", "")
        ),
    ],
)
def test_bad_facts_are_named(manifest: Manifest, change: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build({**manifest.model_dump(), **change})
