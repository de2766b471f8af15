"""Frozen layers in the form in which they run under autocast: weights cast and laid out once, ReLU in the convolution.

Autocast casts the weights of a layer anew at every call unless they are being trained, and runs a convolution's bias
and the ReLU behind it as kernels of their own, each of which reads and writes the whole map. A perceptual loss runs
such a network twice a step, so that both cost more than its arithmetic on a GPU. Values are those of the layers as they
were: autocast rounds the same weights in the same way.
"""

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

CAST = (nn.Conv2d, nn.Linear)  # what autocast casts, of the layers that frozen networks have


def laid_out(stage: nn.Module, dtype: torch.dtype) -> nn.Module:
    """Copy a frozen stage with the weights of convolutions and linear layers in ``dtype`` and channels_last.

    Args:
        stage: in evaluation mode, no parameter of which is trained.
        dtype: of autocast.

    Returns:
        A module with the same function under autocast; convolutions with zero padding and the ReLU that follows them in
        a ``nn.Sequential`` are one :class:`FrozenConvolutionReLU`.
    """
    made = copy.deepcopy(stage)
    for part in made.modules():
        if isinstance(part, CAST):
            part.to(dtype=dtype).to(memory_format=torch.channels_last)
    return _joined(made).requires_grad_(False).eval()


def _joined(module: nn.Module) -> nn.Module:
    """Join each convolution of a sequence with the ReLU behind it."""
    if type(module) is not nn.Sequential:
        return module
    joined: list[nn.Module] = []
    for part in map(_joined, module):
        before = joined[-1] if joined else None
        if type(part) is nn.ReLU and type(before) is nn.Conv2d and before.padding_mode == "zeros" and _explicit(before):
            joined[-1] = FrozenConvolutionReLU(before)
        else:
            joined.append(part)
    return nn.Sequential(*joined)


def _explicit(convolution: nn.Conv2d) -> bool:
    """Tell whether the padding is given in pixels, and there is a bias."""
    return not isinstance(convolution.padding, str) and convolution.bias is not None


class FrozenConvolutionReLU(nn.Module):
    """A convolution that is not trained, its bias and ReLU: one kernel forward on a GPU, two backward.

    Images (n, c, h, w) of any float dtype -> maps of the weight's dtype. Gradients go to the images alone.
    """

    weight: Tensor
    bias: Tensor

    def __init__(self, convolution: nn.Conv2d) -> None:
        super().__init__()
        assert convolution.bias is not None and not isinstance(convolution.padding, str)
        self.register_buffer("weight", convolution.weight.detach())
        self.register_buffer("bias", convolution.bias.detach())
        self._settings = (convolution.stride, convolution.padding, convolution.dilation, convolution.groups)

    def forward(self, images: Tensor) -> Tensor:
        maps: Tensor = _ConvolutionReLU.apply(images.to(self.weight.dtype), self.weight, self.bias, self._settings)
        return maps


class _ConvolutionReLU(torch.autograd.Function):
    """``relu(conv2d(images, weight, bias))``, whose gradient is that of the images."""

    @staticmethod
    def forward(ctx: Any, images: Tensor, weight: Tensor, bias: Tensor, settings: Any) -> Tensor:
        maps = _convolution_relu(images, weight, bias, settings)
        ctx.save_for_backward(images, weight, maps)
        ctx.settings = settings
        return maps

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        images, weight, maps = ctx.saved_tensors
        stride, padding, dilation, groups = ctx.settings
        passed = torch.ops.aten.threshold_backward(gradient, maps, 0)
        wanted = (True, False, False)
        found = torch.ops.aten.convolution_backward(
            passed, images, weight, None, stride, padding, dilation, False, [0, 0], groups, wanted
        )
        return found[0], None, None, None


_REFUSED: set[tuple[torch.device, torch.dtype]] = set()  # where cuDNN has no such kernel


def _convolution_relu(images: Tensor, weight: Tensor, bias: Tensor, settings: Any) -> Tensor:
    kind = images.device, weight.dtype
    if images.is_cuda and kind not in _REFUSED and torch.backends.cudnn.is_available():
        try:
            return torch.cudnn_convolution_relu(images, weight, bias, *settings)
        except RuntimeError:  # of this card, cuDNN or precision
            _REFUSED.add(kind)
    return functional.conv2d(images, weight, bias, *settings).relu_()
