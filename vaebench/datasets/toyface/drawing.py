"""Draw one of ``toyfaces``: a portrait in which each of CelebA's 40 attributes can be seen."""

from collections.abc import Callable, Mapping, Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from vaebench.datasets.toyface import beard, features, hair, head, wear
from vaebench.datasets.toyface.attributes import attribute_names
from vaebench.datasets.toyface.canvas import SIZE, Canvas
from vaebench.datasets.toyface.person import Person, chances

SEED = 7141
BLUR = 1.6  # standard deviation, in pixels of 64 x 64, of a picture that is Blurry

Step = Callable[[Canvas, Person], None]
# from back to front
BEHIND: tuple[Step, ...] = (head.draw_backdrop,)
BODY: tuple[Step, ...] = (head.draw_body, head.draw_necktie)
HEAD: tuple[Step, ...] = (
    features.draw_double_chin,
    head.draw_head,
    features.draw_skin,
    beard.draw_stubble,
    features.draw_age,
    beard.draw_beard,
    features.draw_nose,
    features.draw_mouth,
    beard.draw_goatee,
    beard.draw_mustache,
    features.draw_eyes,
    features.draw_brows,
    hair.draw_hair,
    wear.draw_glasses,
    wear.draw_hat,
    wear.draw_earrings,
)
FRONT: tuple[Step, ...] = (wear.draw_necklace,)


def draw_face(
    attributes: Mapping[str, bool] | Sequence[bool] | NDArray[np.bool_], index: int, size: int = SIZE
) -> NDArray[np.uint8]:
    """The face of these attributes, uint8, (size, size, 3); a pure function.

    ``index`` decides pose, light, colours and all else that attributes leave open, by numbers drawn before
    any attribute is looked at: with the same index, another attribute changes what that attribute draws.
    ``attributes`` is a mapping from all of CelebA's 40 names, or 40 values in their order.
    """
    given = attributes if isinstance(attributes, Mapping) else dict(zip(attribute_names(), attributes, strict=True))
    person = Person({name: bool(given[name]) for name in attribute_names()}, chances((SEED, index)))
    canvas = Canvas(head.backdrop(person), size)
    for step in BEHIND:
        step(canvas, person)
    person.pose_head(canvas)
    hair.draw_back_hair(canvas, person)
    person.pose_body(canvas)
    for step in BODY:
        step(canvas, person)
    person.pose_head(canvas)
    for step in HEAD:
        step(canvas, person)
    person.pose_body(canvas)
    for step in FRONT:
        step(canvas, person)
    return _lit(canvas.finish(), person)


@cache
def _across(size: int) -> NDArray[np.float32]:
    return np.linspace(-1, 1, size, dtype=np.float32)[:, None]


def _lit(picture: Image.Image, person: Person) -> NDArray[np.uint8]:
    """Light from one side, exposure and warmth; then, of a Blurry one, the blur."""
    side = -person.sway("light", 0.16)
    warm = person.sway("warmth", 0.05)
    across = _across(picture.width)
    gain = (1 + side * across) * (1 + person.sway("exposure", 0.09)) * np.array([1 + warm, 1, 1 - warm], np.float32)
    lit: NDArray[np.uint8] = np.minimum(np.asarray(picture) * gain + 0.5, 255).astype(np.uint8)
    if not person.has["Blurry"]:
        return lit
    return np.array(Image.fromarray(lit).filter(ImageFilter.GaussianBlur(BLUR * picture.width / SIZE)), np.uint8)
