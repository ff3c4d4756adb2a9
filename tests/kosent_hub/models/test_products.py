"""Large layers by oneDNN: the same numbers and the same gradients."""

import pytest
import torch

from kosent_hub.models.machine import products


@pytest.fixture
def layers(monkeypatch):
    """A large layer with a bias and a small one, on what counts as a CPU of AMD's."""
    monkeypatch.setattr(products, "_on_amd", lambda: True)
    torch.manual_seed(0)
    found = torch.nn.Sequential(torch.nn.Linear(1024, 1024), torch.nn.Linear(1024, 8, bias=False))
    products.use_onednn(found)
    return found


def test_large_layers_alone_are_computed_otherwise_and_give_the_same(layers):
    assert ["forward" in vars(layer) for layer in layers] == [True, False]
    for shape in ((1, 1024), (2, 3, 1024), (0, 1024)):
        rows = torch.randn(shape)
        with torch.no_grad():
            found = layers(rows)
        expected = torch.nn.functional.linear(rows, layers[0].weight, layers[0].bias)
        assert torch.allclose(found, expected @ layers[1].weight.T, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("trained", [True, False])
def test_gradients_are_the_same(layers, trained):
    layers.requires_grad_(trained)
    rows = torch.randn(2, 3, 1024, requires_grad=True)
    assert ("_Product" in str(layers[0](rows).grad_fn)) != trained
    layers(rows).sum().backward()
    expected = layers[1].weight.sum(dim=0) @ layers[0].weight
    assert torch.allclose(rows.grad, expected.expand(2, 3, -1), rtol=1e-3, atol=1e-4)
    assert (layers[0].weight.grad is not None) == trained
