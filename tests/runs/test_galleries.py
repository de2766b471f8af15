"""Galleries: what comes back, in how few bytes, and that those of earlier versions are still read."""

import hashlib
import json

import numpy as np
import pytest

from vaebench.core.errors import UserError
from vaebench.runs.galleries import load_gallery, save_gallery


def noise(*shape):
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def smooth():
    across, down = np.meshgrid(np.linspace(0, 150, 64), np.linspace(0, 100, 64))
    grain = np.random.default_rng(0).normal(0, 0.5, (20, 64, 64, 3))
    return ((across + down)[None, :, :, None] + grain).clip(0, 255).round().astype(np.uint8)


@pytest.mark.parametrize("shape", [(3, 8, 5, 3), (2, 1, 1, 1), (0, 4, 4, 1)])
def test_what_is_saved_comes_back(tmp_path, shape):
    arrays = {"samples": noise(*shape), "reconstructions": np.full((1, 2, 2, 1), 255, np.uint8)}
    save_gallery(tmp_path / "g.npz", arrays, "f00d")
    found = load_gallery(tmp_path / "g.npz", "f00d")
    assert found.keys() == arrays.keys()
    assert all(found[name].dtype == np.uint8 and np.array_equal(found[name], arrays[name]) for name in arrays)
    assert load_gallery(tmp_path / "g.npz", "beef") == {}


def test_smooth_images_take_fewer_bytes_than_their_pixels(tmp_path):
    np.savez_compressed(tmp_path / "pixels.npz", samples=smooth())
    save_gallery(tmp_path / "g.npz", {"samples": smooth()})
    assert (tmp_path / "g.npz").stat().st_size < (tmp_path / "pixels.npz").stat().st_size * 0.75


def earlier(path, arrays):
    """A gallery as earlier versions wrote it."""
    digest = hashlib.sha256()
    for name, pixels in sorted(arrays.items()):
        digest.update(f"{name} {pixels.dtype} {pixels.shape}".encode() + pixels.tobytes())
    about = json.dumps({"sha256": digest.hexdigest(), "weights_sha256": "f00d"}).encode()
    np.savez_compressed(path, **arrays, about=np.frombuffer(about, np.uint8))


def test_galleries_of_earlier_versions_are_read_and_damage_is_seen(tmp_path):
    arrays = {"samples": noise(3, 8, 5, 3)}
    earlier(tmp_path / "g.npz", arrays)
    assert np.array_equal(load_gallery(tmp_path / "g.npz", "f00d")["samples"], arrays["samples"])
    with np.load(tmp_path / "g.npz") as stored:
        about = stored["about"]
    np.savez_compressed(tmp_path / "g.npz", samples=noise(3, 8, 5, 3) + np.uint8(1), about=about)
    with pytest.raises(UserError, match="sha256 is not that of its content"):
        load_gallery(tmp_path / "g.npz")


def test_images_without_pixels_are_refused(tmp_path):
    save_gallery(tmp_path / "g.npz", {"samples": noise(3, 1, 0, 1)})
    with pytest.raises(UserError, match="'samples' is no set of images"):
        load_gallery(tmp_path / "g.npz")
