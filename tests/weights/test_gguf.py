"""llama.cpp is the judge of what we write; what it or its tools write, we read."""

import json
import os

import numpy as np
import pytest
import torch

from glassgpt.model.config import ModelConfig
from glassgpt.model.gpt import GPT
from glassgpt.tokenizer.tokenizer import Tokenizer
from glassgpt.tokenizer.training import train
from glassgpt.weights.formats import open_model, write_model
from glassgpt.weights.gguf_header import read_header
from glassgpt.weights.names import GGUF, HUGGING_FACE
from glassgpt.weights.opened import Opened

gguf = pytest.importorskip("gguf", reason="needs the export extra")

PROMPT = "the cat sat on the mat and"


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return train(["the cat sat on the mat and the dog sat on the log, every effort moves you forward"], 280)


def build(tokenizer: Tokenizer, **changes: object) -> GPT:
    """A model of rows that can be cut into blocks, its weights large enough that its choices differ clearly.

    It never chooses half a character, which llama.cpp would hold back and join to the next token.
    """
    sizes = {"vocab_size": tokenizer.vocab_size, "context_length": 128, "emb_dim": 64, "num_heads": 4, "num_layers": 3}
    model = GPT(ModelConfig.model_validate({**sizes, **changes}))
    torch.manual_seed(1)
    for name, parameter in model.named_parameters():  # biases too, so that a lost one shows
        torch.nn.init.normal_(parameter, float("norm.weight" in name), 0.1)
    halves = [id for id in range(tokenizer.vocab_size) if not tokenizer.token_bytes(id).isascii()]
    (model.token_embedding if model.head is None else model.head).weight.data[halves] = 0.0
    return model.eval()


def written(model: GPT, tokenizer: Tokenizer, path, dtype: str | None = None) -> Opened:
    write_model(Opened.of(model, tokenizer), "gguf", path, dtype)
    return open_model(path)


@torch.no_grad()
def continued(model: GPT, ids: list[int], count: int) -> tuple[list[int], list[list[float]]]:
    """The greedy continuation and the three highest logprobs at each of its places."""
    ids, tops = list(ids), []
    for _ in range(count):
        logprobs = model(torch.tensor([ids]))[0, -1].log_softmax(-1)
        tops.append(logprobs.topk(3).values.tolist())
        ids.append(int(logprobs.argmax()))
    return ids[-count:], tops


def continued_by_llama(path, ids: list[int], count: int) -> tuple[list[int], list[list[float]]]:
    """The same by llama.cpp, its cache in float32: the float16 of its choice would blur the logprobs."""
    llama = pytest.importorskip("xllamacpp", reason="needs llama.cpp (pip install xllamacpp)")
    params = llama.CommonParams()
    params.model.path, params.n_ctx, params.warmup, params.n_parallel = str(path), 128, False, 1
    params.cache_type_k = params.cache_type_v = llama.ggml_type.GGML_TYPE_F32
    params.cpuparams.n_threads = 1
    answer = llama.Server(params).handle_completions(
        {"prompt": ids, "max_tokens": count, "temperature": 0, "logprobs": 3, "ignore_eos": True}
    )
    if not isinstance(answer, dict):
        answer = json.loads(answer)
    places = answer["choices"][0]["logprobs"]["content"]
    return [place["id"] for place in places], [[top["logprob"] for top in place["top_logprobs"]] for place in places]


@pytest.mark.parametrize("changes", [{}, {"tied_head": False}, {"qkv_bias": False}])
def test_llama_cpp_computes_what_we_compute(tokenizer, tmp_path, changes):
    model = build(tokenizer, **changes)
    written(model, tokenizer, tmp_path / "model.gguf")
    ids = tokenizer.encode(PROMPT)
    tokens, tops = continued(model, ids, 8)
    llama_tokens, llama_tops = continued_by_llama(tmp_path / "model.gguf", ids, 8)
    assert llama_tokens == tokens
    torch.testing.assert_close(torch.tensor(llama_tops), torch.tensor(tops), rtol=0, atol=2e-3)  # GELU from a table


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "q8_0", "q5_0", "q4_0"])
def test_llama_cpp_and_we_read_the_same_numbers_from_smaller_files(tokenizer, tmp_path, dtype):
    again = written(build(tokenizer), tokenizer, tmp_path / "model.gguf", dtype).build()
    ids = tokenizer.encode(PROMPT)
    _, tops = continued(again, ids, 1)
    _, llama_tops = continued_by_llama(tmp_path / "model.gguf", ids, 1)
    torch.testing.assert_close(torch.tensor(llama_tops), torch.tensor(tops), rtol=0, atol=0.05)  # it rounds x, too


