"""The evaluated split, its dataset's other splits and the features of their images, each loaded once."""

from collections.abc import Sequence
from contextlib import suppress

from vaebench.core.context import Context, FeatureSpace
from vaebench.core.dataset import DatasetSource, ImageDataset
from vaebench.core.distributed import Group
from vaebench.core.errors import UserError
from vaebench.core.metric import Metric
from vaebench.core.perceptual import TRAINED
from vaebench.evaluation.features import CachedFeatures, Networks
from vaebench.evaluation.judges import judge_network, judge_of
from vaebench.evaluation.protocol import BuiltMetrics, Protocol
from vaebench.runs.recipes import load_split


class SplitContext:
    """The evaluated split; with a source, the other splits of its dataset too."""

    def __init__(self, data: ImageDataset, source: DatasetSource | None, networks: Networks) -> None:
        self.data, self.networks = data, networks
        self._source = source
        self._splits = {data.split: data}
        self._metrics: tuple[Protocol, BuiltMetrics] | None = None
        self._references: dict[tuple[FeatureSpace, str], CachedFeatures] = {}

    @classmethod
    def of_split(cls, source: DatasetSource, split: str, networks: Networks) -> "SplitContext":
        """Load a split by name; :class:`UserError` if the dataset has no such split."""
        found = cls(load_split(source, split), source, networks)
        judge = judge_network(found.data)
        if judge.startswith(TRAINED):
            networks.provide(judge, lambda: judge_of(judge, found.split("train")))
        return found

    def context(self) -> Context:
        """The context that metrics read; a source adds its training and its latents."""
        names = (self.data.split,) if self._source is None else self._source.splits
        return Context(
            split=self.data.split,
            splits=names,
            data=self.split,
            reference=self._reference,
            features=lambda space, images: self.networks.extract(images, [space])[space].cpu(),
        )

    def split(self, split: str) -> ImageDataset:
        """Load one of the dataset's splits, once."""
        if split not in self._splits:
            if self._source is None:
                raise UserError(f"{self.data.name} has no split '{split}': it is measured alone")
            self._splits[split] = load_split(self._source, split)
        return self._splits[split]

    def metrics(self, protocol: Protocol) -> BuiltMetrics:
        """Build the protocol's metrics for this split: once for all runs and baselines that are measured on it."""
        if self._metrics is None or not self._metrics[0].builds_as(protocol):
            self._metrics = protocol, protocol.build(self.data)
        return self._metrics[1]

    @property
    def published(self) -> bool:
        """Tell whether the dataset's name says which images these are."""
        return self._source is not None and self._source.published

    def extract_for(self, metrics: Sequence[Metric], group: Group) -> None:
        """Extract the evaluated split's features in the metrics' spaces, each process of ``group`` its share of rows.

        A single process extracts them when they are first read. If a process lacks a network's weights, nothing is
        extracted: the metric that reads the features is refused with the reason.
        """
        if group.size > 1:
            for space in sorted({metric.spec.space for metric in metrics if metric.spec.space is not None}):
                self._extract_together(space, group)

    def _extract_together(self, space: FeatureSpace, group: Group) -> None:
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

    def _reference(self, space: FeatureSpace, split: str) -> CachedFeatures:
        if (space, split) not in self._references:
            self._references[space, split] = CachedFeatures(self.split(split), space, self.networks)
        return self._references[space, split]
