"""transformers is the judge: what we write it computes equally, what it writes we do."""

import itertools
import json

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from glassgpt.inspection.passport import passport
from glassgpt.model.gpt import GPT
from glassgpt.weights.conversion import convert
from glassgpt.weights.directory import load_model, load_tokenizer, save_model
from glassgpt.weights.directory_files import load_config
from glassgpt.weights.formats import open_model
from glassgpt.weights.hugging_face import from_hugging_face, to_hugging_face
from glassgpt.weights.hugging_face_config import config_from_json

TOKENS = torch.arange(50).view(2, 25) * 5


def build(tiny, tied_head=True, qkv_bias=True) -> GPT:
    model = GPT(tiny.model_copy(update={"tied_head": tied_head, "qkv_bias": qkv_bias}))
    torch.manual_seed(1)
    for parameter in model.parameters():  # biases too, so that a lost one shows
        torch.nn.init.normal_(parameter, 0.0, 0.2)
    return model.eval()


def hugging_face_tensors(model: GPT) -> dict[str, torch.Tensor]:
    return dict(to_hugging_face(model.state_dict(), model.config))


@pytest.mark.parametrize(("tied_head", "qkv_bias"), list(itertools.product([True, False], repeat=2)))
def test_logits_are_equal_in_both_directions(tiny, bytes_tokenizer, tmp_path, tied_head, qkv_bias):
    model = build(tiny, tied_head, qkv_bias)
    save_model(model, bytes_tokenizer, tmp_path / "ours")
    theirs, report = transformers.GPT2LMHeadModel.from_pretrained(tmp_path / "ours", output_loading_info=True)
    assert not any(report.values())
    with torch.no_grad():
        torch.testing.assert_close(theirs.eval()(TOKENS).logits, model(TOKENS), rtol=1e-5, atol=1e-4)

    theirs.save_pretrained(tmp_path / "theirs")
    back = load_model(tmp_path / "theirs")
    assert back.config == model.config
    with torch.no_grad():
        assert torch.equal(back(TOKENS), model(TOKENS))


@pytest.mark.parametrize("is_pickled", [False, True], ids=["safetensors", "pytorch_model.bin"])
@pytest.mark.parametrize("tied_head", [True, False])
def test_shards_are_read(tiny, bytes_tokenizer, tmp_path, tied_head, is_pickled):
    """As transformers writes them, and as it wrote them before safetensors: the same index, files of torch.save."""
    model = build(tiny, tied_head)
    save_model(model, bytes_tokenizer, tmp_path / "ours")
    theirs = transformers.GPT2LMHeadModel.from_pretrained(tmp_path / "ours")
    theirs.save_pretrained(tmp_path / "theirs", max_shard_size="100KB")
    index = tmp_path / "theirs" / "model.safetensors.index.json"
    weight_map = json.loads(index.read_text())["weight_map"]
    assert len(set(weight_map.values())) > 2
    if is_pickled:
        for file in set(weight_map.values()):
            torch.save(load_file(tmp_path / "theirs" / file), tmp_path / "theirs" / f"{file}.bin")
            (tmp_path / "theirs" / file).unlink()
        weight_map = {name: f"{file}.bin" for name, file in weight_map.items()}
        index.with_name("pytorch_model.bin.index.json").write_text(
            json.dumps({"metadata": {}, "weight_map": weight_map})
        )
        index.unlink()
    back = load_model(tmp_path / "theirs")
    assert all(torch.equal(tensor, back.state_dict()[name]) for name, tensor in model.state_dict().items())


def test_the_hub_form_without_prefix_and_with_masks_is_read(tiny):
    model = build(tiny)
    tensors = {name.removeprefix("transformer."): tensor for name, tensor in hugging_face_tensors(model).items()}
    tensors["h.0.attn.bias"] = torch.ones(1, 1, 32, 32)
    tensors["h.0.attn.masked_bias"] = torch.tensor(-1e4)
    tensors["lm_head.weight"] = tensors["wte.weight"].clone()
    state = from_hugging_face(tensors, tiny)
    assert all(torch.equal(tensor, state[name]) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop("transformer.h.1.mlp.c_fc.weight"), "missing: transformer.h.1.mlp.c_fc.weight"),
        (lambda t: t.update(extra=torch.zeros(3)), "unexpected: transformer.extra"),
        (
            lambda t: t.update({"transformer.wte.weight": torch.zeros(300, 48)}),
            r"misshapen: transformer.wte.weight is \(300, 48\), expected \(257, 48\)",
        ),
        (lambda t: t.update({"lm_head.weight": torch.zeros(257, 48)}), "lm_head.weight differs"),
    ],
)
def test_tensors_that_do_not_belong_are_refused_by_name(tiny, change, message):
    tensors = hugging_face_tensors(build(tiny))
    change(tensors)
    with pytest.raises(ValueError, match=message):
        from_hugging_face(tensors, tiny)


