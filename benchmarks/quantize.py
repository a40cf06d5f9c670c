"""What fewer bits cost: size and bits per byte of a model in every precision, and of llama.cpp's formats beside them.

    python benchmarks/quantize.py MODEL [--text FILE] [--characters 65536] [--stride N]

MODEL is a trained one: a run, a directory, a file of any format or a hub id. Each precision is written, loaded again
and scored on the same text (the bundled Shakespeare unless one is named) by the same code; GGUF files, written with the
gguf package, are scored as the float32 numbers they stand for. Sizes are those of the files with the weights. Prints
the table that docs/quantization.md quotes.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path

from _report import print_machine

import glassgpt
from glassgpt.data.documents import SHAKESPEARE, read
from glassgpt.generation.text import LanguageModel
from glassgpt.quantization.precision import use_precision
from glassgpt.weights.formats import open_model, write_model
from glassgpt.weights.source import locate

# What a row is called -> the format, its dtype.
WAYS = {
    "float32": ("hf", "float32"),
    "bfloat16": ("hf", "bfloat16"),
    "int8": ("quantized", "int8"),
    "GGUF Q8_0": ("gguf", "q8_0"),
    "GGUF Q5_0": ("gguf", "q5_0"),
    "int4": ("quantized", "int4"),
    "GGUF Q4_0": ("gguf", "q4_0"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--text", type=Path, default=SHAKESPEARE)
    parser.add_argument("--characters", type=int, default=65536, help="of the text that are read")
    parser.add_argument("--stride", type=int)
    args = parser.parse_args()
    print_machine()
    text = "".join(read(args.text))[: args.characters]
    opened = open_model(locate(args.model))
    base = 0.0
    for name, (form, dtype) in WAYS.items():
        if form == "gguf" and find_spec("gguf") is None:
            continue
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "model"
            write_model(opened, form, path, dtype)
            size = sum(file.stat().st_size for file in weights(path))
            if form == "gguf":
                stored = open_model(path)
                gpt = LanguageModel(stored.build(), stored.tokenizer)
                use_precision(gpt.model, "float32")
            else:
                gpt = glassgpt.load(path, precision="bfloat16" if dtype == "bfloat16" else None)
        start = time.perf_counter()
        score = gpt.score(text, args.stride)
        seconds = time.perf_counter() - start
        if not base:
            base = score.bits_per_byte
            print(f"{args.model}, {score.num_bytes:,} bytes, {score.num_tokens:,} tokens, stride {score.stride}\n")
            print("| matrices | MB | bits per byte | change | perplexity | tok/s scored |\n|---|---|---|---|---|---|")
        change = score.bits_per_byte - base
        print(
            f"| {name} | {size / 1e6:,.1f} | {score.bits_per_byte:.4f} | {change:+.4f} ({change / base:+.2%}) | "
            f"{score.perplexity:,.2f} | {score.num_tokens / seconds:,.0f} |",
            flush=True,
        )


def weights(path: Path) -> list[Path]:
    return [path] if path.is_file() else list(path.glob("*.safetensors"))


if __name__ == "__main__":
    main()
