"""--set: read by the constructor's annotations, which are the only list of hyperparameters."""

import pytest

from vaebench.core.errors import UserError
from vaebench.core.recipe import Recipe, configure, hyperparameters_of, parse_options


def model(
    *,
    image_shape: tuple[int, int, int],
    latent_dim: int = 5,
    kl_weight: float = 1.0,
    perceptual: str = "mnist_cnn",
    layers: tuple[str, ...] = ("conv1",),
    layer_weights: tuple[float, ...] = (1.0,),
    spectral: bool = False,
    critic_steps: int | None = None,
    clip: float | None = 0.01,
    activation: "str" = "relu",
    extra: dict[str, int] | None = None,
):
    raise AssertionError("configuring builds no model")


def dataset(*, path: str = "", size: int = 28):
    raise AssertionError("configuring opens no dataset")


RECIPE = Recipe(
    name="toy-data", model=model, dataset="data", batch_size=32, epochs=2, hyperparameters={"kl_weight": 0.5}
)


@pytest.mark.parametrize(
    ("setting", "key", "value"),
    [
        ("latent_dim=10", "latent_dim", 10),
        ("latent_dim=-3", "latent_dim", -3),
        ("kl_weight=1e-3", "kl_weight", 0.001),
        ("kl_weight=2", "kl_weight", 2.0),
        ("perceptual=vgg19", "perceptual", "vgg19"),
        ("perceptual=a=b", "perceptual", "a=b"),
        ("perceptual=none", "perceptual", "none"),
        ("activation=tanh", "activation", "tanh"),
        ("layers=conv1,conv2", "layers", ("conv1", "conv2")),
        ("layers=conv2", "layers", ("conv2",)),
        ("layer_weights=0.5,2", "layer_weights", (0.5, 2.0)),
        ("spectral=true", "spectral", True),
        ("spectral=True", "spectral", True),
        ("spectral=1", "spectral", True),
        ("spectral=false", "spectral", False),
        ("spectral=0", "spectral", False),
        ("critic_steps=5", "critic_steps", 5),
        ("critic_steps=none", "critic_steps", None),
        ("clip=None", "clip", None),
        ("clip=0.1", "clip", 0.1),
    ],
)
def test_value_is_read_by_its_annotation(setting, key, value):
    found = configure(RECIPE, [setting], dataset).resolved()[key]
    assert found == value
    assert type(found) is type(value)


def test_nothing_set_changes_nothing():
    assert configure(RECIPE, [], dataset) == RECIPE


def test_the_recipe_given_is_left_as_it_was():
    configured = configure(RECIPE, ["kl_weight=2", "dataset.path=x", "batch_size=4"], dataset)
    assert (configured.hyperparameters, configured.dataset_options) == ({"kl_weight": 2.0}, {"path": "x"})
    assert (RECIPE.hyperparameters, RECIPE.dataset_options, RECIPE.batch_size) == ({"kl_weight": 0.5}, {}, 32)


def test_the_last_of_two_settings_counts():
    assert configure(RECIPE, ["latent_dim=3", "latent_dim=4"], dataset).hyperparameters["latent_dim"] == 4


def test_dataset_options_and_batch_size():
    configured = configure(RECIPE, ["dataset.path=/a/b.c", "dataset.size=64", "batch_size=7"], dataset)
    assert configured.dataset_options == {"path": "/a/b.c", "size": 64}
    assert configured.batch_size == 7
    assert configured.hyperparameters == RECIPE.hyperparameters


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("latent_dmi=3", r"toy-data has no setting 'latent_dmi': did you mean 'latent_dim'\?"),
        ("dataset.pth=x", r"toy-data has no setting 'dataset.pth': did you mean 'dataset.path'\?"),
        ("batchsize=3", r"did you mean 'batch_size'\?"),
        ("image_shape=1", "toy-data has no setting 'image_shape'"),
        ("=3", "toy-data has no setting ''"),
        ("latent_dim", r"--set 'latent_dim' has no value: write --set latent_dim=VALUE"),
        ("latent_dim=five", "latent_dim='five' is no int"),
        ("latent_dim=5.0", "latent_dim='5.0' is no int"),
        ("latent_dim=", "latent_dim='' is no int"),
        ("latent_dim=none", "latent_dim='none' is no int"),
        ("kl_weight=high", "kl_weight='high' is no float"),
        ("spectral=yes", "spectral='yes' is no bool"),
        ("layer_weights=1,x", "layer_weights='x' is no float"),
        ("critic_steps=few", "critic_steps='few' is no int"),
        ("dataset.size=big", "dataset.size='big' is no int"),
        ("batch_size=0", "batch_size=0 is no batch"),
        ("batch_size=-1", "batch_size=-1 is no batch"),
        ("batch_size=x", "batch_size='x' is no int"),
        ("extra=1", "'extra' cannot be set from the command line"),
    ],
)
def test_bad_settings_are_named_in_one_line(setting, message):
    with pytest.raises(UserError, match=message) as raised:
        configure(RECIPE, [setting], dataset)
    assert "\n" not in str(raised.value)


def test_resolved_lists_defaults_and_departures_but_not_what_the_data_decide():
    resolved = RECIPE.resolved()
    assert resolved["kl_weight"] == 0.5
    assert resolved["latent_dim"] == 5
    assert list(resolved) == list(hyperparameters_of(model))
    assert "image_shape" not in resolved


def test_parse_options():
    assert parse_options("blur", {"size": "3", "path": "x"}, dataset) == {"size": 3, "path": "x"}
    assert parse_options("blur", {}, dataset) == {}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sizes": "3"}, r"blur has no option 'sizes': did you mean 'size'\?"),
        ({"size": "x"}, "blur.size='x' is no int"),
    ],
)
def test_parse_options_names_owner_and_option(options, message):
    with pytest.raises(UserError, match=message):
        parse_options("blur", options, dataset)