def test_a_bias_that_the_configuration_denies_is_refused(tiny):
    tensors = hugging_face_tensors(build(tiny))
    with pytest.raises(ValueError, match=r"blocks\.0\.attention\.qkv\.bias is not zero"):
        from_hugging_face(tensors, tiny.model_copy(update={"qkv_bias": False}))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"model_type": "llama"}, "model_type 'llama'"),
        ({"model_type": None}, "model_type None"),
        ({"activation_function": "gelu"}, "activation_function 'gelu'"),
        ({"n_inner": 100}, "n_inner 100"),
        ({"scale_attn_by_inverse_layer_idx": True}, "scale_attn_by_inverse_layer_idx"),
        ({"n_layer": None}, "num_layers"),
    ],
)
def test_configurations_this_model_does_not_compute_are_refused(settings, message):
    sizes = {"vocab_size": 257, "n_positions": 32, "n_embd": 48, "n_head": 3, "n_layer": 3}
    with pytest.raises(ValueError, match=message):
        config_from_json({"model_type": "gpt2", **sizes, **settings})


def test_a_directory_is_a_model_and_a_tokenizer(tiny, bytes_tokenizer, tmp_path):
    save_model(build(tiny), bytes_tokenizer, tmp_path / "model")
    assert load_config(tmp_path / "model") == tiny
    assert load_tokenizer(tmp_path / "model").sha256 == bytes_tokenizer.sha256
    settings = json.loads((tmp_path / "model" / "config.json").read_text())
    assert settings["n_ctx"] == settings["n_positions"] == 32
    assert settings["eos_token_id"] == bytes_tokenizer.eot
    with pytest.raises(FileExistsError, match="remove it or choose another name"):
        save_model(build(tiny), bytes_tokenizer, tmp_path / "model")


def test_a_directory_without_a_tokenizer_can_be_given_one(tiny, bytes_tokenizer, tmp_path):
    """As ``model.save_pretrained`` writes it."""
    save_model(build(tiny), bytes_tokenizer, tmp_path / "model")
    for name in ("tokenizer.json", "vocab.json", "merges.txt", "tokenizer_config.json"):
        (tmp_path / "model" / name).unlink()
    with pytest.raises(FileNotFoundError, match=r"has no tokenizer: .* --to hf --tokenizer gpt2` adds GPT-2's"):
        load_tokenizer(tmp_path / "model")
    found = passport(tmp_path / "model")
    assert (found["vocabulary"], found["commands"]) == (None, ["convert", "compare", "info"])
    convert(tmp_path / "model", tmp_path / "new", "hf", tokenizer=bytes_tokenizer)
    assert load_tokenizer(tmp_path / "new").sha256 == bytes_tokenizer.sha256
    with pytest.raises(ValueError, match="holds a tokenizer, this model came without one: name it"):
        convert(tmp_path / "model", tmp_path / "other", "hf")


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin"])
def test_a_clone_without_its_large_files_is_told_apart(tiny, bytes_tokenizer, tmp_path, name):
    save_model(build(tiny), bytes_tokenizer, tmp_path / "model")
    (tmp_path / "model" / "model.safetensors").unlink()
    (tmp_path / "model" / name).write_text(
        "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 548105171\n"
    )
    with pytest.raises(
        ValueError, match="only Git's note of where the file is: fetch the file itself with git lfs pull"
    ):
        load_model(tmp_path / "model")


def test_integers_are_not_taken_for_weights(tiny, bytes_tokenizer, tmp_path):
    """As other programs store quantized matrices."""
    save_model(build(tiny), bytes_tokenizer, tmp_path / "model")
    tensors = load_file(tmp_path / "model" / "model.safetensors")
    tensors["transformer.h.0.mlp.c_fc.weight"] = tensors["transformer.h.0.mlp.c_fc.weight"].to(torch.int8)
    save_file(tensors, tmp_path / "model" / "model.safetensors")
    with pytest.raises(ValueError, match=r"mlp\.up\.weight is stored as int8: expected floating point"):
        load_model(tmp_path / "model")


def test_a_graph_beside_the_weights_changes_nothing(tiny, bytes_tokenizer, tmp_path):
    save_model(build(tiny), bytes_tokenizer, tmp_path / "model")
    (tmp_path / "model" / "model.onnx").write_bytes(b"somebody's export")
    assert open_model(tmp_path / "model").format == "hf"


def test_a_vocabulary_that_does_not_fit_is_refused_before_anything_is_written(tiny, gpt2_tokenizer, tmp_path):
    with pytest.raises(ValueError, match="the tokenizer has 50257 tokens, the model only 257"):
        save_model(build(tiny), gpt2_tokenizer, tmp_path / "model")
    assert list(tmp_path.iterdir()) == []
