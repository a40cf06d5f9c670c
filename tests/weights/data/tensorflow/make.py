"""How the three checkpoints here were made, by tensorflow-cpu 2.21.0: python make.py

One layer, 4 wide, 2 heads, 5 tokens of vocabulary, 3 of context; the n-th variable in alphabetical order holds
n, n + 1/8, n + 2/8, ... The ``.meta`` files, which nothing here reads, were deleted.
"""

import os
import shutil
from pathlib import Path

import numpy as np
import tensorflow as tf

SHAPES = {
    "model/wte": (5, 4), "model/wpe": (3, 4), "model/ln_f/g": (4,), "model/ln_f/b": (4,),
    "model/h0/ln_1/g": (4,), "model/h0/ln_1/b": (4,), "model/h0/ln_2/g": (4,), "model/h0/ln_2/b": (4,),
    "model/h0/attn/c_attn/w": (1, 4, 12), "model/h0/attn/c_attn/b": (12,),
    "model/h0/attn/c_proj/w": (1, 4, 4), "model/h0/attn/c_proj/b": (4,),
    "model/h0/mlp/c_fc/w": (1, 4, 16), "model/h0/mlp/c_fc/b": (16,),
    "model/h0/mlp/c_proj/w": (1, 16, 4), "model/h0/mlp/c_proj/b": (4,),
}  # fmt: skip
VALUES = {
    name: (n + np.arange(np.prod(SHAPES[name]), dtype=np.float32) / 8).reshape(SHAPES[name])
    for n, name in enumerate(sorted(SHAPES))
}


def saver(directory: Path, num_devices: int) -> None:
    """As OpenAI's checkpoints were written; a file of data for each device."""
    with tf.Graph().as_default():
        for n, (name, value) in enumerate(VALUES.items()):
            with tf.device(f"/cpu:{n % num_devices}"):
                tf.compat.v1.get_variable(name, initializer=value)
        tf.compat.v1.get_variable("global_step", initializer=np.int64(7))
        devices = tf.compat.v1.ConfigProto(device_count={"CPU": num_devices})
        with tf.compat.v1.Session(config=devices) as session:
            session.run(tf.compat.v1.global_variables_initializer())
            tf.compat.v1.train.Saver(sharded=num_devices > 1).save(session, str(directory / "model.ckpt"))


def checkpoint(directory: Path) -> None:
    """As TensorFlow 2 saves: every name has a suffix, and a graph of Python objects lies beside the tensors."""
    root = tf.Module()
    for name, value in VALUES.items():
        *path, leaf = name.split("/")
        module = root
        for part in path:
            if not hasattr(module, part):
                setattr(module, part, tf.Module())
            module = getattr(module, part)
        setattr(module, leaf, tf.Variable(value))
    tf.train.Checkpoint(model=root.model).save(str(directory / "model.ckpt"))


if __name__ == "__main__":
    os.chdir(Path(__file__).parent)  # a relative path stays out of the files
    for name in ("saver", "shards", "checkpoint"):
        directory = Path(name)
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir()
        checkpoint(directory) if name == "checkpoint" else saver(directory, 2 if name == "shards" else 1)
        (directory / "hparams.json").write_text('{"n_vocab": 5, "n_ctx": 3, "n_embd": 4, "n_head": 2, "n_layer": 1}\n')
        for meta in directory.glob("*.meta"):
            meta.unlink()
