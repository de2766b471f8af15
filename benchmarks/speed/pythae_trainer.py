"""pythae's trainer around vaebench's networks: the same weights, batch, loss and optimiser.

Not imported unless it is timed: pythae is a peer (pip install --no-deps pythae cloudpickle pydantic).
"""

import logging
import tempfile
import time

import torch
from pythae.data.datasets import BaseDataset, DatasetOutput
from pythae.models import VAE, VAEConfig
from pythae.models.base.base_utils import ModelOutput
from pythae.models.nn import BaseDecoder, BaseEncoder
from pythae.trainers import BaseTrainer, BaseTrainerConfig
from pythae.trainers.training_callbacks import TrainingCallback
from torch import Tensor, nn

from vaebench.core.dataset import ImageDataset, to_float
from vaebench.core.recipe import Recipe
from vaebench.models import vae as ours
from vaebench.runs.recipes import build_model

# of an optimiser's settings those that change what it computes; the others choose among equal implementations
MEANT = ("betas", "alpha", "eps", "momentum", "centered", "weight_decay", "amsgrad")


class Encoder(BaseEncoder):
    """Mean and log-variance under pythae's names."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> ModelOutput:
        mean, log_variance = self.network(images)
        return ModelOutput(embedding=mean, log_covariance=log_variance)


class Decoder(BaseDecoder):
    """Images in [0, 1], which pythae takes the cross-entropy of."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, latents: Tensor) -> ModelOutput:
        return ModelOutput(reconstruction=torch.sigmoid(self.network(latents)))


class Enough(Exception):
    """The steps to be timed are done: pythae's trainer knows epochs only, and would go on to save the model."""


class StepClock(TrainingCallback):
    """Seconds of training steps alone, epoch by epoch: between epochs pythae copies the best model."""

    def __init__(self, steps: int) -> None:
        self._steps, self._warm, self._done = steps, max(1, steps // 3), 0
        self._last, self._seconds = 0.0, 0.0

    def on_train_step_begin(self, training_config: BaseTrainerConfig, **kwargs: object) -> None:
        """pythae calls it once an epoch, before the loader is asked for anything."""
        self._last = time.perf_counter()

    def on_train_step_end(self, training_config: BaseTrainerConfig, **kwargs: object) -> None:
        """After every step; its trainer has read the loss by then, so that a GPU has nothing left to do but that."""
        if torch.cuda.is_available() and not training_config.no_cuda:
            torch.cuda.synchronize()
        now = time.perf_counter()
        self._done += 1
        if self._done > self._warm:
            self._seconds += now - self._last
        self._last = now
        if self._done == self._steps:
            raise Enough

    @property
    def seconds_a_step(self) -> float:
        return self._seconds / (self._steps - self._warm)


def model_of(model: ours.VAE, shape: tuple[int, int, int]) -> VAE:
    """pythae's VAE with these networks: Bernoulli likelihood summed over pixels, weight 1 on the divergence."""
    config = VAEConfig(input_dim=shape, latent_dim=model.latent_dim, reconstruction_loss="bce")
    return VAE(config, encoder=Encoder(model.encoder), decoder=Decoder(model.decoder))


def loss_of(model: ours.VAE, images: Tensor, seed: int) -> Tensor:
    """Of one batch; its noise comes from the global generator, which draws as any generator of that seed does."""
    torch.manual_seed(seed)
    loss: Tensor = model_of(model, tuple(images.shape[1:]))(DatasetOutput(data=images)).loss
    return loss


def pythae_loop(recipe: Recipe, data: ImageDataset, steps: int, device: str) -> float:
    """Seconds a step of pythae's BaseTrainer, which keeps float images in memory; setting up and saving left out."""
    logging.disable(logging.INFO)
    model = build_model(recipe, data.image_shape, 0)
    assert isinstance(model, ours.VAE)
    optimizer = model.phases()[0].optimizer(model.parameters())
    with tempfile.TemporaryDirectory() as scratch:
        config = BaseTrainerConfig(
            output_dir=scratch,
            per_device_train_batch_size=recipe.batch_size,
            num_epochs=steps,  # more than are needed: the clock ends the training
            optimizer_cls=type(optimizer).__name__,
            optimizer_params={name: value for name, value in optimizer.defaults.items() if name in MEANT},
            learning_rate=optimizer.defaults["lr"],
            no_cuda=not device.startswith("cuda"),
        )
        images = BaseDataset(to_float(data.images), torch.zeros(len(data)))
        clock = StepClock(steps)
        trainer = BaseTrainer(model_of(model, data.image_shape), images, training_config=config, callbacks=[clock])
        try:
            trainer.train()
        except Enough:
            return clock.seconds_a_step
    raise AssertionError("the clock ends the training")