@pytest.mark.parametrize("changes", [{}, {"tied_head": False, "qkv_bias": False, "norm_eps": 1e-6}])
def test_float32_comes_back_bit_for_bit(tokenizer, tmp_path, changes):
    model = build(tokenizer, **changes)
    again = written(model, tokenizer, tmp_path / "model.gguf")
    assert (again.format, again.config) == ("gguf", model.config)
    assert again.tokenizer.sha256 == tokenizer.sha256
    assert all(torch.equal(tensor, again.tensors[name]) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize(
    ("dtype", "step"),
    [("float16", 2**-11), ("bfloat16", 2**-8), ("q8_0", 1 / 127), ("q5_0", 1 / 15), ("q4_0", 1 / 7)],
)
def test_smaller_numbers_are_off_by_one_step_at_most(tokenizer, tmp_path, dtype, step):
    """A step is a share of the largest of 32 neighbours."""
    model = build(tokenizer)
    again = written(model, tokenizer, tmp_path / "model.gguf", dtype)
    for name, tensor in model.state_dict().items():
        error = (again.tensors[name].float() - tensor).abs()
        if tensor.dim() < 2 or name == "position_embedding.weight":
            assert (again.facts["dtypes"][name], error.max()) == ("F32", 0)
        else:
            blocks = tensor.unflatten(1, (-1, 32)).abs().amax(-1)
            assert (error.unflatten(1, (-1, 32)).amax(-1) <= blocks * step).all(), name


def test_few_bits_keep_eight_in_the_output_layer(tokenizer, tmp_path):
    tied = written(build(tokenizer), tokenizer, tmp_path / "tied.gguf", "q4_0").facts["dtypes"]
    untied = written(build(tokenizer, tied_head=False), tokenizer, tmp_path / "untied.gguf", "q4_0").facts["dtypes"]
    assert (tied["token_embedding.weight"], tied["blocks.0.mlp.up.weight"]) == ("Q8_0", "Q4_0")
    assert (untied["token_embedding.weight"], untied["head.weight"]) == ("Q4_0", "Q8_0")


def test_rows_that_are_no_whole_blocks_become_float16(model, bytes_tokenizer, tmp_path):
    kinds = written(model, bytes_tokenizer, tmp_path / "model.gguf", "q8_0").facts["dtypes"]  # 48 wide, 192 inside
    assert (kinds["blocks.0.mlp.up.weight"], kinds["blocks.0.mlp.down.weight"]) == ("F16", "Q8_0")


def test_a_padded_vocabulary_is_cut_to_the_tokenizers(tokenizer, tmp_path):
    model = build(tokenizer, vocab_size=320)
    again = written(model, tokenizer, tmp_path / "model.gguf")
    assert again.config.vocab_size == tokenizer.vocab_size
    tokens = torch.tensor([tokenizer.encode(PROMPT)])
    assert torch.equal(again.build()(tokens), model(tokens)[..., : tokenizer.vocab_size])


def test_a_model_without_a_tokenizer_is_refused(tokenizer, tmp_path):
    with pytest.raises(ValueError, match="a GGUF file holds a tokenizer, this model came without one: name it"):
        write_model(Opened.of(build(tokenizer)), "gguf", tmp_path / "model.gguf")
    assert list(tmp_path.iterdir()) == []


def test_the_names_are_those_of_llama_cpps_converter():
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.GPT2, 2)
    ours = {foreign.names[0].format(1) for foreign in GGUF.values()}
    theirs = {names.get_name(foreign.names[0].format(1), (".weight", ".bias")) for foreign in HUGGING_FACE.values()}
    assert ours == theirs


def test_gguf_reads_what_we_write(tokenizer, tmp_path):
    written(build(tokenizer), tokenizer, tmp_path / "model.gguf", "q8_0")
    reader = gguf.GGUFReader(tmp_path / "model.gguf")
    assert reader.fields["general.file_type"].contents() == gguf.LlamaFileType.MOSTLY_Q8_0
    assert reader.fields["tokenizer.ggml.tokens"].contents()[tokenizer.eot] == "<|endoftext|>"
    assert {tensor.tensor_type.name for tensor in reader.tensors} == {"F32", "Q8_0"}


