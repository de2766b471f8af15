"""See a trained run's model as evaluation sees any model."""

from torch import Tensor

from vaebench.core.image_model import Capability, ImageModel, Posterior
from vaebench.core.model import Autoencoder, GenerativeModel


class TrainedModel(ImageModel):
    """Final: a model that was trained here, in evaluation mode; flat latents, standard normal prior."""

    def __init__(self, model: GenerativeModel, image_shape: tuple[int, int, int]) -> None:
        self.model, self.image_shape = model, image_shape
        self.latent_shape = (model.latent_dim,)
        self.can = Capability.DECODE | Capability.SAMPLE
        if isinstance(model, Autoencoder):
            self.can |= Capability.ENCODE | Capability.VARIANCE
        judging = [phase.modules[0] for phase in model.phases() if phase.adversary is not None]
        if judging and isinstance(model, Autoencoder):
            self.adversary = judging[0]

    def encode(self, images: Tensor) -> Posterior:
        assert isinstance(self.model, Autoencoder)
        mean, log_variance = self.model.posterior(images)
        return Posterior(mean=mean, log_variance=log_variance)

    def decode(self, latents: Tensor) -> Tensor:
        return self.model.decode(latents)
