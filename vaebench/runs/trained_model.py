"""See a trained run's model as evaluation sees any model."""

from torch import Tensor

from vaebench.core.errors import UserError
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
        found: object = self.model.posterior(images)  # of a user's own class: anything
        wanted = (len(images), self.model.latent_dim)
        if not (isinstance(found, tuple | list) and [_shape(part) for part in found] == [wanted, wanted]):
            said = [_shape(part) for part in found] if isinstance(found, tuple | list) else _shape(found)
            raise UserError(
                f"{type(self.model).__name__}.posterior returns {said}: return mean and log-variance, each {wanted}"
            )
        mean, log_variance = found
        return Posterior(mean=mean, log_variance=log_variance)

    def decode(self, latents: Tensor) -> Tensor:
        images = self.model.decode(latents)
        wanted = (len(latents), *self.image_shape)
        if _shape(images) != wanted:
            raise UserError(f"{type(self.model).__name__}.decode returns {_shape(images)}: return images {wanted}")
        return images


def _shape(found: object) -> object:
    """Return a tensor's shape, or what else it is."""
    return tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
