"""TensorFlow is the judge: what it wrote is read here; where it is installed, it reads what is written here."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from glassgpt.weights.formats import open_model, write_model
from glassgpt.weights.lazy import LazyTensors
from glassgpt.weights.names import OPENAI
from glassgpt.weights.opened import Opened
from glassgpt.weights.tensor_bundle import TensorBundle
from glassgpt.weights.translate import write_as

THEIRS = Path(__file__).parent / "data" / "tensorflow"
TOKENS = torch.arange(50).view(2, 25) * 5


@pytest.fixture
def directory(model, bytes_tokenizer, tmp_path) -> Path:
    write_model(Opened.of(model, bytes_tokenizer), "openai", tmp_path / "117M")
    return tmp_path / "117M"


@pytest.mark.parametrize(
    ("name", "prefix", "skipped"),
    [
        ("saver", "model.ckpt", ["global_step"]),
        ("shards", "model.ckpt", ["global_step"]),
        ("checkpoint", "model.ckpt-1", ["_CHECKPOINTABLE_OBJECT_GRAPH", "save_counter"]),
    ],
)
def test_what_tensorflow_wrote_is_read(name, prefix, skipped):
    bundle = TensorBundle(THEIRS / name / prefix)
    tensors = LazyTensors.at(bundle.stored())
    assert bundle.skipped == skipped
    assert list(tensors) == sorted(tensors)
    for n, tensor in enumerate(tensors.values()):
        assert torch.equal(tensor, n + torch.arange(tensor.numel()).view(tensor.shape) / 8)

    opened = open_model(THEIRS / name)
    assert opened.facts["notes"] == [f"skipped {each}, which is no weight" for each in skipped]
    assert opened.config.num_heads == 2
    back = write_as(OPENAI, dict(opened.tensors), opened.config)
    assert all(torch.equal(back[name], tensor) for name, tensor in tensors.items())


def test_tensorflow_reads_what_is_written(directory, model):
    tensorflow = pytest.importorskip("tensorflow", reason="the judge, TensorFlow, is not installed")
    checkpoint = tensorflow.train.load_checkpoint(str(directory))
    wanted = write_as(OPENAI, model.state_dict(), model.config)
    assert checkpoint.get_variable_to_shape_map() == {name: list(tensor.shape) for name, tensor in wanted.items()}
    assert all(torch.equal(torch.from_numpy(checkpoint.get_tensor(name)), wanted[name]) for name in wanted)


def test_logits_and_tokenizer_come_back(directory, model, bytes_tokenizer):
    opened = open_model(directory)
    assert (opened.format, opened.config) == ("openai", model.config)
    assert opened.tokenizer.sha256 == bytes_tokenizer.sha256
    assert torch.equal(opened.build()(TOKENS), model(TOKENS))


def test_gpt2s_vocabulary_is_openais_to_the_byte(tiny, gpt2_tokenizer, tmp_path):
    from hashlib import sha256

    from glassgpt.model.gpt import GPT

    model = GPT(tiny.model_copy(update={"vocab_size": 50257}))
    write_model(Opened.of(model, gpt2_tokenizer), "openai", tmp_path / "model")
    hashes = {
        name: sha256((tmp_path / "model" / name).read_bytes()).hexdigest() for name in ("encoder.json", "vocab.bpe")
    }
    assert hashes == {
        "encoder.json": "196139668be63f3b5d6574427317ae82f612a97c5d1cdaf36ed2256dbf636783",
        "vocab.bpe": "1ce1664773c50f3e0cc8842619a93edc4624525b728b188a9e0be33b7726adc5",
    }


def test_a_whole_path_in_checkpoint_means_its_last_part(directory):
    (directory / "checkpoint").write_text('model_checkpoint_path: "/home/somebody/models/model.ckpt"\n')
    assert open_model(directory).config.num_layers == 3


@pytest.mark.parametrize("path", ["../117M/model.ckpt", "other/model.ckpt", "", ".."])
def test_a_path_out_of_the_directory_is_refused(directory, path):
    (directory / "checkpoint").write_text(f'model_checkpoint_path: "{path}"\n')
    with pytest.raises(ValueError, match=r"checkpoint: it has .* expected one name in this directory"):
        open_model(directory)


@pytest.mark.parametrize(
    ("hparams", "message"),
    [
        ({"n_layer": 2}, "unexpected: model/h2"),
        ({"n_embd": 96}, r"misshapen: model/wte is \(257, 48\)"),
        ({"n_head": 5}, "emb_dim 48 is not divisible by num_heads 5"),
        ({"n_head": "3"}, "num_heads: Input should be a valid integer"),
        ({"n_layer": 10**9}, "num_layers: Input should be less than or equal to 512"),
    ],
)
def test_sizes_that_contradict_the_tensors_are_refused(directory, hparams, message):
    path = directory / "hparams.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | hparams))
    with pytest.raises(ValueError, match=message):
        open_model(directory)


def test_a_damaged_tensor_is_named_when_it_is_read(directory):
    path = directory / "model.ckpt.data-00000-of-00001"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1  # the last in alphabetical order
    path.write_bytes(content)
    opened = open_model(directory)
    assert opened.tensors["final_norm.weight"].shape == (48,)
    with pytest.raises(
        ValueError, match=r"data-00000-of-00001: model/wte is damaged: its CRC-32C at byte 345,792 is wrong"
    ):
        opened.build()


def test_a_cut_file_is_refused(directory):
    path = directory / "model.ckpt.data-00000-of-00001"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ValueError, match=r"model/wte ends at byte 395,136, model.ckpt.data-00000-of-00001 has 395,135"):
        open_model(directory)
    path.unlink()
    with pytest.raises(FileNotFoundError, match="data-00000-of-00001"):
        open_model(directory)


def test_what_gpt2_cannot_express_is_refused_and_leaves_nothing(model, tiny, tmp_path):
    from glassgpt.model.gpt import GPT

    untied = GPT(tiny.model_copy(update={"tied_head": False}))
    with pytest.raises(ValueError, match="OpenAI's GPT-2 always ties the output layer"):
        write_model(Opened.of(untied), "openai", tmp_path / "model")
    assert list(tmp_path.iterdir()) == []


def test_a_model_without_qkv_bias_gets_zeros(tiny, tmp_path):
    from glassgpt.model.gpt import GPT, initialize

    model = initialize(GPT(tiny.model_copy(update={"qkv_bias": False})), seed=1).eval()
    write_model(Opened.of(model), "openai", tmp_path / "model")
    opened = open_model(tmp_path / "model")
    assert opened.tokenizer is None
    assert not opened.tensors["blocks.2.attention.qkv.bias"].any()
    torch.testing.assert_close(opened.build()(TOKENS), model(TOKENS), rtol=0, atol=1e-6)


def test_only_whole_checkpoints_of_version_2_are_taken_for_one(tmp_path):
    shutil.copytree(THEIRS / "saver", tmp_path / "model")
    (tmp_path / "model" / "model.ckpt.index").write_bytes(b"\x0a\x07")  # where V1 had its tensors
    with pytest.raises(ValueError, match=r"model\.ckpt\.index: it has 2 bytes, an index has 48 to"):
        open_model(tmp_path / "model")
