"""VAE and DFC-VAE at 64 x 64, DCGAN, VAE-WGAN and blending: architectures and losses against the papers' words."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from vaebench.core import seeding
from vaebench.core.errors import UserError
from vaebench.core.model import Batch, Step
from vaebench.core.perceptual import Perceptual
from vaebench.models import RECIPES
from vaebench.models.blend import blend
from vaebench.models.chunks import chunk_sides
from vaebench.models.dcgan import DCGAN
from vaebench.models.dfcvae import dfc_face_vae
from vaebench.models.layers import UpsampledConvolution
from vaebench.models.vae import plain_face_vae
from vaebench.models.vaewgan import vae_wgan_faces
from vaebench.perceptual import PERCEPTUAL

FACES = (3, 64, 64)


@pytest.fixture(autouse=True)
def _small_network(monkeypatch):
    """A two-stage network by the name of VGG-19, whose weights are not in the repository."""
    with seeding.isolated(5, "network"):
        stages = {
            "relu1_2": nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()),
            "relu2_1": nn.Sequential(nn.MaxPool2d(2), nn.Conv2d(4, 6, 3), nn.ReLU()),
            "relu3_1": nn.Sequential(nn.MaxPool2d(2), nn.Conv2d(6, 8, 3), nn.ReLU()),
        }
    network = Perceptual("vgg19", stages, channels=3, sha256="0" * 64)
    monkeypatch.setattr(PERCEPTUAL, "get", lambda name: lambda: network)
    return network


def built(factory, **settings):
    with seeding.isolated(0, "initialisation"):
        return factory(image_shape=FACES, **settings)


def batch(n: int = 6) -> Batch:
    return Batch(images=torch.rand(n, *FACES, generator=torch.Generator().manual_seed(1)))


def step(index: int = 0) -> Step:
    return Step(index=index, total=10, generator=torch.Generator().manual_seed(2))


def normal(*shape: int) -> torch.Tensor:
    """What a phase draws first from ``step()``'s generator."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(2))


def loss(model, phase: int, index: int = 0) -> dict[str, float]:
    return {name: term.item() for name, term in model.phases()[phase].loss(batch(), step(index)).items()}


def test_hou_et_al_s_layers():
    """Section 3.1: 32-64-128-256 with 4 x 4 kernels and stride 2; 256 x 4 x 4 up to 128-64-32-3 with 3 x 3."""
    model = built(plain_face_vae)
    down = [part for part in model.encoder if isinstance(part, nn.Conv2d)]
    assert [(part.out_channels, part.kernel_size, part.stride) for part in down] == [
        (width, (4, 4), (2, 2)) for width in (32, 64, 128, 256)
    ]
    up = [part for part in model.decoder if isinstance(part, nn.Conv2d)]
    assert [(part.out_channels, part.kernel_size, part.padding_mode) for part in up] == [
        (width, (3, 3), "replicate") for width in (128, 64, 32, 3)
    ]
    assert model.decoder[0].out_features == 256 * 4 * 4
    assert sum(isinstance(part, UpsampledConvolution) for part in model.decoder) == 4
    assert isinstance(model.decoder[-1], nn.Conv2d)  # no normalisation or activation behind the last
    assert model.posterior(batch().images)[0].shape == (6, 100)


def test_dfc_terms_are_the_paper_s_formula(_small_network):
    """Section 3.2: beta / (2 C W H) * the summed squared difference, per layer, mean over the batch; KL summed."""
    model = built(dfc_face_vae)
    found = loss(model, 0)
    images = batch().images
    mean, log_variance = model.posterior(images)
    made = model.decode(mean + normal(6, 100) * torch.exp(log_variance / 2))
    for layer in ("relu1_2", "relu2_1", "relu3_1"):
        (a,), (b,) = _small_network.features(images, [layer]), _small_network.features(made, [layer])
        _, c, h, w = a.shape
        expected = 0.8 * ((a - b) ** 2).sum() / (2 * c * w * h) / 6
        assert found[f"perceptual_{layer}"] == pytest.approx(expected.item(), rel=1e-4)
    kl = 0.5 * (mean**2 + log_variance.exp() - 1 - log_variance).sum() / 6
    assert found["kl"] == pytest.approx(0.02 * kl.item(), rel=1e-4)
    assert set(found) == {"perceptual_relu1_2", "perceptual_relu2_1", "perceptual_relu3_1", "kl"}


def test_the_rate_is_halved_each_epoch_and_later_where_asked():
    for every, expected in ((1, [5e-4, 2.5e-4, 1.25e-4]), (2, [5e-4, 5e-4, 2.5e-4])):
        phase = built(plain_face_vae, epochs_per_halving=every).phases()[0]
        optimizer = phase.optimizer(phase.modules[0].parameters())
        schedule, rates = phase.schedule(optimizer), []
        for _ in range(3):
            rates.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            schedule.step()
        assert rates == pytest.approx(expected)


