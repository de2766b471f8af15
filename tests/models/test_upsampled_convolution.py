"""Upsampling and convolution in one against torch's own layers, one after the other."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from vaebench.core import seeding
from vaebench.models.layers import UpsampledConvolution, face_decoder

SIZES = [(1, 1), (1, 2), (3, 1), (2, 2), (3, 4), (5, 5), (8, 7)]
LAYOUTS = [torch.contiguous_format, torch.channels_last]


@pytest.fixture(autouse=True, params=["as on a CPU", "as on a GPU"])
def form(request, monkeypatch):
    """Both forms of the layer, on the CPU."""
    if request.param == "as on a GPU":
        monkeypatch.setattr(UpsampledConvolution, "_in_order", UpsampledConvolution._transposed)


def long_way(layer: UpsampledConvolution) -> nn.Sequential:
    """The same function of copies of the same weights, by torch's layers."""
    channels, outputs = layer.in_channels, layer.out_channels
    bias = layer.bias is not None
    convolution = nn.Conv2d(channels, outputs, 3, padding=1, padding_mode="replicate", bias=bias).to(layer.weight)
    convolution.load_state_dict(layer.state_dict())
    return nn.Sequential(nn.Upsample(scale_factor=2), convolution)


def long_decoder(decoder: nn.Sequential) -> nn.Sequential:
    """A face decoder of torch's layers alone, with copies of its weights."""
    layers = list(decoder)
    for place, layer in enumerate(layers):
        if isinstance(layer, UpsampledConvolution):
            layers[place - 1 : place + 1] = long_way(layer)
    return nn.Sequential(*layers)


def made(channels: int = 3, outputs: int = 4, *, bias: bool = True) -> UpsampledConvolution:
    with seeding.isolated(0, "initialisation"):
        return UpsampledConvolution(channels, outputs, bias=bias)


def maps(*shape: int, seed: int = 1) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("size", SIZES)
def test_values_and_gradients_are_those_of_the_layers_one_after_the_other(size, bias, layout):
    layer = made(bias=bias).double().to(memory_format=layout)
    reference = long_way(layer)
    weighing = maps(2, 4, 2 * size[0], 2 * size[1], seed=2)
    found = []
    for module, parameters in ((layer, layer), (reference, reference[1])):
        images = maps(2, 3, *size).contiguous(memory_format=layout).requires_grad_()
        values = module(images)
        (values * weighing).sum().backward()
        found.append([values, images.grad, *(part.grad for part in parameters.parameters())])
    assert len(found[0]) == 3 + bias
    for ours, theirs in zip(*found, strict=True):
        assert ours.shape == theirs.shape and ours.dtype == torch.float64
        assert (ours - theirs).abs().max().item() < 1e-12


@pytest.mark.parametrize("size", [(1, 1), (2, 3)])
def test_first_and_second_derivatives_are_those_of_finite_differences(size):
    layer = made(2, 2).double()
    images = maps(2, 2, *size).requires_grad_()

    def function(images, weight, bias):
        return torch.func.functional_call(layer, {"weight": weight, "bias": bias}, (images,))

    inputs = (images, layer.weight.detach().requires_grad_(), layer.bias.detach().requires_grad_())
    assert torch.autograd.gradcheck(function, inputs)
    assert torch.autograd.gradgradcheck(function, inputs)


def test_a_row_by_hand():
    """Kernel (1, 10, 100) along the row, times 1 + 1 + 1 down the columns: a map of one row is the same above it."""
    layer = made(1, 1).double()
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([1.0, 10.0, 100.0]).expand(1, 1, 3, 3))
        layer.bias.fill_(0.5)
    found = layer(torch.tensor([[[[1.0, 2.0, 4.0]]]], dtype=torch.float64))
    # of 1 1 2 2 4 4, whose ends are repeated
    row = [3 * value + 0.5 for value in (111, 211, 221, 422, 442, 444)]
    assert found.tolist() == [[[row, row]]]


def test_a_flat_map_stays_flat_and_mirrored_maps_and_weights_mirror_the_result():
    layer = made(bias=False).double()
    flat = layer(torch.ones(1, 3, 4, 5, dtype=torch.float64))
    assert torch.allclose(flat, layer.weight.sum((1, 2, 3))[None, :, None, None].expand(flat.shape), atol=1e-14)
    images = maps(2, 3, 4, 5)
    for axis in (2, 3):
        mirrored = made(bias=False).double()
        mirrored.load_state_dict({"weight": layer.weight.flip(axis)})
        assert torch.allclose(mirrored(images.flip(axis)).flip(axis), layer(images), atol=1e-13)


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("outputs", [1, 4])
def test_layout_and_precision_are_those_of_a_convolution(layout, precision, outputs):
    layer = made(8, outputs).to(memory_format=layout)
    images = maps(2, 8, 6, 5).float().contiguous(memory_format=layout).requires_grad_()
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == torch.bfloat16):
        values = layer(images)
    assert values.dtype == precision and values.is_contiguous(memory_format=layout)
    values.float().square().sum().backward()
    assert images.grad.dtype == layer.weight.grad.dtype == torch.float32


