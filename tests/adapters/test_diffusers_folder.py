"""Autoencoders of diffusers, built small with random weights and saved to disk, are evaluated from their folders."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from vaebench.core import results
from vaebench.core.errors import UserError
from vaebench.core.paths import runs_dir

diffusers = pytest.importorskip("diffusers", reason="pip install 'vaebench[diffusers]'")
BLOCKS = {
    "block_out_channels": (8, 16),
    "down_block_types": ("DownEncoderBlock2D",) * 2,
    "up_block_types": ("UpDecoderBlock2D",) * 2,
    "layers_per_block": 1,
    "norm_num_groups": 4,
}
DEEP = {"block_out_channels": (8, 8, 8, 8), "layers_per_block": 1, "norm_num_groups": 4, "latent_channels": 4}
SMALL = {
    "AutoencoderKL": {"latent_channels": 4, "sample_size": 32, **BLOCKS},
    "AsymmetricAutoencoderKL": {
        "down_block_types": ("DownEncoderBlock2D",) * 2,
        "down_block_out_channels": (8, 16),
        "layers_per_down_block": 1,
        "up_block_types": ("UpDecoderBlock2D",) * 2,
        "up_block_out_channels": (8, 16),
        "layers_per_up_block": 1,
        "latent_channels": 4,
        "norm_num_groups": 4,
        "sample_size": 32,
    },
    "AutoencoderTiny": {
        "encoder_block_out_channels": (8, 8),
        "decoder_block_out_channels": (8, 8),
        "num_encoder_blocks": (1, 1),
        "num_decoder_blocks": (1, 1),
    },
    "AutoencoderDC": {
        "in_channels": 3,
        "latent_channels": 4,
        "attention_head_dim": 2,
        "encoder_block_types": ("ResBlock", "EfficientViTBlock"),
        "decoder_block_types": ("ResBlock", "EfficientViTBlock"),
        "encoder_block_out_channels": (8, 8),
        "decoder_block_out_channels": (8, 8),
        "encoder_qkv_multiscales": ((), (5,)),
        "decoder_qkv_multiscales": ((), (5,)),
        "encoder_layers_per_block": (1, 1),
        "decoder_layers_per_block": (1, 1),
        "downsample_block_type": "conv",
        "upsample_block_type": "interpolate",
        "decoder_norm_types": "rms_norm",
        "decoder_act_fns": "silu",
        "scaling_factor": 0.41,
    },
    "VQModel": {"latent_channels": 3, "num_vq_embeddings": 32, "vq_embed_dim": 3, "sample_size": 32, **BLOCKS},
    "AutoencoderKLTemporalDecoder": {
        "latent_channels": 4,
        "layers_per_block": 1,
        "block_out_channels": (32, 32),
        "down_block_types": ("DownEncoderBlock2D",) * 2,
    },
    "ConsistencyDecoderVAE": {
        "encoder_block_out_channels": (8, 8),
        "encoder_in_channels": 3,
        "encoder_out_channels": 4,
        "encoder_down_block_types": ("DownEncoderBlock2D",) * 2,
        "encoder_layers_per_block": 1,
        "encoder_norm_num_groups": 4,
        "decoder_add_attention": False,
        "decoder_block_out_channels": (8, 8),
        "decoder_down_block_types": ("ResnetDownsampleBlock2D",) * 2,
        "decoder_up_block_types": ("ResnetUpsampleBlock2D",) * 2,
        "decoder_in_channels": 7,
        "decoder_out_channels": 6,
        "decoder_layers_per_block": 1,
        "decoder_norm_num_groups": 4,
        "decoder_num_train_timesteps": 1024,
        "latent_channels": 4,
    },
    "AutoencoderKLFlux2": {"latent_channels": 4, "sample_size": 32, **BLOCKS},
    "AutoencoderKLHunyuanImage": {
        "in_channels": 3,
        "out_channels": 3,
        "latent_channels": 4,
        "block_out_channels": (32, 64),
        "layers_per_block": 1,
        "spatial_compression_ratio": 2,
        "sample_size": 32,
        "scaling_factor": 0.5,
    },
    "AutoencoderKLQwenImage": {
        "base_dim": 8,
        "z_dim": 16,
        "dim_mult": [1, 2],
        "num_res_blocks": 1,
        "temperal_downsample": [False],
    },
    "AutoencoderKLCosmos": {
        "latent_channels": 4,
        "encoder_block_out_channels": (8, 8, 8, 8),
        "decode_block_out_channels": (8, 8, 8, 8),
        "attention_resolutions": (8,),
        "resolution": 32,
        "num_layers": 1,
        "patch_size": 2,
        "spatial_compression_ratio": 4,
        "temporal_compression_ratio": 4,
    },
    "AutoencoderKLMagvit": DEEP,
    "AutoencoderKLCogVideoX": {**DEEP, "norm_num_groups": 2},
}
DETERMINISTIC = ("AutoencoderTiny", "AutoencoderDC", "VQModel", "AutoencoderKLCosmos")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    for k in range(150):
        pixels = np.random.default_rng(k).integers(0, 256, (4, 4, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((32, 32)).save(folder / f"{k:03d}.png")
    return folder


def saved(name, folder):
    kind = getattr(diffusers, name, None)
    if kind is None:
        pytest.skip(f"diffusers {diffusers.__version__} has no {name}")
    torch.manual_seed(0)
    kind(**SMALL[name]).save_pretrained(folder)
    return folder


@pytest.fixture
def evaluate(cli, pictures, tmp_path):
    def call(spec, *options, name="model", metrics="blur,mse,kl,codebook_usage,bits_per_pixel"):
        data = ["--dataset", "folder", "--set", f"dataset.path={pictures}", "--set", "dataset.size=32"]
        named = ["--model", spec, "--name", name, "--metrics", metrics, "--samples", "20"]
        return cli(["evaluate", *named, *data, *options, "--out", str(tmp_path / "reports")])

    return call


def values(name="model"):
    lines = results.read(runs_dir() / "external" / name / "results.jsonl")
    return {(line.metric, line.protocol.split("/")[0]): line for line in lines if line.stratum == "all"}


@pytest.mark.parametrize("name", SMALL)
def test_each_class_is_evaluated_from_its_folder(name, evaluate, tmp_path):
    folder = saved(name, tmp_path / "model")
    answer = evaluate(f"diffusers:{folder}")
    assert answer.code == 0, answer.err
    assert "should be kept in float32" not in answer.err and "accelerate" not in answer.err
    found = values()
    assert found["mse", "recon"].value > 0
    assert found["blur", "samples"].note == "needs samples"
    kl = found["kl", "posterior"]
    assert (kl.value is None) == (name in DETERMINISTIC)
    if name == "VQModel":
        usage = found["codebook_usage", "entries=32"]
        assert 1 / 32 <= usage.value <= 1
        assert 0 < found["bits_per_pixel", "entries=32"].value <= 5 * 16 * 16 / 32**2
    else:
        assert found["codebook_usage", "codebook"].note == "needs a codebook"


def test_its_reconstructions_are_those_of_diffusers(evaluate, tmp_path, pictures):
    from vaebench.core.dataset import to_float
    from vaebench.datasets import DATASETS

    folder = saved("AutoencoderKL", tmp_path / "model")
    assert evaluate(f"diffusers:{folder}", metrics="mse").code == 0
    model = diffusers.AutoencoderKL.from_pretrained(folder)
    images = to_float(DATASETS.get("folder")(path=str(pictures), size=32).load("test").images)
    with torch.no_grad():
        made = model(2 * images - 1, sample_posterior=False).sample
    expected = ((made / 2 + 0.5).clamp(0, 1) - images).square().mean()
    assert values()["mse", "recon"].value == pytest.approx(float(expected), rel=1e-5)


def test_a_whole_pipelines_folder_has_its_autoencoder_found(evaluate, tmp_path):
    saved("AutoencoderKL", tmp_path / "pipeline" / "vae")
    assert evaluate(f"diffusers:{tmp_path / 'pipeline'}", metrics="mse").code == 0


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_is_near(precision, evaluate, tmp_path):
    folder = saved("AutoencoderKL", tmp_path / "model")
    for name, options in (("whole", []), ("half", ["--precision", precision])):
        answer = evaluate(f"diffusers:{folder}", *options, name=name, metrics="mse")
        assert answer.code == 0, answer.err
    whole, half = (values(name)["mse", "recon"].value for name in ("whole", "half"))
    assert half == pytest.approx(whole, rel=0.03) and half != whole


def broken(folder, what):
    saved("AutoencoderKL", folder)
    config, weights = folder / "config.json", folder / "diffusion_pytorch_model.safetensors"
    if what == "pickle":
        weights.rename(folder / "diffusion_pytorch_model.bin")
    elif what == "class":
        config.write_text(json.dumps({**json.loads(config.read_text()), "_class_name": "os.system"}))
    elif what == "no model":
        config.write_text(json.dumps({**json.loads(config.read_text()), "_class_name": "DDIMScheduler"}))
    elif what == "weights":
        config.write_text(json.dumps({**json.loads(config.read_text()), "latent_channels": 7}))
    elif what == "text":
        config.write_text("{")
    elif what == "nothing":
        config.unlink()


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("pickle", "holds pickled weights"),
        ("class", "names 'os.system', which is no autoencoder"),
        ("no model", "names 'DDIMScheduler', which is no autoencoder"),
        ("weights", "does not load as AutoencoderKL"),
        ("text", "is no configuration"),
        ("nothing", "holds no config.json"),
    ],
)
def test_what_is_no_autoencoder_is_refused_in_one_line(what, said, evaluate, tmp_path):
    broken(tmp_path / "model", what)
    answer = evaluate(f"diffusers:{tmp_path / 'model'}")
    assert answer.code == 2, answer.err
    (told,) = [line for line in answer.err.splitlines() if line.startswith("error: ")]
    assert said in told
    assert not (runs_dir() / "external").exists()


def test_without_the_package_it_says_how_to_get_it(monkeypatch, tmp_path):
    import sys

    from vaebench.adapters.diffusers_folder import open_folder
    from vaebench.core.opening import Opening

    saved("AutoencoderKL", tmp_path / "model")
    monkeypatch.setitem(sys.modules, "diffusers", None)
    with pytest.raises(UserError, match=r"pip install 'vaebench\[diffusers\]'"):
        open_folder(str(tmp_path / "model"), Opening(image_shape=(3, 32, 32)))