def rewritten(source, path, change=lambda name, tensor, kind: [(name, tensor, kind)], keys=()) -> None:
    """The file ``source`` written again by the gguf package alone, with changed tensors and further keys."""
    reader, writer = gguf.GGUFReader(source), gguf.GGUFWriter(path, "gpt2")
    changed = dict(keys)
    for name, field in reader.fields.items():
        if not name.startswith("GGUF.") and name != "general.architecture":
            kind, element = field.types[0], field.types[-1] if len(field.types) > 1 else None
            writer.add_key_value(name, changed.get(name, field.contents()), kind, element)
    for tensor in reader.tensors:
        for name, numbers, kind in change(tensor.name, tensor.data, tensor.tensor_type):
            writer.add_tensor(name, numbers, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def test_an_output_layer_that_repeats_the_embedding_is_tied(tokenizer, tmp_path):
    """As llama.cpp's converter wrote GPT-2 until 2024."""
    written(build(tokenizer), tokenizer, tmp_path / "model.gguf")

    def doubled(name, tensor, kind):
        return [(name, tensor, kind)] + ([("output.weight", tensor, kind)] if name == "token_embd.weight" else [])

    rewritten(tmp_path / "model.gguf", tmp_path / "old.gguf", doubled)
    again = open_model(tmp_path / "old.gguf")
    assert again.config == build(tokenizer).config
    assert again.facts["notes"] == ["output.weight repeats token_embd.weight: the output layer is tied"]


@pytest.mark.parametrize("kind", ["Q4_1", "Q5_1"])
def test_blocks_that_are_only_read(tokenizer, tmp_path, kind):
    written(model := build(tokenizer), tokenizer, tmp_path / "model.gguf")
    number = gguf.GGMLQuantizationType[kind]

    def smaller(name, tensor, before):
        return [
            (name, gguf.quants.quantize(np.array(tensor), number), number)
            if "ffn_up.w" in name
            else (name, tensor, before)
        ]

    rewritten(tmp_path / "model.gguf", tmp_path / "small.gguf", smaller)
    again = open_model(tmp_path / "small.gguf").tensors["blocks.1.mlp.up.weight"]
    torch.testing.assert_close(again, model.state_dict()["blocks.1.mlp.up.weight"], rtol=0, atol=0.03)


def test_a_vocabulary_filled_up_with_unused_tokens_is_read(tokenizer, tmp_path):
    written(build(tokenizer), tokenizer, tmp_path / "model.gguf")
    keys = read_header(tmp_path / "model.gguf").keys
    keys["tokenizer.ggml.tokens"] += ["[PAD0]", "[PAD1]"]
    keys["tokenizer.ggml.token_type"] = [*keys["tokenizer.ggml.token_type"], 5, 5]

    def padded(name, tensor, kind):
        return [(name, np.pad(tensor, ((0, 2), (0, 0))) if name == "token_embd.weight" else tensor, kind)]

    rewritten(tmp_path / "model.gguf", tmp_path / "padded.gguf", padded, keys)
    again = open_model(tmp_path / "padded.gguf")
    assert (again.tokenizer.sha256, again.config.vocab_size) == (tokenizer.sha256, tokenizer.vocab_size + 2)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"gpt2.feed_forward_length": 100}, r"its feed-forward width is 100, this model computes 4 \* 64"),
        ({"gpt2.attention.head_count": 5}, "emb_dim 64 is not divisible by num_heads 5"),
        ({"gpt2.block_count": 4}, r"missing: blk\.3\.attn_norm\.weight"),
        ({"gpt2.block_count": 2}, r"unexpected: blk\.2\.attn_norm\.weight"),
        ({"gpt2.context_length": 100}, r"position_embd\.weight is \(128, 64\), expected \(100, 64\)"),
        ({"gpt2.context_length": 0}, "context_length: Input should be greater than or equal to 1"),
        ({"tokenizer.ggml.model": "llama"}, "its tokenizer is 'llama', this package knows 'gpt2'"),
        (
            {"tokenizer.ggml.pre": "llama-bpe"},
            "its tokenizer cuts text into words as 'llama-bpe', this package only as",
        ),
        ({"tokenizer.ggml.merges": ["a b c"]}, "its tokenizer is no byte-level BPE as GPT-2 has it"),
        ({"tokenizer.ggml.tokens": ["a", "a"]}, "its tokenizer is no byte-level BPE as GPT-2 has it"),
    ],
)
def test_keys_that_contradict_the_tensors_are_refused(tokenizer, tmp_path, keys, message):
    written(build(tokenizer), tokenizer, tmp_path / "model.gguf")
    rewritten(tmp_path / "model.gguf", tmp_path / "wrong.gguf", keys=keys)
    with pytest.raises(ValueError, match=rf"wrong\.gguf.*{message}") as refusal:
        open_model(tmp_path / "wrong.gguf")
    assert "\n" not in str(refusal.value)


def test_another_architecture_is_refused(tmp_path):
    writer = gguf.GGUFWriter(tmp_path / "llama.gguf", "llama")
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with pytest.raises(ValueError, match="its architecture is 'llama', this package reads 'gpt2'"):
        open_model(tmp_path / "llama.gguf")


def test_a_file_cut_off_after_it_was_opened_is_noticed(tokenizer, tmp_path):
    again = written(build(tokenizer), tokenizer, tmp_path / "model.gguf")
    os.truncate(tmp_path / "model.gguf", 100_000)
    with pytest.raises(ValueError, match="it was cut off"):
        dict(again.tensors)
