"""Find the codes of a vector-quantised model in what its encoder or quantiser returned: only where they can be told."""

from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor, nn

NAMES = ("codes", "indices", "code_indices", "encoding_indices", "min_encoding_indices")
QUANTISERS = ("quantize", "quantizer", "quantise", "quantiser", "vq", "vector_quantizer", "vector_quantization")
SIZES = ("codebook_size", "num_embeddings", "n_e", "n_embed", "num_tokens")  # how published quantisers name it
MEND = "return vaebench.Posterior(mean=..., codes=...) from encode, codes an integer tensor (n, places)"


def codes_in(answer: Any, latents: Tensor) -> tuple[Tensor | None, str]:
    """Find the numbers of codebook entries in an answer.

    Integers under one of :data:`NAMES` are taken by their name; unnamed ones, in a tuple such as taming-transformers'
    (quantised, loss, (perplexity, one-hot, indices)) or lucidrains' (quantised, indices, loss), where exactly one
    tensor has one number a place of spatial latents.

    Args:
        answer: what an encoder or a quantiser returned.
        latents: (n, ...), read from it.

    Returns:
        Codes int64 (n, places), image by image, or None; and why there are none although there are integers, or empty.
    """
    n = len(latents)
    named = [found for name in NAMES if isinstance(found := _part(answer, name), Tensor) and _is_integer(found)]
    if named:
        codes = named[0]
        if not codes.numel() or codes.numel() % n:
            return None, f"its codes {tuple(codes.shape)} cannot be shared out to {n} images: {MEND}"
        return codes.long().reshape(n, -1), ""
    integers = [found for found in _tensors(answer) if _is_integer(found)]
    if not integers:
        return None, ""
    places = latents[0, 0].numel() if latents.ndim > 2 else 0
    fitting = [found for found in integers if places and found.numel() == n * places]
    if len(fitting) == 1:
        return fitting[0].long().reshape(n, -1), ""
    shapes = ", ".join(str(tuple(found.shape)) for found in integers)
    return None, f"which of the integers {shapes} are its codes cannot be told: {MEND}"


def quantiser_of(module: nn.Module) -> nn.Module | None:
    """Find the module's only part that is called a quantiser."""
    found = {id(part): part for name in QUANTISERS if isinstance(part := getattr(module, name, None), nn.Module)}
    return next(iter(found.values())) if len(found) == 1 else None


def entries_of(module: nn.Module) -> int | None:
    """Count the entries of the module's codebook, as it says itself or as its quantiser does; None where the numbers
    differ, or none is given.
    """
    own = getattr(module, "codebook_size", None)
    if isinstance(own, int):
        return own
    quantiser = quantiser_of(module)
    if quantiser is None:
        return None
    said = {value for name in SIZES if isinstance(value := getattr(quantiser, name, None), int)}
    for part in (quantiser, getattr(quantiser, "embedding", None), getattr(quantiser, "embed", None)):
        if isinstance(part, nn.Embedding):
            said.add(part.num_embeddings)
    return said.pop() if len(said) == 1 else None


def _part(answer: Any, name: str) -> Any:
    return answer.get(name) if isinstance(answer, Mapping) else getattr(answer, name, None)


def _is_integer(found: Tensor) -> bool:
    return (
        not (found.is_floating_point() or found.is_complex()) and found.dtype.itemsize > 1
    )  # bytes and truths are none


def _tensors(answer: Any, depth: int = 3) -> Iterator[Tensor]:
    """Go through the tensors of nested tuples and lists."""
    if isinstance(answer, Tensor):
        yield answer
    elif isinstance(answer, tuple | list) and depth:
        for part in answer:
            yield from _tensors(part, depth - 1)