def test_radford_et_al_s_networks_weights_and_optimisers():
    model = built(DCGAN)
    ups = [part for part in model.generator if isinstance(part, nn.ConvTranspose2d)]
    assert [(part.in_channels, part.out_channels) for part in ups] == [
        (100, 512), (512, 256), (256, 128), (128, 64), (64, 3)
    ]  # fmt: skip
    downs = [part for part in model.discriminator if isinstance(part, nn.Conv2d)]
    assert [part.out_channels for part in downs] == [64, 128, 256, 512, 1]
    assert isinstance(model.discriminator[1], nn.LeakyReLU)  # no normalisation on the first layer
    assert sum(isinstance(part, nn.BatchNorm2d) for part in model.discriminator) == 3
    assert isinstance(model.generator[-1], nn.Tanh)
    assert ups[1].weight.std().item() == pytest.approx(0.02, rel=0.02)
    for phase in model.phases():
        defaults = phase.optimizer(phase.modules[0].parameters()).defaults
        assert (defaults["lr"], defaults["betas"]) == (2e-4, (0.5, 0.999))


@pytest.mark.parametrize("shape", [(3, 64, 64), (1, 28, 28)])
def test_dcgan_losses_are_cross_entropies_with_targets(shape):
    model = DCGAN(image_shape=shape)
    images = torch.rand(5, *shape, generator=torch.Generator().manual_seed(1))
    discriminator, generator = (phase.loss(Batch(images=images), step()) for phase in model.phases())
    made = model.decode(normal(5, 100)) * 2 - 1
    for terms, name, judged, target in (
        (discriminator, "real", images * 2 - 1, torch.ones(5)),
        (discriminator, "fake", made, torch.zeros(5)),
        (generator, "adversarial", made, torch.ones(5)),
    ):
        expected = functional.binary_cross_entropy_with_logits(model.discriminator(judged), target)
        assert terms[name].item() == pytest.approx(expected.item(), rel=1e-3), name


def test_dcgan_s_discriminator_gives_its_generator_no_gradient_and_the_generator_gets_its_own():
    model = built(DCGAN)
    discriminator, generator = model.phases()
    sum(discriminator.loss(batch(), step()).values()).backward()
    assert all(part.grad is None for part in model.generator.parameters())
    generator.loss(batch(), step())["adversarial"].backward()
    assert all(part.grad is not None and part.grad.any() for part in model.generator.parameters())


def test_vaewgan_scores_weights_and_penalty():
    model = built(vae_wgan_faces, adversarial_weight=0.3, critic_steps=4)
    critic, vae = model.phases()
    assert critic.repeats == 4 and critic.adversary == "critic" and critic.after_step is None
    assert not any(isinstance(part, nn.BatchNorm2d) for part in model.critic.modules())
    images = batch().images
    terms = critic.loss(batch(), step())
    mean, log_variance = model.posterior(images[:3])
    draws = torch.Generator().manual_seed(2)
    drawn = torch.cat([torch.randn(3, 100, generator=draws) for _ in range(2)])
    made = torch.cat([model.decode(mean + drawn[:3] * torch.exp(log_variance / 2)), model.decode(drawn[3:])])
    assert terms["real"].item() == pytest.approx(-model.critic(images).mean().item(), rel=1e-3)
    assert terms["fake"].item() == pytest.approx(model.critic(made).mean().item(), rel=1e-2, abs=1e-4)
    assert 0 < terms["gradient_penalty"].item() < 10.5  # 10 (|slope| - 1)^2, of an untrained critic of little slope
    ours = {name: term.item() for name, term in vae.loss(batch(), step()).items()}
    plain = {name: term.item() for name, term in model.vae.phases()[0].loss(batch(), step()).items()}
    assert {name: ours[name] for name in plain} == pytest.approx(plain, rel=1e-5)
    assert set(ours) - set(plain) == {"adversarial"}
    draws = torch.Generator().manual_seed(2)
    mean, log_variance = model.posterior(images)
    encoded = mean + torch.randn(6, 100, generator=draws) * torch.exp(log_variance / 2)
    judged = torch.cat([model.decode(encoded)[:3], model.decode(torch.randn(3, 100, generator=draws))])
    assert ours["adversarial"] == pytest.approx(-0.3 * model.critic(judged).mean().item(), rel=1e-2, abs=1e-5)


