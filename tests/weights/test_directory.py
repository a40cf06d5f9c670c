import json

import pytest
import torch
import transformers
from safetensors.torch import load_file

from glassgpt.weights import directory as directories
from glassgpt.weights.directory import load_model, save_model
from glassgpt.weights.files import chunks, read


def test_large_weights_are_sharded(model, bytes_tokenizer, tmp_path, monkeypatch):
    monkeypatch.setattr(directories, "SHARD_BYTES", 100_000)
    save_model(model, bytes_tokenizer, tmp_path / "model")
    assert len(list((tmp_path / "model").glob("model-*-of-*.safetensors"))) > 2
    again = load_model(tmp_path / "model")
    assert all(torch.equal(tensor, again.state_dict()[name]) for name, tensor in model.state_dict().items())
    theirs = transformers.GPT2LMHeadModel.from_pretrained(tmp_path / "model")
    assert torch.equal(theirs.transformer.wte.weight, model.token_embedding.weight)


def test_an_index_must_agree_with_its_shards(model, bytes_tokenizer, tmp_path, monkeypatch):
    monkeypatch.setattr(directories, "SHARD_BYTES", 100_000)
    save_model(model, bytes_tokenizer, tmp_path / "model")
    path = tmp_path / "model" / "model.safetensors.index.json"
    index = json.loads(path.read_text())
    del index["weight_map"]["transformer.wpe.weight"]
    path.write_text(json.dumps(index))
    with pytest.raises(ValueError, match=r"disagree about transformer\.wpe\.weight"):
        load_model(tmp_path / "model")
    index["weight_map"]["transformer.wpe.weight"] = "../elsewhere.safetensors"
    path.write_text(json.dumps(index))
    with pytest.raises(ValueError, match="a shard is a plain file name in the same directory"):
        load_model(tmp_path / "model")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_weights_keep_or_change_their_dtype(model, bytes_tokenizer, tmp_path, dtype):
    save_model(model.to(dtype), bytes_tokenizer, tmp_path / "model")
    assert load_model(tmp_path / "model").token_embedding.weight.dtype == torch.float32
    assert load_model(tmp_path / "model", dtype=None).token_embedding.weight.dtype == dtype
    assert json.loads((tmp_path / "model" / "config.json").read_text())["dtype"] == str(dtype)[6:]


def test_pytorchs_own_file_is_read_where_there_is_no_other(model, bytes_tokenizer, tmp_path):
    save_model(model, bytes_tokenizer, tmp_path / "model")
    theirs = transformers.GPT2LMHeadModel.from_pretrained(tmp_path / "model")
    (tmp_path / "model" / "model.safetensors").unlink()
    torch.save(theirs.state_dict(), tmp_path / "model" / "pytorch_model.bin")
    again = load_model(tmp_path / "model")
    assert all(torch.equal(tensor, again.state_dict()[name]) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize("keep", [0, 7, 5000, -1])
def test_a_cut_file_is_refused(model, bytes_tokenizer, tmp_path, keep):
    save_model(model, bytes_tokenizer, tmp_path / "model")
    path = tmp_path / "model" / "model.safetensors"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ValueError, match=r"model\.safetensors is not a whole safetensors file"):
        load_model(tmp_path / "model")


def test_a_directory_without_parts_says_what_is_missing(model, bytes_tokenizer, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"it has no config\.json"):
        load_model(tmp_path)
    save_model(model, bytes_tokenizer, tmp_path / "model")
    (tmp_path / "model" / "model.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match=r"holds no model\.safetensors"):
        load_model(tmp_path / "model")
    (tmp_path / "model" / "config.json").write_text("{")
    with pytest.raises(ValueError, match=r"config\.json is not JSON"):
        load_model(tmp_path / "model")


def test_chunks_are_a_file_the_library_reads(tmp_path):
    """And so do we."""
    tensors = {
        "a": torch.arange(6, dtype=torch.bfloat16).view(2, 3).T,
        "b": torch.tensor(3),
        "c": torch.full((2, 3, 4), 7, dtype=torch.int16),
        "d": torch.tensor([True, False]),
    }
    path = tmp_path / "x.safetensors"
    path.write_bytes(b"".join(chunks(tensors, {"origin": "test"})))
    for again in (load_file(path), read(path)):
        assert all(torch.equal(again[name], tensor) for name, tensor in tensors.items())
