"""Name what is measured beside models: real images, training images in place of samples, and baselines.

Their rows stand in the tables for reference: they have no rank, and no gate is about them.
"""

REAL = "real"  # the real images of the evaluated split, against which models are held
TRAINING_IMAGES = "real/train"  # real images that models were trained on, in place of samples: what no model need beat
BASELINE = "baseline/"  # begins the name of what no model learnt
EXTERNAL = "external/"  # begins the name of a model or images from elsewhere


def is_baseline(name: str) -> bool:
    """Tell whether a recipe's name is that of a baseline that learnt nothing."""
    return name.startswith(BASELINE)


def is_real(name: str) -> bool:
    """Tell whether a recipe's name is that of real images, of the evaluated split or of training."""
    return name in (REAL, TRAINING_IMAGES)


def is_model(name: str) -> bool:
    """Tell whether a recipe's name is a model's, or that of images made elsewhere."""
    return not is_real(name) and not is_baseline(name)


def title_of(name: str) -> str:
    """Name a recipe for people."""
    return {REAL: "originals", TRAINING_IMAGES: "training images"}.get(name, name.removeprefix(BASELINE))
