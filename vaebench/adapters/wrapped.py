"""Make an :class:`ImageModel` of functions or of a module, in whatever form their answers come."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from vaebench.core.errors import UserError
from vaebench.core.image_model import Capability, ImageModel, Posterior
from vaebench.core.opening import Opening

MEANS = ("mean", "mu", "loc", "latent", "latents", "z")
LOG_VARIANCES = ("log_variance", "logvar", "log_var")
IMAGES = ("sample", "reconstruction", "images", "x")
FORMS = (
    "return a tensor, a tuple (mean, log-variance), or an object with .latent_dist, .latents, .latent or .mean and "
    ".log_variance"
)

Encode = Callable[[Tensor], Any]
Decode = Callable[[Tensor], Any]
Sample = Callable[[int, torch.Generator], Any]


class WrappedModel(ImageModel):
    """Final: functions of tensors as a model.

    Images reach them in the model's range and precision, and come back as float32 with black 0 and white 1; what lies
    beyond is cut off after the model has been tried.
    """

    def __init__(
        self,
        opening: Opening,
        *,
        encode: Encode | None = None,
        decode: Decode | None = None,
        sample: Sample | None = None,
        modules: Sequence[nn.Module] = (),
        latent_shape: tuple[int, ...] | None = None,
        codebook_size: int | None = None,
        prior: bool | None = None,
    ) -> None:
        """Wrap the functions, and try them on one grey image for what they can do.

        Args:
            opening: how the model is opened.
            encode: images (n, c, h, w) -> anything that :func:`posterior_of` reads.
            decode: latents -> anything that :func:`images_of` reads.
            sample: (n, generator on the CPU) -> images.
            modules: put into evaluation mode, onto the device and into the precision.
            latent_shape: of one image, where there is no encoder to tell.
            codebook_size: of a model whose encoder gives codes.
            prior: whether decoded draws of a standard normal are its samples; by default so of flat latents that have
                a variance, as a VAE has them, and of a decoder alone.

        Raises:
            UserError: the functions fail on an image, or answer in a form that cannot be read.
        """
        self.opening, self._encode, self._decode, self._sample = opening, encode, decode, sample
        self.image_shape, self.codebook_size = opening.image_shape, codebook_size
        self.latent_shape = latent_shape
        self.modules = [module.to(opening.device, opening.dtype).eval() for module in modules]
        for parameter in (parameter for module in modules for parameter in module.parameters()):
            parameter.requires_grad_(False)
        self.can = Capability(0)
        if encode is not None:
            with torch.inference_mode():
                found = self.encode(torch.full((2, *self.image_shape), 0.5, device=opening.device))
            self.latent_shape = tuple(found.mean.shape[1:])
            self.can |= Capability.ENCODE
            self.can |= Capability.VARIANCE if found.log_variance is not None else Capability(0)
            self.can |= Capability.CODES if found.codes is not None else Capability(0)
        if decode is not None:
            if self.latent_shape is None:
                raise UserError(
                    "the model decodes but does not encode, and says no shape of its latents: give it an attribute "
                    "latent_shape, such as (128,)"
                )
            self.can |= Capability.DECODE
        flat = self.latent_shape is not None and len(self.latent_shape) == 1
        usual = decode is not None and (encode is None or (flat and Capability.VARIANCE in self.can))
        if sample is not None or (usual if prior is None else prior and decode is not None):
            self.can |= Capability.SAMPLE

    @property
    def samples_by_its_prior(self) -> bool:
        return Capability.SAMPLE in self.can and self._sample is None

    def encode(self, images: Tensor) -> Posterior:
        assert self._encode is not None
        low, high = self.opening.low, self.opening.high
        given = images if (low, high) == (0, 1) else images * (high - low) + low
        return posterior_of(self._encode(given.to(self.opening.dtype)))

    def decode(self, latents: Tensor) -> Tensor:
        return self.raw(latents).clamp(0, 1)

    def raw(self, latents: Tensor) -> Tensor:
        """Decode to images in which black is 0 and white is 1, and what lies beyond is not cut off."""
        assert self._decode is not None
        return self._scaled(images_of(self._decode(latents.to(self.opening.device, self.opening.dtype))))

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        return self.raw_sample(n, generator).clamp(0, 1)

    def raw_sample(self, n: int, generator: torch.Generator) -> Tensor:
        """Draw images as :meth:`raw` decodes them."""
        if self._sample is None:
            return self.raw(self.prior(n, generator))
        return self._scaled(images_of(self._sample(n, generator)))

    def _scaled(self, made: Tensor) -> Tensor:
        low, high = self.opening.low, self.opening.high
        images = made.float()
        return images if (low, high) == (0, 1) else (images - low) / (high - low)


def of_module(module: nn.Module, opening: Opening) -> WrappedModel:
    """Wrap a module with ``encode``, ``decode`` or ``sample``; its attributes ``latent_shape`` (or ``latent_dim``),
    ``codebook_size`` and ``prior`` (True or False) count where it has them.

    Raises:
        UserError: it has none of the three.
    """
    encode, decode, sample = (getattr(module, name, None) for name in ("encode", "decode", "sample"))
    if encode is None and decode is None and sample is None:
        raise UserError(
            f"{type(module).__name__} has neither encode nor decode nor sample: give it methods of these names, or "
            "return an ImageModel"
        )
    shape = getattr(module, "latent_shape", None) or getattr(module, "latent_dim", None)
    return WrappedModel(
        opening,
        encode=encode,
        decode=decode,
        sample=sample,
        modules=[module],
        latent_shape=(shape,) if isinstance(shape, int) else None if shape is None else tuple(shape),
        codebook_size=getattr(module, "codebook_size", None),
        prior=getattr(module, "prior", None) if isinstance(getattr(module, "prior", None), bool) else None,
    )


def posterior_of(answer: Any) -> Posterior:
    """Read what an encoder returned.

    Raises:
        UserError: it has a form that cannot be read.
    """
    if isinstance(answer, Posterior):
        return answer
    if isinstance(answer, Tensor):
        return Posterior(mean=answer.float())
    if isinstance(answer, tuple | list) and answer:
        first, *rest = answer
        if isinstance(first, Tensor) and rest and isinstance(rest[0], Tensor) and rest[0].shape == first.shape:
            return Posterior(mean=first.float(), log_variance=rest[0].float())
        return posterior_of(first)
    inner = _part(answer, ("latent_dist",))
    if inner is not None:
        return posterior_of(inner)
    mean, log_variance = _part(answer, MEANS), _part(answer, LOG_VARIANCES)
    if log_variance is None and isinstance(variance := _part(answer, ("variance",)), Tensor):
        log_variance = variance.log()
    if getattr(answer, "deterministic", False) is True:
        log_variance = None
    if mean is None and callable(mode := getattr(answer, "mode", None)):  # a distribution of one point
        mean = mode()
    if isinstance(mean, Tensor):
        known = log_variance.float() if isinstance(log_variance, Tensor) else None
        codes = _part(answer, ("codes", "indices"))
        return Posterior(mean=mean.float(), log_variance=known, codes=codes if isinstance(codes, Tensor) else None)
    raise UserError(f"the encoder returned {_said(answer)}, which holds no latents that can be read: {FORMS}")


def images_of(answer: Any) -> Tensor:
    """Read what a decoder returned: a tensor, the first of a tuple, or an object's ``sample``.

    Raises:
        UserError: it has a form that cannot be read.
    """
    if isinstance(answer, Tensor):
        return answer
    if isinstance(answer, tuple | list) and answer:
        return images_of(answer[0])
    found = _part(answer, IMAGES)
    if isinstance(found, Tensor):
        return found
    raise UserError(f"the decoder returned {_said(answer)}, no images: return a tensor (n, c, h, w)")


def _part(answer: Any, names: Sequence[str]) -> Any:
    """Find the first of the names among an answer's items or attributes."""
    for name in names:
        found = answer.get(name) if isinstance(answer, Mapping) else getattr(answer, name, None)
        if found is not None:
            return found
    return None


def _said(answer: Any) -> str:
    if isinstance(answer, Mapping):
        return f"a mapping of {', '.join(map(str, answer)) or 'nothing'}"
    return f"a {type(answer).__name__}"
