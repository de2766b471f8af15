"""Train the attribute classifier that vaebench ships as ``toyfaces_cnn``, and write its weights and model card.

    OMP_NUM_THREADS=1 python -m vaebench.perceptual.train_toyfaces_cnn OUTPUT.safetensors

Fixed schedule, no early stopping, no selection: the test split is looked at once, at the end. About six minutes on
one core. Other processors and numbers of threads round otherwise and end in other last bits.
"""

import sys
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from vaebench.core import seeding
from vaebench.core.dataset import ImageDataset, to_float
from vaebench.core.files import sha256_of, write_atomic, write_text
from vaebench.datasets.toyfaces import ToyFaces
from vaebench.perceptual.attribute_cnn import BATCH, BEGUN_ON, RATE, SEED, begin, fit
from vaebench.perceptual.toyfaces_cnn import attribute_stages

EPOCHS = 14
SCALED_ON = 2000  # training images that the mean activations are taken over
RARE = 0.01  # filters that answer at fewer places than this are not scaled
CONVOLUTIONS = ("conv1", "conv2", "conv3", "conv4")
CARD = """# toyfaces_cnn

The attribute classifier that serves vaebench as perceptual network for `toyfaces` and as feature space.

- Architecture: conv 3x3 32 ReLU, max pool 2, conv 3x3 48 ReLU, max pool 2, conv 3x3 72 ReLU, max pool 2,
  conv 3x3 96 ReLU, max pool 2, dense 128 ReLU, dense 40; {parameters:,} parameters; reflection padding.
  Input: colour images (n, 3, 64, 64), float32 in [0, 1]. Output: a logit for each of CelebA's 40 attributes.
- Trained on: toyfaces' training split, all {images:,} images. Fingerprint {fingerprint}.
- How: mean binary cross-entropy, AdamW (weight decay 0.01) with a rate that rises to {rate:g} over the first tenth and
  falls on a cosine to 0, batch {batch}, {epochs} epochs, seed {seed}, mirrored at random, no selection of any kind.
  torch {torch}, CPU, one thread, bfloat16 autocast.
- Start: torch's initial weights, each filter then shifted and scaled to mean 0 and deviation 1 over {begun} training
  images, layer by layer (Krähenbühl et al. 2016), so that few filters die.
- Scale: afterwards each filter of conv1 to conv4 was divided by its mean activation over the first {scaled:,} training
  images and what reads it multiplied by it: mean activations there are 1, and the logits are what they were.
  {left} of 248 filters answer at fewer than one place in 100 and were left as they are.
- Accuracy on toyfaces' test split ({tested:,} images, looked at at the end), mean of the 40 attributes: {accuracy:.2%};
  balanced (mean of the shares found among images with and without the attribute): {balanced:.2%};
  by always saying what most training images are: {majority:.2%}.
  A first version of this network, given up for its dead filters, had been scored on these images, too (97.97%).
- File: toyfaces_cnn.safetensors, sha256 {sha256}.
- Made by: `python -m vaebench.perceptual.train_toyfaces_cnn OUTPUT.safetensors`.
- Not for: photographs. It was taught by drawings; its features mean nothing on faces of people.

| attribute | share | accuracy | balanced |
|---|---|---|---|
{table}
"""


class Scores(NamedTuple):
    """For each of 40 attributes, (40,): test images with it, accuracy, balanced accuracy, and the majority's."""

    share: Tensor
    accuracy: Tensor
    balanced: Tensor
    majority: Tensor


@torch.no_grad()
def normalise(network: nn.Sequential, images: Tensor) -> int:
    """Scale each filter so that its mean activation over ``images`` (uint8) is 1; the logits stay what they are.

    ReLU and pooling let a positive factor through, so what a filter is divided by, its readers are multiplied by.
    A filter that answers almost nowhere is left alone: scaled to a mean of 1, its few answers would drown all
    others. Returns how many these are.
    """
    stages = dict(network.named_children())
    means: dict[str, list[Tensor]] = {name: [] for name in CONVOLUTIONS}
    shares: dict[str, list[Tensor]] = {name: [] for name in CONVOLUTIONS}
    for part in images.split(200):
        hidden = to_float(part)
        for name in CONVOLUTIONS:
            hidden = stages[name](hidden)
            means[name].append(hidden.mean((2, 3)))
            shares[name].append((hidden > 0).float().mean((2, 3)))
    left = 0
    for name, reader in zip(CONVOLUTIONS, (*CONVOLUTIONS[1:], "dense"), strict=True):
        mean, rare = torch.cat(means[name]).mean(0), torch.cat(shares[name]).mean(0) < RARE
        factor = torch.where(rare, torch.ones_like(mean), mean)
        weight, bias = stages[name].parameters()
        weight.div_(factor[:, None, None, None])
        bias.div_(factor)
        read = next(stages[reader].parameters())
        per_input = read.shape[1] // len(factor)  # 1, or the pixels of each channel that the dense layer reads
        read.mul_(factor.repeat_interleave(per_input).view(1, -1, *[1] * (read.ndim - 2)))
        left += int(rare.sum())
    return left


@torch.no_grad()
def score(network: nn.Module, test: ImageDataset, training: ImageDataset) -> Scores:
    """Measure how well the signs of the logits tell the attributes of ``test``."""
    assert test.attributes is not None
    assert training.attributes is not None
    says = torch.cat([network(to_float(part)) > 0 for part in test.images.split(500)])
    has = test.attributes
    found = (says & has).sum(0) / has.sum(0)
    spared = (~says & ~has).sum(0) / (~has).sum(0)
    usual = training.attributes.float().mean(0) > 0.5
    return Scores(
        has.float().mean(0), (says == has).float().mean(0), (found + spared) / 2, (usual == has).float().mean(0)
    )


def card(scores: Scores, training: ImageDataset, tested: int, left: int, sha256: str) -> str:
    """Format the model card."""
    columns = zip(training.attribute_names, *(part.tolist() for part in scores[:3]), strict=True)
    rows = [f"| {name} | {share:.1%} | {right:.1%} | {balanced:.1%} |" for name, share, right, balanced in columns]
    return CARD.format(
        parameters=sum(parameter.numel() for parameter in nn.Sequential(attribute_stages()).parameters()),
        images=len(training),
        fingerprint=training.fingerprint,
        rate=RATE,
        batch=BATCH,
        epochs=EPOCHS,
        seed=SEED,
        torch=torch.__version__,
        begun=BEGUN_ON,
        scaled=SCALED_ON,
        left=left,
        tested=tested,
        accuracy=scores.accuracy.mean().item(),
        balanced=scores.balanced.mean().item(),
        majority=scores.majority.mean().item(),
        sha256=sha256,
        table="\n".join(rows),
    )


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main(output: Path) -> None:
    """Train, scale, test, write the weights and the card beside them."""
    training = ToyFaces().load("train")
    with seeding.isolated(SEED, "initialisation"):
        network = nn.Sequential(attribute_stages())
    begin(network, training.images[:BEGUN_ON])
    network.to(memory_format=torch.channels_last)
    fit(network, training, EPOCHS, _say)
    network.to(memory_format=torch.contiguous_format)
    left = normalise(network, training.images[:SCALED_ON])
    test = ToyFaces().load("test")
    scores = score(network, test, training)
    weights = {name: value.contiguous() for name, value in network.state_dict().items()}
    write_atomic(output, lambda temporary: save_file(weights, temporary))
    text = card(scores, training, len(test), left, sha256_of(output))
    write_text(output.with_suffix(".md"), text)
    sys.stdout.write(text)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]))
