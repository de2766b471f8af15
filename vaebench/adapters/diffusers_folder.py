"""Open a local folder of an autoencoder of diffusers."""

import inspect
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vaebench.adapters.wrapped import WrappedModel, images_of, posterior_of
from vaebench.core import input_files
from vaebench.core.errors import UserError, first_line
from vaebench.core.image_model import Posterior
from vaebench.core.opening import Opening

GIVE = "give the folder that holds the autoencoder's config.json and safetensors (of a pipeline, its 'vae')"
PARTS = (".", "vae", "vqvae", "movq")  # where a pipeline's folder has its autoencoder
NOISE = 0  # seed of decoders that draw noise


def open_folder(what: str, opening: Opening) -> WrappedModel:
    """Open ``DIR`` of ``--model diffusers:DIR``; nothing is asked of the network, and no pickle is read.

    Images are in [-1, 1], as all of diffusers has them. Autoencoders of videos see each image as a video of one frame.
    Samples are none: latents of these models are no standard normal, and what draws them is another model.

    Raises:
        UserError: diffusers is not installed, the folder holds no autoencoder of it, or it does not take the images.
    """
    folder = _folder(Path(what).expanduser())
    model = _loaded(_kind(folder), folder, opening.dtype)
    channels = getattr(model.config, "in_channels", opening.image_shape[0])
    if channels != opening.image_shape[0]:
        raise UserError(f"{what} takes images of {channels} channels, these have {opening.image_shape[0]}")
    model.to(opening.device).eval().requires_grad_(False)
    video = _is_of_videos(model, opening)
    entries = getattr(model.config, "num_vq_embeddings", None)

    def encode(images: Tensor) -> Posterior:
        found = posterior_of(model.encode(images.unsqueeze(2) if video else images))
        return found if entries is None else _with_codes(found, model.quantize, images)

    decode = _decoder(model)
    return WrappedModel(
        opening.with_range(-1.0, 1.0),
        encode=encode,
        decode=(lambda latents: _only_frame(decode(latents))) if video else decode,
        codebook_size=entries,
        prior=False,
    )


def _folder(path: Path) -> Path:
    """Find the autoencoder's folder: the one given, or that part of a pipeline."""
    for part in PARTS:
        if (path / part / "config.json").is_file():
            return path / part
    raise UserError(f"{path} holds no config.json: {GIVE}")


def _kind(folder: Path) -> Any:
    """Return the class that the configuration names."""
    try:
        import diffusers  # noqa: PLC0415  # an extra
    except ImportError as error:
        raise UserError("--model diffusers: needs the package: pip install 'vaebench[diffusers]'") from error
    file = folder / "config.json"
    try:
        name = json.loads(input_files.read_bytes(file, most=input_files.SMALL, remedy=GIVE)).get("_class_name")
    except (ValueError, AttributeError) as error:
        raise UserError(f"{file} is no configuration ({first_line(error)}): {GIVE}") from error
    kind = getattr(diffusers, name, None) if isinstance(name, str) and name.isidentifier() else None
    if not (isinstance(kind, type) and issubclass(kind, diffusers.ModelMixin) and hasattr(kind, "decode")):
        raise UserError(f"{file} names {name!r}, which is no autoencoder of diffusers {diffusers.__version__}: {GIVE}")
    return kind


def _loaded(kind: Any, folder: Path, dtype: torch.dtype) -> Any:
    from diffusers.utils import logging  # noqa: PLC0415  # an extra

    if not list(folder.glob("*.safetensors")):
        pickled = ", ".join(sorted(path.name for path in folder.glob("*.bin")))
        if pickled:
            raise UserError(
                f"{folder} holds pickled weights ({pickled}), which could run code: save the model again with "
                "save_pretrained(DIR, safe_serialization=True)"
            )
        raise UserError(f"{folder} holds no safetensors: {GIVE}")
    told = logging.get_verbosity()
    logging.set_verbosity_error()  # advice on packages that would load faster
    try:
        return kind.from_pretrained(
            folder, local_files_only=True, use_safetensors=True, torch_dtype=dtype, low_cpu_mem_usage=False
        )
    except (OSError, ValueError, RuntimeError, KeyError, TypeError) as error:
        raise UserError(f"{folder} does not load as {kind.__name__} ({first_line(error)[:200]}): {GIVE}") from error
    finally:
        logging.set_verbosity(told)


@torch.inference_mode()
def _is_of_videos(model: Any, opening: Opening) -> bool:
    """Tell whether the encoder takes videos (n, c, frames, h, w), by trying."""
    grey = torch.zeros(1, *opening.image_shape, device=opening.device, dtype=opening.dtype)
    try:
        model.encode(grey)
    except Exception as error:
        try:
            model.encode(grey.unsqueeze(2))
        except Exception:
            size = " x ".join(map(str, opening.image_shape))
            raise UserError(
                f"{type(model).__name__} does not take images of {size} ({first_line(error)[:150]}): measure it on "
                "images of its size, such as --set dataset.size=SIZE"
            ) from error
        return True
    return False


def _decoder(model: Any) -> Callable[[Tensor], Tensor]:
    """Return the decoder as a function of latents alone: of one frame each, its noise the same for every image."""
    known = inspect.signature(model.decode).parameters
    more: dict[str, Any] = {"num_frames": 1} if "num_frames" in known else {}
    if "generator" not in known or not _draws_noise(model):
        return lambda latents: images_of(model.decode(latents, **more))

    def one_by_one(latents: Tensor) -> Tensor:
        made = []
        for row in latents.split(1):
            noise = torch.Generator(latents.device).manual_seed(NOISE)
            made.append(images_of(model.decode(row, generator=noise, **more)))
        return torch.cat(made)

    return one_by_one


def _draws_noise(model: Any) -> bool:
    return hasattr(model, "decoder_scheduler")


def _only_frame(videos: Tensor) -> Tensor:
    if videos.shape[2] != 1:
        raise UserError(f"the decoder makes {videos.shape[2]} frames of one image: it is no model of single images")
    return videos[:, :, 0]


def _with_codes(found: Posterior, quantiser: Any, images: Tensor) -> Posterior:
    """Add the numbers of the codebook entries that latents fall to."""
    numbers = quantiser(found.mean.to(images.dtype))[2][2]
    return Posterior(mean=found.mean, codes=numbers.reshape(len(images), -1))
