"""The data doctor's look at lesion masks."""

from __future__ import annotations

from adbench.data.doctor.finding import Case, Finding, finding, mask_files, short

FULL = 0.9  # a lesion mask that covers more of its image is suspected to be inverted


def paired(case: Case) -> list[Finding]:
    """Look at the lesion masks: one for each abnormal image, of its size, with something in it, and of two values."""
    wanted = case.config.masks
    if wanted is False or (wanted is None and not case.masks):
        return [Finding("masks", "ok", "masks: the dataset has none, or they are not used")]
    missing = [i.id for i in case.items if i.label and not mask_files(i)]
    sizes, grey, empty, full, odd = [], [], [], [], []
    share = 0.0
    for item in case.items:
        image, files = case.images[item.path], mask_files(item)
        facts = [case.masks[file] for file in files]
        if not facts or image.error or any(fact.error for fact in facts):
            continue
        for file, fact in zip(files, facts, strict=True):
            if (fact.width, fact.height) != (image.width, image.height):
                own, other = f"{fact.width} x {fact.height}", f"{image.width} x {image.height}"
                sizes.append(f"{short(file, case.root)} is {own}, its image {other}")
            if fact.values > 2:
                grey.append((fact.between, f"{short(file, case.root)}: {fact.values} values"))
                share = max(share, fact.between)
        covered = max(fact.above for fact in facts)
        if item.label and covered == 0:
            highest = max(fact.highest for fact in facts)
            empty.append(f"{item.id}: " + (f"highest value {highest}" if highest else "all zero"))
        elif item.label and covered > FULL:
            full.append(f"{item.id}: {100 * covered:.0f} % abnormal")
        elif not item.label and covered:
            odd.append(item.id)
    threshold = case.config.mask_threshold
    between = [text + f", {100 * part:.2g} % between" for part, text in sorted(grey, reverse=True)]
    allow = case.config.empty_masks == "allow"
    hint = " Without masks: dataset.masks=false"
    return [
        finding("mask-missing", "error", "abnormal images without a mask", missing, "A run stops at the first." + hint,
                 "every abnormal image has a mask"),
        finding("mask-size", "error", "mask and image differ in size", sizes,
                 "Which pixels are abnormal is unknown; a run stops.",
                 "masks have the size of their images"),
        finding("mask-empty", "warning" if allow else "error", "empty masks of abnormal images", empty,
                 f"No pixel exceeds dataset.mask_threshold={threshold}, so pixel figures count the lesion as healthy. "
                 "Mend the mask or the threshold, or dataset.empty_masks=allow",
                 "no mask of an abnormal image is empty"),
        finding("mask-of-normal", "error", "masks of normal images that are not empty", odd,
                 "Label and mask contradict each other; a normal image counts as normal in every pixel.",
                 "no normal image has a lesion mask"),
        finding("mask-full", "warning", f"masks that cover more than {100 * FULL:.0f} % of the image", full,
                 "They may be inverted: white must be abnormal.", "no mask covers nearly all of its image"),
        finding("mask-values", "warning", "masks with values other than two", between,
                 f"Up to {100 * share:.2g} % of a mask's pixels lie between its lowest and highest value: there the "
                 f"threshold {threshold} draws the outline (JPEG noise, or several classes).", "masks have two values"),
    ]  # fmt: skip
