"""What stands round an evaluation: the dataset's splits, and real images in feature spaces, each opened once."""

from contextlib import suppress

from vaebench.core.context import Context, FeatureSpace
from vaebench.core.dataset import DatasetSource, ImageDataset
from vaebench.core.distributed import Group
from vaebench.core.errors import UserError
from vaebench.core.perceptual import TRAINED
from vaebench.evaluation.features import KeptFeatures, Networks
from vaebench.evaluation.judges import judge_network, judge_of
from vaebench.runs.recipes import load_split


class Surroundings:
    """One split that is measured, with the others of its dataset where it has a source."""

    def __init__(self, data: ImageDataset, source: DatasetSource | None, networks: Networks) -> None:
        self.data, self.networks = data, networks
        self._source = source
        self._splits = {data.split: data}
        self._references: dict[tuple[FeatureSpace, str], KeptFeatures] = {}

    @classmethod
    def of_split(cls, source: DatasetSource, split: str, networks: Networks) -> "Surroundings":
        """A split by name; :class:`UserError` where the dataset has none such."""
        found = cls(load_split(source, split), source, networks)
        judge = judge_network(found.data)
        if judge.startswith(TRAINED):
            networks.provide(judge, lambda: judge_of(judge, found.split("train")))
        return found

    def context(self) -> Context:
        """As metrics see it; the training and the latents belong to what is measured."""
        names = (self.data.split,) if self._source is None else self._source.splits
        return Context(
            split=self.data.split,
            splits=names,
            data=self.split,
            reference=self._reference,
            features=lambda space, images: self.networks.extract(images, [space])[space].cpu(),
        )

    def split(self, split: str) -> ImageDataset:
        """One of the splits, read once."""
        if split not in self._splits:
            if self._source is None:
                raise UserError(f"{self.data.name} has no split '{split}': it is measured alone")
            self._splits[split] = load_split(self._source, split)
        return self._splits[split]

    def extract_together(self, space: FeatureSpace, group: Group) -> None:
        """The measured split's features in a space, each process of ``group`` extracting its share of the images.

        Where a process has no weights nothing is done: who asks it for features will be told.
        """
        reference = None
        with suppress(UserError):
            reference = self._reference(space, self.data.split)
        (missing,) = group.any(reference is None)
        if reference is None or missing:
            return
        rows = group.share(len(self.data))
        reference.extract_rows(rows.start, rows.stop)
        group.wait()
        if group.leads:
            reference.join_rows()
        group.wait()

    def _reference(self, space: FeatureSpace, split: str) -> KeptFeatures:
        if (space, split) not in self._references:
            self._references[space, split] = KeptFeatures(self.split(split), space, self.networks)
        return self._references[space, split]
