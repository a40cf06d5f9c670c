import subprocess
import sys

import pytest
import torch

from glassgpt.model.gpt import GPT
from glassgpt.model.skeleton import skeleton


@pytest.mark.parametrize("tied_head", [True, False])
def test_a_skeleton_is_the_model_without_storage(tiny, tied_head):
    config = tiny.model_copy(update={"tied_head": tied_head})
    wanted, blank = GPT(config).state_dict(), skeleton(config).state_dict()
    assert list(blank) == list(wanted)
    assert all(tensor.is_meta and tensor.shape == wanted[name].shape for name, tensor in blank.items())


def test_weights_turn_it_into_the_model(model):
    again = skeleton(model.config)
    again.load_state_dict(model.state_dict(), assign=True)
    tokens = torch.arange(8).view(1, 8)
    assert torch.equal(again.eval()(tokens), model(tokens))


def test_it_needs_no_compiler():
    code = (
        "import sys; from glassgpt.model.config import ModelConfig; from glassgpt.model.skeleton import skeleton; "
        "skeleton(ModelConfig(num_layers=1)); sys.exit('torch._dynamo' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
