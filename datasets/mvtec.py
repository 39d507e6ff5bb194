"""MVTec AD (Bergmann et al., CVPR 2019): 15 categories of industrial objects and textures.

    <folder>/<category>/train/good/*            normal images
    <folder>/<category>/test/{good,<defect>}/*
    <folder>/<category>/ground_truth/<defect>/<image>_mask.png

`dataset.category=bottle` reads one category, `dataset.category=all` (the default) all of them as one set.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from adbench.data.items import Item
from adbench.data.listing import subfolders
from adbench.errors import DataError

from .layout import Layout, categories_asked, chosen, entries, image_files, item, need_mask
from .pairing import pair_masks


class MVTec(Layout):
    """One category of MVTec AD, or all."""

    expected = "<category>/{train/good,test/{good,<defect>},ground_truth/<defect>}"
    reads = ("folders", "category", "categories")

    def looks(self, folder: Path) -> bool:
        """Whether one of the categories is there."""
        return any((folder / name / "train" / "good").is_dir() for name in self.config.categories)

    def read(self, folder: Path) -> list[Item]:
        """Return the items of the categories asked for; `subgroup` is the defect, of several `<category>/<defect>`."""
        names = chosen(self.config)
        return [item for name in names for item in self._read(folder, name, f"{name}/" if len(names) > 1 else "")]

    def places(self, folder: Path) -> Sequence[Path]:
        """Leave out the categories that are not asked for."""
        return categories_asked(folder, self.config)

    def write(self, folder: Path, counts: dict[str, int]) -> Iterator[None]:
        """Draw the categories asked for, `counts` dealt over them; the organs stand in for objects and textures."""
        from .phantoms import FAMILIES
        from .phantoms.scenes import save, scenes
        from .phantoms.write import halves

        names = chosen(self.config)
        train, test = (max(2, counts[split] // len(names)) for split in ("train", "test"))
        for name in names:
            number = list(self.config.categories).index(name)
            wanted = {"train": (train, 0), "test": halves(test)}
            for i, scene in enumerate(scenes(FAMILIES[number % len(FAMILIES)], 10 + number, wanted)):
                kind = scene.phantom.kind or "good"
                save(folder / name / scene.split / kind / f"{i:03d}.png", scene.phantom.image)
                if scene.label:
                    save(folder / name / "ground_truth" / kind / f"{i:03d}_mask.png", scene.phantom.mask)
                yield

    def _read(self, folder: Path, category: str, prefix: str) -> list[Item]:
        base = folder / category
        if not (base / "train" / "good").is_dir() or not (base / "test").is_dir():
            has = entries(base if base.is_dir() else folder)
            raise DataError(f"{base} is not laid out as {self.config.title}: expected {self.expected}; found {has}.")
        items = [
            item("train", 0, path, f"{prefix}good/{path.name}", subgroup=f"{prefix}good")
            for path in image_files(base / "train" / "good")
        ]
        for place in subfolders(base / "test"):
            truth, label, masks = base / "ground_truth" / place.name, int(place.name != "good"), {}
            paths = image_files(place)
            if label and self.config.masks:
                masks = pair_masks(image_files(truth), truth, ((path.name, path) for path in paths)).masks
            for path in paths:
                mask = None
                if label and self.config.masks:
                    mask = need_mask(masks, path, f"{path.stem}_mask.* in {truth}")
                kind = f"{prefix}{place.name}"
                items.append(item("test", label, path, f"{kind}/{path.name}", mask, subgroup=kind))
        return items
