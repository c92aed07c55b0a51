"""Layers with a parameter set per client: the same as one client after the other."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from fedmem.model.layers import LayerNorm, Linear, NumpyLinear, normalised, softmax, take

C, P, D = 3, 5, 4


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def with_parameters(layer: nn.Module, values: dict[str, Tensor]) -> nn.Module:
    for name, value in values.items():
        layer.register_parameter(name, nn.Parameter(value.clone()))
    return layer


@pytest.mark.parametrize(
    ("layer", "values"),
    [
        (lambda: Linear(D, 6), {"weight": drawn(C, 6, D), "bias": drawn(C, 6, seed=1)}),
        (lambda: Linear(D, 6, bias=False), {"weight": drawn(C, 6, D)}),
        (lambda: LayerNorm(D), {"weight": drawn(C, D), "bias": drawn(C, D, seed=1)}),
    ],
    ids=["linear", "linear without bias", "layer norm"],
)
def test_c_clients_at_once_are_c_clients(layer, values):
    x, upstream = drawn(C, P, D, seed=2), drawn(C, P, 6, seed=3)
    together = with_parameters(layer(), values)
    x_together = x.clone().requires_grad_()
    found = together(x_together)
    (found * upstream[..., : found.shape[-1]]).sum().backward()
    for client in range(C):
        alone = with_parameters(layer(), {name: value[client] for name, value in values.items()})
        x_alone = x[client].clone().requires_grad_()
        expected = alone(x_alone)
        (expected * upstream[client, :, : expected.shape[-1]]).sum().backward()
        torch.testing.assert_close(found[client], expected)
        torch.testing.assert_close(x_together.grad[client], x_alone.grad)
        for name, parameter in alone.named_parameters():
            torch.testing.assert_close(together.get_parameter(name).grad[client], parameter.grad)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("same_input", [True, False])
def test_clients_with_the_same_weights_have_gradients_of_their_own(bias: bool, same_input: bool):
    values = {"weight": drawn(6, D)} | ({"bias": drawn(6, seed=1)} if bias else {})
    x, upstream = drawn(C, P, D, seed=2), drawn(C, P, 6, seed=3)
    x = x[0].expand(C, P, D) if same_input else x
    layer, found = Linear(D, 6, bias=bias), []
    for seen in (lambda value: value.expand(C, *value.shape), lambda value: value.repeat(C, *[1] * value.dim())):
        for name, value in values.items():
            layer.register_parameter(name, nn.Parameter(seen(value)))
        own = x.clone().requires_grad_() if not same_input else x
        mapped = layer(own)
        (mapped * upstream).sum().backward()
        gradients = [layer.get_parameter(name).grad for name in values] + ([] if same_input else [own.grad])
        found.append([mapped, *gradients])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other)


def test_gradients_of_the_clients_weights_are_contiguous():
    """As the backward pass makes them: ``.grad`` may be a copy, which is contiguous in any case."""
    layer = with_parameters(Linear(D, 6), {"weight": drawn(C, 6, D), "bias": drawn(C, 6)})
    gradients = torch.autograd.grad(layer(drawn(C, P, D)).sum(), list(layer.parameters()))
    assert all(gradient.is_contiguous() for gradient in gradients)


def test_take_from_one_table_and_from_each_clients_own():
    table, index = drawn(C, 7, D), torch.tensor([[0, 6, 6], [1, 2, 3], [5, 5, 5]])
    table.requires_grad_()
    found = take(table, index)
    torch.testing.assert_close(found, torch.stack([table[client][index[client]] for client in range(C)]))
    torch.testing.assert_close(take(table[0], index), table[0][index])
    found.sum().backward()
    assert table.grad[0, 6].tolist() == [2.0] * D
    assert table.grad[2, 5].tolist() == [3.0] * D
    assert table.grad.sum() == index.numel() * D


# The twins in numpy


def single(layer: nn.Module) -> nn.Module:
    """A layer of drawn numbers in single precision."""
    for seed, parameter in enumerate(layer.parameters()):
        parameter.data = drawn(*parameter.shape, seed=seed).float()
    return layer


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("normal", [True, False])
def test_a_linear_layers_twin(bias: bool, normal: bool) -> None:
    layer, norm, x = single(Linear(D, 6, bias=bias)), single(LayerNorm(D)), drawn(P, D, seed=7).float()
    expected = layer(norm(x) if normal else x).detach().numpy()
    twin = NumpyLinear(layer, norm=norm if normal else None)
    given = normalised(x.numpy(), np.float32(norm.eps)) if normal else x.numpy()
    np.testing.assert_allclose(twin(given), expected, atol=1e-5)
    twin.scale(0.5)
    np.testing.assert_allclose(twin(given), 0.5 * expected, atol=1e-5)


def test_twins_side_by_side() -> None:
    first, second, x = single(Linear(D, 6)), single(Linear(D, 3)), drawn(P, D, seed=7).float()
    expected = torch.cat([first(x), second(x)], dim=-1).detach().numpy()
    np.testing.assert_allclose(NumpyLinear(first, second)(x.numpy()), expected, atol=1e-5)
    np.testing.assert_allclose(NumpyLinear(first).beside(NumpyLinear(second))(x.numpy()), expected, atol=1e-5)


@pytest.mark.parametrize("axis", [-1, -2])
def test_the_softmaxs_twin(axis: int) -> None:
    x = 9 * drawn(C, P, D).float()
    np.testing.assert_allclose(softmax(x.numpy().copy(), axis), x.softmax(axis).numpy(), atol=1e-6)
