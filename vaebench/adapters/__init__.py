"""Models that were trained elsewhere: the table of ways to open one; one file each.

An adapter is a function (what stands behind ``NAME:`` in ``--model NAME:WHAT``, :class:`vaebench.core.opening.Opening`)
-> :class:`vaebench.core.image_model.ImageModel`. Add one by a file here and a line below, or from a package of your own
under the entry-point group ``vaebench.adapters``.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from vaebench.core.registry import Entry, Registry

if TYPE_CHECKING:
    from vaebench.core.image_model import ImageModel
    from vaebench.core.opening import Opening


ADAPTERS: "Registry[Callable[[str, Opening], ImageModel]]" = Registry(
    "adapters",
    {
        "diffusers": Entry(
            target="vaebench.adapters.diffusers_folder:open_folder",
            summary="folder of an autoencoder of diffusers: config.json and safetensors",
        ),
        "export": Entry(
            target="vaebench.adapters.exported:open_export",
            summary="torch.export programs: ENCODER.pt2,DECODER.pt2",
        ),
        "torchscript": Entry(
            target="vaebench.adapters.exported:open_torchscript",
            summary="TorchScript: a module with encode and decode, or ENCODER,DECODER",
        ),
        "onnx": Entry(
            target="vaebench.adapters.onnx_graphs:open_onnx",
            summary="ONNX graphs: ENCODER.onnx,DECODER.onnx",
        ),
    },
)
