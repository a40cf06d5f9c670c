import pytest
import torch
import torch.nn.functional as F

from glassgpt.kernels import onednn
from glassgpt.model.gpt import GPT, initialize

pytestmark = pytest.mark.skipif(not onednn.is_available(), reason="this build of torch has no oneDNN")


@pytest.mark.parametrize("shape", [(1, 48), (7, 48), (2, 5, 48)])
@pytest.mark.parametrize("has_bias", [True, False])
def test_product_and_gradients_equal_the_plain_linear(shape, has_bias):
    generator = torch.Generator().manual_seed(1)

    def leaves():
        generator.manual_seed(1)
        shapes = [shape, (33, 48)] + ([(33,)] if has_bias else [])
        return [torch.randn(s, generator=generator).requires_grad_() for s in shapes]

    plain, fast = leaves(), leaves()
    expected, result = F.linear(*plain), onednn.linear(*fast)
    torch.testing.assert_close(result, expected)
    cotangent = torch.randn(expected.shape, generator=generator)
    expected.backward(cotangent)
    result.backward(cotangent)
    for a, b in zip(fast, plain, strict=True):
        torch.testing.assert_close(a.grad, b.grad)


@pytest.mark.parametrize("tied_head", [True, False])
def test_a_model_computes_the_same_and_keeps_its_parameters(tiny, tied_head):
    config = tiny.model_copy(update={"tied_head": tied_head})
    plain, fast = initialize(GPT(config), 1), initialize(GPT(config), 1)
    onednn.use_onednn(fast)
    assert type(fast.blocks[0].mlp.up) is onednn.OneDnnLinear
    tokens = torch.arange(40).view(2, 20)
    torch.testing.assert_close(fast(tokens), plain(tokens))
    for model in (plain, fast):
        model(tokens).square().mean().backward()
    assert list(fast.state_dict()) == list(plain.state_dict())
    gradients = dict(plain.named_parameters())
    for name, parameter in fast.named_parameters():
        torch.testing.assert_close(parameter.grad, gradients[name].grad)


def test_other_dtypes_go_the_plain_way(tiny):
    model = initialize(GPT(tiny), 1).bfloat16()
    tokens = torch.arange(20)[None]
    expected = model(tokens)
    onednn.use_onednn(model)
    assert torch.equal(model(tokens), expected)
