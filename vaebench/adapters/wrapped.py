"""Make an :class:`ImageModel` of functions or of a module, in whatever form their answers come."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from vaebench.adapters.codebooks import MEND, codes_in, entries_of, quantiser_of
from vaebench.core.errors import UserError, first_line
from vaebench.core.image_model import Capability, ImageModel, Posterior
from vaebench.core.opening import Opening

MEANS = ("mean", "mu", "loc", "latent", "latents", "z", "quantized", "quantised", "z_q")
LOG_VARIANCES = ("log_variance", "logvar", "log_var")
OTHER_CODES = 0.05  # share of an image's codes that may differ in another batch: distances that are all but equal
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
        quantiser: nn.Module | None = None,
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
            quantiser: latents -> an answer with codes, of a model whose encoder does not give them itself.
            prior: whether decoded draws of a standard normal are its samples; by default so of flat latents that have
                a variance, as a VAE has them, and of a decoder alone.

        Raises:
            UserError: the functions fail on an image, or answer in a form that cannot be read.
        """
        self.opening, self._encode, self._decode, self._sample = opening, encode, decode, sample
        self.image_shape, self.codebook_size = opening.image_shape, codebook_size
        self.latent_shape, self._quantiser = latent_shape, quantiser
        self.modules = [module.to(opening.device, opening.dtype).eval() for module in modules]
        for parameter in (parameter for module in modules for parameter in module.parameters()):
            parameter.requires_grad_(False)
        self.can = Capability(0)
        if encode is not None:
            with torch.inference_mode():
                found = self.encode(torch.full((2, *self.image_shape), 0.5, device=opening.device))
                self._try_codes()
            self.latent_shape = tuple(found.mean.shape[1:])
            self.can |= Capability.ENCODE
            self.can |= Capability.VARIANCE if found.log_variance is not None else Capability(0)
            with_codes = found.codes is not None and Capability.CODES not in self.lacks
            self.can |= Capability.CODES if with_codes else Capability(0)
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
        answer = self._encode(given.to(self.opening.dtype))
        posterior = posterior_of(answer)
        if isinstance(answer, Posterior) or Capability.CODES in self.lacks:
            return posterior
        codes, reason = codes_in(answer, posterior.mean)
        if codes is None and not reason and self._quantiser is not None:
            codes, reason = self._quantised(posterior.mean)
        if reason:
            self.lacks = {Capability.CODES: reason}
        return replace(posterior, codes=codes)

    def _quantised(self, latents: Tensor) -> tuple[Tensor | None, str]:
        """Ask the quantiser for the codes of latents; one that fails on them is not for them."""
        assert self._quantiser is not None
        try:
            return codes_in(self._quantiser(latents.to(self.opening.dtype)), latents)
        except Exception as error:  # whatever a user's module raises
            reason = (
                f"its quantiser does not take what encode gives ({type(error).__name__}: {first_line(error)[:100]})"
            )
            return None, f"{reason}: {MEND}"

    def _try_codes(self) -> None:
        """Give up codes that do not lie image by image."""
        images = torch.rand(2, *self.image_shape, generator=torch.Generator().manual_seed(0)).to(self.opening.device)
        both = self.encode(images).codes
        if both is None:
            return
        alone = self.encode(images[1:]).codes
        if alone is None or (both[1] != alone[0]).double().mean() > OTHER_CODES:
            self.lacks = {Capability.CODES: f"its codes do not lie image by image: {MEND}"}

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
    ``codebook_size`` and ``prior`` (True or False) count where it has them, and so does a part called ``quantize``.

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
        codebook_size=entries_of(module),
        quantiser=quantiser_of(module),
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
        if not answer.is_floating_point():
            raise UserError(f"the encoder returned integers, which are codes and no latents: {MEND}")
        return Posterior(mean=answer.float())
    if isinstance(answer, tuple | list) and answer:
        first, *rest = answer
        if isinstance(first, Tensor) and rest and _is_variance(rest[0], first):
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
        return Posterior(mean=mean.float(), log_variance=known)
    raise UserError(f"the encoder returned {_said(answer)}, which holds no latents that can be read: {FORMS}")


def _is_variance(found: Any, mean: Tensor) -> bool:
    return isinstance(found, Tensor) and found.shape == mean.shape and found.is_floating_point()


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
