"""Checks of lesion masks: presence, size, content, values."""

from __future__ import annotations

from adbench.data.decode import ImageFormat
from adbench.data.doctor.finding import Finding, ScannedDataset, checked, relative
from adbench.data.doctor.measure import MaskStats
from adbench.data.items import Item
from adbench.data.masks import MAX_COVERED, percent


def lesion_masks(data: ScannedDataset) -> list[Finding]:
    """Check that each abnormal image has a mask of its size that says clearly what is abnormal, and not everything."""
    configured = data.config.masks
    if configured is False or (configured is None and not data.masks):
        return [Finding("masks", "ok", "masks: the dataset has none, or they are not used")]
    missing = [i.id for i in data.items if i.label and not i.mask_files]
    pairs = [(item, [data.masks[file] for file in item.mask_images]) for item in data.items if item.mask_files]
    unclear = [mask.unclear for _, masks in pairs for mask in masks if mask.unclear]
    whole = [
        (item, masks)
        for item, masks in pairs
        if not data.images[item.image].error and not any(mask.error or mask.unclear for mask in masks)
    ]
    hint = " Without masks: dataset.masks=false"
    return [
        checked("mask-missing", "error", "abnormal images without a mask", missing, "A run stops at the first." + hint,
                 "every abnormal image has a mask"),
        checked("mask-unclear", "error", "masks with unclear values", unclear, "A run stops at the first.",
                 "every mask says which pixels are abnormal"),
        checked("mask-size", "error", "mask and image differ in size", _sizes(data, whole),
                 "Which pixels are abnormal is unknown; a run stops.",
                 "masks have the size of their images"),
        *_coverage(data, whole),
        *_values(data, whole),
        _small(data, whole),
    ]  # fmt: skip


def _sizes(data: ScannedDataset, pairs: list[tuple[Item, list[MaskStats]]]) -> list[str]:
    differ = []
    for item, masks in pairs:
        image = data.images[item.image]
        for file, mask in zip(item.mask_images, masks, strict=True):
            if (mask.width, mask.height) != (image.width, image.height):
                mask_size, image_size = f"{mask.width} x {mask.height}", f"{image.width} x {image.height}"
                differ.append(f"{relative(file, data.root)} is {mask_size}, its image {image_size}")
    return differ


def _coverage(data: ScannedDataset, pairs: list[tuple[Item, list[MaskStats]]]) -> list[Finding]:
    empty, full, odd = [], [], []
    for item, masks in pairs:
        covered = max(mask.above for mask in masks)
        if item.label and covered == 0:
            highest = max(mask.highest for mask in masks)
            empty.append(f"{item.id}: " + (f"highest value {highest}" if highest else "all zero"))
        elif item.label and (covered > MAX_COVERED or any(mask.frames for mask in masks)):
            full.append(f"{item.id}: {percent(covered)} abnormal")
        elif not item.label and covered:
            odd.append(item.id)
    threshold = data.config.mask_threshold
    above = "No pixel is abnormal" if threshold is None else f"No pixel exceeds dataset.mask_threshold={threshold}"
    allows = {key: getattr(data.config, key) == "allow" for key in ("empty_masks", "full_masks")}
    stops = "" if allows["full_masks"] else " A run stops; to accept them: dataset.full_masks=allow"
    return [
        checked("mask-empty", "warning" if allows["empty_masks"] else "error", "empty masks of abnormal images", empty,
                 f"{above}, so pixel figures count the lesion as healthy. "
                 "Fix the mask or the threshold, or accept it: dataset.empty_masks=allow",
                 "no mask of an abnormal image is empty"),
        checked("mask-of-normal", "error", "masks of normal images that are not empty", odd,
                 "Label and mask contradict each other; "
                 + ("a run stops." if data.config.own_images else "every pixel of a normal image counts as normal."),
                 "no normal image has a lesion mask"),
        checked("mask-full", "warning" if allows["full_masks"] else "error",
                 f"masks over {percent(MAX_COVERED)} of the image, or over half and its border", full,
                 f"They may be inverted: abnormal pixels must be bright.{stops}",
                 "no mask covers nearly all of its image"),
    ]  # fmt: skip


def _values(data: ScannedDataset, pairs: list[tuple[Item, list[MaskStats]]]) -> list[Finding]:
    grey, classes, hidden = [], [], []
    for item, masks in pairs:
        for file, mask in zip(item.mask_images, masks, strict=True):
            name = relative(file, data.root)
            if mask.how == "classes":
                classes.append(f"{name}: {mask.levels}")
            elif mask.values > 2:
                grey.append((mask.between, f"{name}: {mask.values} values"))
            if mask.how == "hidden classes":
                hidden.append(f"{name}: {mask.levels}")
    threshold = data.config.mask_threshold
    between = [text + f", {100 * part:.2g} % between" for part, text in sorted(grey, reverse=True)]
    share = max((part for part, _ in grey), default=0.0)
    outline = "half of the range" if threshold is None else f"the threshold {threshold}"
    return [
        checked("mask-classes", "warning", "masks with several classes", classes,
                 "Every value above 0 counts as abnormal. Others: dataset.mask_threshold=, dataset.mask_background=",
                 "no mask is read as one of several classes"),
        checked("mask-hidden", "warning", "masks with classes below the threshold", hidden,
                 f"Values up to {threshold} form areas of their own and count as healthy. "
                 "All classes: dataset.mask_threshold=0", "no class lies below the threshold"),
        checked("mask-values", "warning", "masks with values other than two", between,
                 f"Up to {100 * share:.2g} % of a mask's pixels lie between its lowest and highest value: there "
                 f"{outline} draws the outline (JPEG noise, or several classes).", "masks have two values"),
    ]  # fmt: skip


def _small(data: ScannedDataset, pairs: list[tuple[Item, list[MaskStats]]]) -> Finding:
    size = ImageFormat().eval_size
    small = []
    for item, masks in pairs:
        if item.label and (kept := sum(mask.kept for mask in masks)):
            small.append(f"{item.id}: {kept}")
    return checked(
        "mask-small", "warning", f"lesion regions that are lost at {size} x {size} pixels", small,
        "Each keeps one pixel, so pixel figures know little about them. A record counts them in `masks`.",
        f"no lesion region is lost at {size} x {size} pixels",
    )  # fmt: skip
