"""What a run tells of a GPU: its name, its tensors' memory, and the share of its peak where a data sheet states one."""

import numpy as np
import pytest
import torch

from glassgpt.data.shards import write
from glassgpt.inspection.samples import samplers
from glassgpt.training.accelerators import accelerator_of
from glassgpt.training.config import ModelShape, RunConfig, SamplesConfig
from glassgpt.training.hooks import Event, Sample, Update
from glassgpt.training.loop import train
from glassgpt.training.run import Run

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")


def test_updates_tell_of_the_gpu_and_samples_are_written_on_it(tmp_path, bytes_tokenizer):
    ids = np.random.default_rng(0).integers(0, 256, 4000).tolist()
    facts = bytes_tokenizer.vocab_size, bytes_tokenizer.eot, bytes_tokenizer.sha256
    write(tmp_path, {"train": [ids], "val": [ids]}, *facts)
    shape, samples = ModelShape(context_length=64, emb_dim=128, num_heads=2, num_layers=2), SamplesConfig(every=2)
    run = Run(
        RunConfig(steps=2, batch_size=8, precision="bfloat16", model=shape, samples=samples), bytes_tokenizer, tmp_path
    )
    heard: list[Event] = []
    train(run, tmp_path, [*samplers(run), heard.append])
    update = next(event for event in heard if isinstance(event, Update))
    assert any(isinstance(event, Sample) for event in heard)
    assert 12 * run.model.config.num_parameters < update.memory <= torch.cuda.max_memory_allocated()
    assert run.utilization.device == torch.cuda.get_device_name()
    assert (update.mfu is not None) == (accelerator_of(run.utilization.device) is not None)