def test_vaewgan_clips_where_asked_instead_of_penalising():
    model = built(vae_wgan_faces, clip=0.01)
    critic = model.phases()[0]
    assert set(critic.loss(batch(), step())) == {"real", "fake"}
    critic.after_step()
    assert max(part.abs().max().item() for part in model.critic.parameters()) <= 0.01
    assert critic.optimizer([torch.zeros(1)]).__class__ is torch.optim.RMSprop


def test_source_004_s_sizes():
    """10,368 features from 250 x 250 with pooling that rounds up; two layers of the discriminator of 250 and 80."""
    assert chunk_sides(250) == [(238, 119), (103, 52), (36, 18)] and 32 * 18 * 18 == 10_368
    with torch.device("meta"):
        model = blend(image_shape=(3, 250, 250), latent_dim=2000)
        assert model.decoder(torch.empty(1, 2000)).shape == (1, 3, 250, 250)
    linear = [(part.in_features, part.out_features) for part in model.adversary if isinstance(part, nn.Linear)]
    assert linear == [(10_368, 250), (250, 80), (80, 1)]
    kernels = [part.kernel_size[0] for part in model.encoder.modules() if isinstance(part, nn.Conv2d)]
    assert kernels == [7, 7, 9, 9, 9, 9]


def test_blending_alternates_and_weighs_nine_to_one():
    model = built(blend).eval()  # batch normalisation at rest: the pieces can be computed one by one
    first, second = loss(model, 1, index=0), loss(model, 2, index=1)
    assert set(first) == {"reconstruction", "kl", "adversarial"} and set(second) == {"adversarial"}
    assert loss(model, 1, index=1) == loss(model, 2, index=0) == {}  # each sits the other's updates out
    images = batch().images
    mean, log_variance = model.posterior(images)
    made = model.decode(mean + normal(6, 200) * torch.exp(log_variance / 2))
    assert first["reconstruction"] == pytest.approx(0.9 * functional.mse_loss(made, images).item(), rel=1e-5)
    passing = functional.binary_cross_entropy_with_logits(model.adversary(made), torch.ones(6))
    assert first["adversarial"] == pytest.approx(0.1 * passing.item(), rel=1e-5)
    mixed = model.decode(torch.stack([(mean[i] + mean[i - 1]) / 2 for i in range(6)]))
    passing = functional.binary_cross_entropy_with_logits(model.adversary(mixed), torch.ones(6))
    assert second["adversarial"] == pytest.approx(passing.item(), rel=1e-5)
    judged = loss(model, 0, index=1)
    expected = functional.binary_cross_entropy_with_logits(model.adversary(mixed), torch.zeros(6))
    assert judged["fake"] == pytest.approx(expected.item(), rel=1e-5)


def test_blending_s_adversarial_gradient_reaches_encoder_and_decoder():
    """Source 004's code detaches the image here, so that only its reconstruction trains; the text does not."""
    model = built(blend)
    model.phases()[2].loss(batch(), step(index=1))["adversarial"].backward()
    for part in (model.encoder, model.decoder):
        assert any(parameter.grad is not None and parameter.grad.any() for parameter in part.parameters())


def test_the_wasserstein_form_has_plain_scores_and_clips():
    model = built(blend, clip=0.01, adversary_steps=5).eval()
    critic = model.phases()[0]
    assert (critic.name, critic.adversary, critic.repeats) == ("critic", "critic", 5)
    assert loss(model, 0)["real"] == pytest.approx(-model.adversary(batch().images).mean().item(), rel=1e-5)
    mean, log_variance = model.posterior(batch().images)
    made = model.decode(mean + normal(6, 200) * torch.exp(log_variance / 2))
    score = model.adversary(made).mean().item()
    assert loss(model, 0)["fake"] == pytest.approx(score, rel=1e-4)
    assert loss(model, 1)["adversarial"] == pytest.approx(-0.1 * score, rel=1e-4)
    mixed = model.decode((mean + mean.roll(1, 0)) / 2)
    assert loss(model, 2, index=1)["adversarial"] == pytest.approx(-model.adversary(mixed).mean().item(), rel=1e-4)
    critic.after_step()
    for part in model.adversary.modules():
        limit = 1 if isinstance(part, nn.BatchNorm2d) else 0.01  # its gains stay
        assert all(parameter.abs().max().item() <= limit for parameter in part.parameters(recurse=False))


