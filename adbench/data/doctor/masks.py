"""Checks of lesion masks: presence, size, content, values."""

from __future__ import annotations

from adbench.data.doctor.finding import Finding, ScannedDataset, checked, relative

MAX_COVERED = 0.9  # share of the image; a mask that covers more is probably inverted


def lesion_masks(data: ScannedDataset) -> list[Finding]:
    """Check that each abnormal image has a mask of its size that is not empty and has two values."""
    configured = data.config.masks
    if configured is False or (configured is None and not data.masks):
        return [Finding("masks", "ok", "masks: the dataset has none, or they are not used")]
    missing = [i.id for i in data.items if i.label and not i.mask_files]
    sizes, grey, empty, full, odd = [], [], [], [], []
    share = 0.0
    for item in data.items:
        image, files = data.images[item.path], item.mask_files
        masks = [data.masks[file] for file in files]
        if not masks or image.error or any(mask.error for mask in masks):
            continue
        for file, mask in zip(files, masks, strict=True):
            if (mask.width, mask.height) != (image.width, image.height):
                mask_size, image_size = f"{mask.width} x {mask.height}", f"{image.width} x {image.height}"
                sizes.append(f"{relative(file, data.root)} is {mask_size}, its image {image_size}")
            if mask.values > 2:
                grey.append((mask.between, f"{relative(file, data.root)}: {mask.values} values"))
                share = max(share, mask.between)
        covered = max(mask.above for mask in masks)
        if item.label and covered == 0:
            highest = max(mask.highest for mask in masks)
            empty.append(f"{item.id}: " + (f"highest value {highest}" if highest else "all zero"))
        elif item.label and covered > MAX_COVERED:
            full.append(f"{item.id}: {100 * covered:.0f} % abnormal")
        elif not item.label and covered:
            odd.append(item.id)
    threshold = data.config.mask_threshold
    between = [text + f", {100 * part:.2g} % between" for part, text in sorted(grey, reverse=True)]
    allow = data.config.empty_masks == "allow"
    hint = " Without masks: dataset.masks=false"
    return [
        checked("mask-missing", "error", "abnormal images without a mask", missing, "A run stops at the first." + hint,
                 "every abnormal image has a mask"),
        checked("mask-size", "error", "mask and image differ in size", sizes,
                 "Which pixels are abnormal is unknown; a run stops.",
                 "masks have the size of their images"),
        checked("mask-empty", "warning" if allow else "error", "empty masks of abnormal images", empty,
                 f"No pixel exceeds dataset.mask_threshold={threshold}, so pixel figures count the lesion as healthy. "
                 "Fix the mask or the threshold, or accept it: dataset.empty_masks=allow",
                 "no mask of an abnormal image is empty"),
        checked("mask-of-normal", "error", "masks of normal images that are not empty", odd,
                 "Label and mask contradict each other; every pixel of a normal image counts as normal.",
                 "no normal image has a lesion mask"),
        checked("mask-full", "warning", f"masks that cover more than {100 * MAX_COVERED:.0f} % of the image", full,
                 "They may be inverted: abnormal pixels must be white.", "no mask covers nearly all of its image"),
        checked("mask-values", "warning", "masks with values other than two", between,
                 f"Up to {100 * share:.2g} % of a mask's pixels lie between its lowest and highest value: there the "
                 f"threshold {threshold} draws the outline (JPEG noise, or several classes).", "masks have two values"),
    ]  # fmt: skip