def test_bfloat16_is_as_near_to_the_exact_values_as_the_layers_one_after_the_other():
    layer = made(64, 32)
    images = maps(4, 64, 8, 8)
    exact = long_way(made(64, 32).double())(images)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        ours, theirs = ((way(images.float()) - exact).square().mean().sqrt() for way in (layer, long_way(layer)))
    assert ours < 1.1 * theirs


@pytest.mark.parametrize("bias", [True, False])
def test_weights_are_drawn_and_named_as_a_convolution_s(bias):
    with seeding.isolated(0, "initialisation"):
        plain = nn.Conv2d(3, 4, 3, padding=1, padding_mode="replicate", bias=bias)
        behind = torch.rand(1)
    with seeding.isolated(0, "initialisation"):
        layer = UpsampledConvolution(3, 4, bias=bias)
        assert torch.equal(torch.rand(1), behind)  # not a draw more or less
    assert list(layer.state_dict()) == list(plain.state_dict())
    assert all(torch.equal(part, layer.state_dict()[name]) for name, part in plain.state_dict().items())


@pytest.mark.parametrize("layout", LAYOUTS)
def test_it_compiles_without_a_break_and_without_torch_s_padding(layout):
    """Inductor of torch 2.15 stops at the gradient of torch's replication padding on a CPU (``--compile``)."""
    graphs = []

    def backend(graph, _):
        graphs.append(graph)
        return graph.forward

    layer = made().double().to(memory_format=layout)
    compiled, found = torch.compile(layer, fullgraph=True, backend=backend), []
    for way in (compiled, layer):
        images = maps(2, 3, 4, 5).contiguous(memory_format=layout).requires_grad_()
        values = way(images)
        assert values.is_contiguous(memory_format=layout)
        found.append([values, *torch.autograd.grad(values.square().sum(), [images, layer.weight, layer.bias])])
    for ours, theirs in zip(*found, strict=True):
        assert torch.allclose(ours, theirs, atol=1e-12)
    (graph,) = graphs
    assert not any(node.target is functional.pad for node in graph.graph.nodes)


@pytest.mark.parametrize(("shape", "doublings"), [((3, 64, 64), 4), ((1, 128, 128), 5), ((3, 16, 32), 4)])
def test_the_decoder_is_the_published_one_however_it_is_computed(shape, doublings):
    """Values, gradients and names."""
    with seeding.isolated(0, "initialisation"):
        decoder = face_decoder(shape, 5).double()
    reference = long_decoder(decoder)
    assert sum(isinstance(layer, nn.Upsample) for layer in reference) == doublings
    assert list(reference.state_dict()) == list(decoder.state_dict())
    latents = maps(3, 5)
    values = decoder(latents)
    assert values.shape == (3, *shape) and torch.allclose(values, reference(latents), atol=1e-12)
    found = []
    for module in (decoder, reference):
        module.zero_grad()
        functional.softplus(module(latents)).sum().backward()
        found.append([part.grad.clone() for part in module.parameters()])
    for ours, theirs in zip(*found, strict=True):
        assert torch.allclose(ours, theirs, rtol=1e-9, atol=1e-11)


def test_a_seed_s_decoder_is_the_one_that_it_was_before():
    """Names, sizes and first weights of a checkpoint of 2026-11, and what they make of a latent."""
    with seeding.isolated(0, "initialisation"):
        decoder = face_decoder((3, 64, 64), 100).eval()
    state = decoder.state_dict()
    convolutions = {name: tuple(part.shape) for name, part in state.items() if part.ndim == 4}
    assert convolutions == {
        "3.weight": (128, 256, 3, 3),
        "7.weight": (64, 128, 3, 3),
        "11.weight": (32, 64, 3, 3),
        "15.weight": (3, 32, 3, 3),
    }
    assert len(state) == 22 and sum(part.numel() for part in decoder.parameters()) == 802_083
    weights = [state[name].double().sum().item() for name in convolutions]
    assert weights == pytest.approx([-5.254006, 6.988075, 2.837164, 0.541845], rel=1e-5)
    with torch.no_grad():
        values = decoder(torch.linspace(-2, 2, 100)[None])
    assert values.std().item() == pytest.approx(0.0508979, rel=1e-4)
