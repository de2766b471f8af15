"""Train the digit classifier that vaebench ships as ``mnist_cnn``, and write its weights and model card.

    VAEBENCH_DATA=... python -m vaebench.perceptual.train_mnist_cnn OUTPUT.safetensors

Fixed schedule, no early stopping, no selection: the test split is looked at once, at the end.
"""

import sys
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

from vaebench.core import seeding
from vaebench.core.dataset import ImageDataset, to_float
from vaebench.core.files import sha256_of, write_atomic, write_text
from vaebench.datasets.mnist import Mnist
from vaebench.perceptual.mnist_cnn import classifier_stages

SEED, EPOCHS, BATCH = 0, 8, 64
CARD = """# mnist_cnn

The digit classifier that serves vaebench as perceptual network for 28 x 28 digits and as feature space.

- Architecture: conv 3x3 32 (valid) ReLU, max pool 2, conv 3x3 64 ReLU, max pool 2, conv 3x3 64 ReLU,
  dense 64 ReLU, dense 10; 93,322 parameters. Input: grey images (n, 1, 28, 28), float32 in [0, 1].
- Trained on: MNIST's training split, all 60,000 images, as they are. Fingerprint {fingerprint}.
- How: cross-entropy, RMSprop (learning rate 1e-3, decay 0.9) with the rate falling on a cosine to 0, batch {batch},
  {epochs} epochs, seed {seed}, no augmentation, no weight decay, no selection of any kind. torch {torch}, CPU, fp32.
- Accuracy on MNIST's test split (10,000 images, looked at once): {accuracy:.2%}.
- File: mnist_cnn.safetensors, sha256 {sha256}.
- Made by: `python -m vaebench.perceptual.train_mnist_cnn OUTPUT.safetensors`.
- Not for: judging anything but digits; its features mean nothing on other images.
"""


def fit(network: nn.Module, data: ImageDataset) -> None:
    """Train ``network`` on all of ``data`` by the schedule in the model card."""
    assert data.labels is not None
    steps = len(data) // BATCH * EPOCHS
    optimizer = torch.optim.RMSprop(network.parameters(), lr=1e-3, alpha=0.9)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for epoch in range(EPOCHS):
        order = torch.randperm(len(data), generator=seeding.generator(SEED, "order", epoch))
        for rows in order.split(BATCH)[: len(data) // BATCH]:
            loss = functional.cross_entropy(network(to_float(data.images[rows])), data.labels[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        sys.stdout.write(f"epoch {epoch + 1}/{EPOCHS}: last batch's loss {loss.item():.4f}\n")


@torch.no_grad()
def accuracy(network: nn.Module, data: ImageDataset) -> float:
    """Share of images whose largest logit is their label's."""
    assert data.labels is not None
    predicted: Tensor = torch.cat([network(to_float(part)).argmax(1) for part in data.images.split(500)])
    return (predicted == data.labels).float().mean().item()


def main(output: Path) -> None:
    """Train, test, write the weights and the card beside them."""
    training, test = Mnist().load("train"), Mnist().load("test")
    with seeding.isolated(SEED, "initialisation"):
        network = nn.Sequential(classifier_stages())
    fit(network, training)
    reached = accuracy(network, test)
    write_atomic(output, lambda temporary: save_file(network.state_dict(), temporary))
    card = CARD.format(
        fingerprint=training.fingerprint,
        batch=BATCH,
        epochs=EPOCHS,
        seed=SEED,
        torch=torch.__version__,
        accuracy=reached,
        sha256=sha256_of(output),
    )
    write_text(output.with_suffix(".md"), card)
    sys.stdout.write(card)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]))
