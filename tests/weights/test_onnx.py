"""onnxruntime is the judge: it computes from the exported graph what the model computes."""

import shutil

import pytest
import torch

from glassgpt.model.cache import Cache
from glassgpt.model.gpt import GPT
from glassgpt.weights.formats import open_model, write_model
from glassgpt.weights.onnx import Session
from glassgpt.weights.onnx_weights import MODEL, WEIGHTS
from glassgpt.weights.opened import Opened

onnx = pytest.importorskip("onnx", reason="needs the export extra")
pytest.importorskip("onnxruntime", reason="needs the export extra")


def build(tiny, **changes) -> GPT:
    model = GPT(tiny.model_copy(update=changes)).eval()
    torch.manual_seed(1)
    for name, parameter in model.named_parameters():  # biases too, so that a lost one shows
        torch.nn.init.normal_(parameter, float("norm.weight" in name), 0.1)
    return model


@pytest.fixture(scope="module")
def exported(tiny, bytes_tokenizer, tmp_path_factory):
    """A model and the directory it was exported to."""
    model, path = build(tiny), tmp_path_factory.mktemp("onnx") / "model"
    write_model(Opened.of(model, bytes_tokenizer), "onnx", path)
    return model, path


@pytest.mark.parametrize(("batch", "new", "past"), [(1, 7, 0), (3, 1, 9), (1, 1, 1), (2, 5, 27), (1, 32, 0)])
@torch.no_grad()
def test_onnxruntime_computes_what_the_model_computes(exported, batch, new, past):
    model, path = exported
    tokens = torch.randint(257, (batch, past + new), generator=torch.Generator().manual_seed(past))
    session, cache, grown = Session(path), Cache(model.config, batch), None
    if past:
        model(tokens[:, :past], cache)
        _, *grown = session(tokens[:, :past])
    expected = model(tokens[:, past:], cache)
    logits, k, v = session(tokens[:, past:], grown)
    torch.testing.assert_close(logits, expected, rtol=0, atol=1e-5)
    for layer in range(3):
        torch.testing.assert_close(k[layer], cache.layers[layer].k[:, :, : past + new], rtol=0, atol=1e-5)
        torch.testing.assert_close(v[layer], cache.layers[layer].v[:, :, : past + new], rtol=0, atol=1e-5)


def test_the_weights_come_back_bit_for_bit(exported, bytes_tokenizer):
    model, path = exported
    again = open_model(path)
    assert (again.format, again.config) == ("onnx", model.config)
    assert again.tokenizer.sha256 == bytes_tokenizer.sha256
    assert all(torch.equal(tensor, again.tensors[name]) for name, tensor in model.state_dict().items())


def test_an_output_layer_of_its_own_and_no_bias_are_expressed(tiny, tmp_path):
    model = build(tiny, tied_head=False, qkv_bias=False)
    write_model(Opened.of(model), "onnx", tmp_path / "model")
    assert open_model(tmp_path / "model").config == model.config
    assert not (tmp_path / "model" / "tokenizer.json").exists()
    tokens = torch.arange(20).view(2, 10) * 10
    logits, _, _ = Session(tmp_path / "model")(tokens)
    torch.testing.assert_close(logits, model(tokens), rtol=0, atol=1e-5)


def renamed(graph):
    graph.initializer[0].name = "model.wte"


def elsewhere(graph):
    graph.initializer[0].external_data[0].value = "../../etc/passwd"


def half_as_long(graph):
    graph.initializer[0].external_data[2].value = "100"


def beyond_the_end(graph):
    graph.initializer[0].external_data[1].value = str(2**60)


def on_top_of_each_other(graph):
    graph.initializer[1].external_data[1].value = "0"


def of_integers(graph):
    graph.initializer[0].data_type = onnx.TensorProto.INT32


def of_another_shape(graph):
    graph.initializer[0].dims[0] = 2**62


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (renamed, r"missing: token_embedding\.weight"),
        (elsewhere, r"token_embedding\.weight lies in '\.\./\.\./etc/passwd', expected 'model\.onnx\.data'"),
        (half_as_long, r"token_embedding\.weight has 100 bytes, its shape \(257, 48\) takes 49,344"),
        (beyond_the_end, "token_embedding.weight would end at byte 1,152,921,504,606,896,320 of"),
        (on_top_of_each_other, "overlap at byte 0"),
        (of_integers, r"token_embedding\.weight is stored as ONNX type 6, expected 1 \(float32\)"),
        (of_another_shape, r"token_embedding\.weight has 49,344 bytes, its shape \(4611686018427387904, 48\) takes"),
    ],
)
def test_a_graph_whose_weights_cannot_be_is_refused(exported, tmp_path, change, message):
    shutil.copytree(exported[1], tmp_path / "model")
    graph = onnx.load(tmp_path / "model" / MODEL, load_external_data=False)
    change(graph.graph)
    onnx.save(graph, tmp_path / "model" / MODEL)
    with pytest.raises(ValueError, match=message):
        dict(open_model(tmp_path / "model").tensors)


def test_damaged_files_are_refused(exported, tmp_path):
    shutil.copytree(exported[1], tmp_path / "model")
    weights = tmp_path / "model" / WEIGHTS
    weights.write_bytes(weights.read_bytes()[:-1])
    with pytest.raises(ValueError, match=r"model\.onnx\.data was cut off"):
        dict(open_model(tmp_path / "model").tensors)
    (tmp_path / "model" / MODEL).write_bytes(b"\xff" * 100)
    with pytest.raises(ValueError, match=r"model\.onnx: it is no ONNX model"):
        open_model(tmp_path / "model")
