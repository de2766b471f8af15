"""Images read ahead are those that were asked for, whether they were expected or not."""

import numpy as np
import torch

from vaebench.training.streaming import StreamedImages

IMAGES = torch.arange(40 * 2 * 3 * 3, dtype=torch.int64).remainder(251).to(torch.uint8).view(40, 2, 3, 3)


def test_rows_come_as_expected_unexpected_and_after_a_change_of_mind():
    stream = StreamedImages(IMAGES, torch.device("cpu"))
    first, second = torch.tensor([3, 1, 39]), torch.tensor([0, 0, 7])
    assert torch.equal(stream.take("a", first), IMAGES[first])  # nobody expected it
    stream.expect("b", second)
    assert torch.equal(stream.take("b", second), IMAGES[second])
    stream.expect("c", first)
    assert torch.equal(stream.take("d", second), IMAGES[second])  # something else than expected
    stream.expect("d", second)
    assert torch.equal(stream.take("c", first), IMAGES[first])  # what was expected before is gone


def test_it_reads_ahead_before_it_is_asked():
    fetched = []

    class Watched(StreamedImages):
        def _fetch(self, rows):
            fetched.append(rows.tolist())
            return super()._fetch(rows)

    stream = Watched(IMAGES, torch.device("cpu"))
    stream.expect("a", torch.tensor([5]))
    stream._coming["a"].result()
    assert fetched == [[5]]
    stream.take("a", torch.tensor([5]))
    assert fetched == [[5]]  # and not again


def test_a_memory_map_serves(tmp_path):
    np.save(tmp_path / "images.npy", IMAGES.numpy())
    mapped = torch.from_numpy(np.load(tmp_path / "images.npy", mmap_mode="c"))
    rows = torch.tensor([38, 2])
    assert torch.equal(StreamedImages(mapped, torch.device("cpu")).take(0, rows), IMAGES[rows])