@pytest.mark.parametrize(
    ("factory", "settings", "words"),
    [
        (
            plain_face_vae,
            {"image_shape": (3, 60, 60)},
            "halves its images at least four times.*choose square images of 64 pixels",
        ),
        (plain_face_vae, {"latent_dim": 0}, "latent_dim=0"),
        (plain_face_vae, {"epochs_per_halving": -1}, "epochs_per_halving=-1"),
        (DCGAN, {"image_shape": (3, 32, 32)}, "not 32 x 32: choose 28 or 64 pixels"),
        (DCGAN, {"latent_dim": 0}, "latent_dim=0"),
        (DCGAN, {"feature_maps": 0}, "feature_maps=0"),
        (vae_wgan_faces, {"image_shape": (3, 112, 112)}, "not 112 x 112: choose 96 or 128 pixels"),
        (vae_wgan_faces, {"image_shape": (3, 64, 96)}, "square images of 28, 64, 96, 128, 192 or 256 pixels"),
        (vae_wgan_faces, {"critic_steps": 0}, "critic_steps=0"),
        (blend, {"clip": 0.0}, "clip=0.0"),
        (blend, {"clip": -0.01}, "clip=-0.01"),
        (vae_wgan_faces, {"clip": -1.0}, "clip=-1.0"),
        (blend, {"image_shape": (3, 64, 48)}, "square"),
        (blend, {"adversarial_weight": 1.5}, "adversarial_weight=1.5"),
    ],
)
def test_what_cannot_be_built_is_said_in_one_line(factory, settings, words):
    with pytest.raises(UserError, match=words) as caught:
        factory(**{"image_shape": FACES, **settings})
    assert "\n" not in str(caught.value)


def test_the_papers_hyperparameters_stand_in_their_recipes():
    recipes = {name: RECIPES.get(name)() for name in RECIPES.names() if name.endswith(("celeba", "eteke", "lfw"))}
    resolved = {name: recipe.resolved() for name, recipe in recipes.items()}
    for name in ("vae-celeba", "dfcvae-celeba", "vaewgan-celeba"):
        assert (recipes[name].batch_size, recipes[name].epochs) == (64, 5)
        assert (resolved[name]["latent_dim"], resolved[name]["learning_rate"]) == (100, 5e-4)
    assert resolved["dfcvae-celeba"]["feature_weight"] == 0.8
    assert resolved["dfcvae-celeba"]["layers"] == ("relu1_2", "relu2_1", "relu3_1")
    assert resolved["dfcvae345-celeba"]["layers"] == ("relu3_1", "relu4_1", "relu5_1")
    eteke = recipes["dfcvae-celeba-eteke"]
    assert (eteke.batch_size, eteke.epochs, eteke.resolved()["learning_rate"]) == (32, 10, 1e-4)
    assert eteke.resolved()["epochs_per_halving"] == 0  # never halved, however long it is trained
    assert (recipes["dcgan-celeba"].batch_size, recipes["dcgan-celeba"].epochs) == (64, 25)
    assert resolved["blend-lfw"]["latent_dim"] == 2000 and recipes["blend-lfw"].dataset_options == {"size": 250}
    assert resolved["blend-lfw"]["adversarial_weight"] == 0.1 and resolved["blendw-lfw"]["clip"] == 0.01


def test_never_halving_is_no_schedule():
    assert built(plain_face_vae, epochs_per_halving=0).phases()[0].schedule is None


def test_flat_features_are_compared_too(monkeypatch):
    """A dense layer's features are (n, d): ``--set layers=dense`` is a legal wish."""
    stages = {"dense": nn.Sequential(nn.Flatten(), nn.Linear(3 * 64 * 64, 7))}
    network = Perceptual("flat", stages, channels=3, sha256="0" * 64)
    monkeypatch.setattr(PERCEPTUAL, "get", lambda name: lambda: network)
    model = built(dfc_face_vae, layers=("dense",))
    phase = model.phases()[0]
    sum(phase.loss(batch(), step()).values()).backward()
    assert model.encoder[0].weight.grad.any()


@pytest.mark.parametrize("width", [1, 3])
def test_every_layer_of_the_discriminator_but_the_first_is_normalised(width):
    model = DCGAN(image_shape=FACES, feature_maps=width)
    assert sum(isinstance(part, nn.BatchNorm2d) for part in model.discriminator) == 3


def test_penalty_and_gradients_under_bfloat16_are_near_those_in_full():
    model = built(vae_wgan_faces)
    found = {}
    for precision in (torch.float32, torch.bfloat16):
        model.critic.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == torch.bfloat16):
            terms = model.phases()[0].loss(batch(), step())
        sum(terms.values()).backward()
        gradients = torch.cat([part.grad.flatten() for part in model.critic.parameters()])
        found[precision] = terms["gradient_penalty"].item(), gradients
    (full, exact), (half, rounded) = found.values()
    assert half == pytest.approx(full, rel=1e-2)
    assert functional.cosine_similarity(exact, rounded, dim=0) > 0.99
