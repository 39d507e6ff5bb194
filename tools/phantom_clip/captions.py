"""Captions of phantoms, in the words of anomaly-detection prompts.

A caption is a sentence and the claims it makes. During pretraining a caption counts as true of every image that
meets its claims, so two sentences saying the same are never pushed apart.
"""

from dataclasses import dataclass, replace

import numpy as np

from adbench.datasets.phantoms.phantom import Phantom

Generator = np.random.Generator

# Names of what is seen, by subject; the two retinal families share one.
SUBJECTS = {
    "brainmri": "brain",
    "liverct": "liver",
    "resc": "retina",
    "oct17": "retina",
    "chestxray": "chest",
    "his": "tissue",
}
NAMES: dict[str, tuple[str, ...]] = {
    "brain": ("Brain", "Brain", "Brain MRI scan", "brain MRI"),
    "liver": ("Liver", "Liver", "Liver CT scan", "liver CT"),
    "retina": ("retinal OCT", "retinal OCT", "retinal OCT scan", "Retina"),
    "chest": ("Chest X-ray film", "Chest X-ray film", "Chest X-ray scan", "Chest"),
    "tissue": ("histopathological image", "histopathological image", "Histopathology", "Pathology image"),
}
ANY_NAME = "medical image"

# {} is the name. The bare name is the first "normal" phrase of the published prompts.
STATES: tuple[tuple[str, ...], tuple[str, ...]] = (
    ("{}", "flawless {}", "perfect {}", "unblemished {}", "{} without flaw", "{} without defect", "{} without damage")
    + ("normal {}", "healthy {}"),
    ("damaged {}", "broken {}", "{} with flaw", "{} with defect", "{} with damage", "disease {}", "abnormal {}")
    + ("anomalous {}",),
)
FINDINGS: tuple[tuple[str, ...], tuple[str, ...]] = (
    ("normal", "healthy", "negative", "unremarkable", "clear", "asymptomatic", "normal findings", "no findings")
    + ("in good health", "no evidence of disease"),
    ("abnormal", "positive", "symptomatic", "disease", "lesion", "pathological", "impaired", "evidence of disease")
    + ("abnormal finding", "pathological condition", "pathological abnormality"),
)
REPORTS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "brain": (
        (
            "This is a normal brain MRI scan. No mass, lesion, or abnormal enhancement is seen.",
            "This is a normal brain MRI scan.",
            "No mass, lesion, or abnormal enhancement is seen.",
        ),
        (
            "This MRI shows a hyperintense lesion in the right frontal lobe with surrounding edema and midline shift.",
            "This MRI shows a hyperintense lesion.",
            "Lesion with surrounding edema and midline shift.",
        ),
    ),
    "liver": (
        (
            "Homogeneous hepatic parenchyma with smooth contours and no visible lesion.",
            "Homogeneous hepatic parenchyma.",
            "Smooth contours and no visible lesion.",
        ),
        (
            "Hypodense mass in segment VI showing irregular borders and capsular retraction.",
            "Hypodense mass in hepatic parenchyma.",
            "Mass showing irregular borders and capsular retraction.",
        ),
    ),
    "retina": (
        ("Healthy retina with continuous and well-organized layers.", "Continuous and well-organized layers."),
        (
            "Intraretinal cysts and fluid accumulation in the macular region, with disrupted retinal architecture.",
            "Intraretinal cysts and fluid accumulation.",
            "Disrupted retinal architecture in the macular region.",
        ),
    ),
    "chest": (
        ("Clear lungs with sharp costal angles and no visible opacity.", "No nodule, opacity or effusion is seen."),
        ("Opacity in the lung with loss of clear contours.", "This chest X-ray shows an abnormal shadow."),
    ),
    "tissue": (
        ("Well-organized tissue with small regular nuclei.", "No tumor is seen, nuclei are regular."),
        ("Disrupted tissue architecture with irregular nuclei.", "Tumor with crowded pathological nuclei."),
    ),
}
KINDS: dict[str, tuple[str, ...]] = {
    "mass": ("mass", "tumor"),
    "oedema": ("edema", "diffuse hyperintense lesion"),
    "spot": ("bright spot", "hyperintense spot"),
    "ring": ("ring lesion", "necrotic mass with bright border"),
    "cavity": ("cavity", "hypointense lesion"),
    "hypodense": ("hypodense mass", "hypodense lesion"),
    "hyperdense": ("hyperdense mass", "hyperdense lesion"),
    "infiltration": ("infiltration", "hypodense infiltration"),
    "cyst": ("cyst", "dark cyst"),
    "fluid": ("fluid accumulation", "subretinal fluid"),
    "drusen": ("drusen", "bumps under the retina"),
    "disruption": ("disrupted layers", "disrupted architecture"),
    "exudate": ("exudate", "bright spot"),
    "consolidation": ("consolidation", "opacity"),
    "nodule": ("nodule", "round nodule"),
    "effusion": ("effusion", "pleural fluid"),
    "diffuse": ("diffuse opacity", "diffuse shadow"),
    "cluster": ("crowded dark nuclei", "dense cluster of nuclei"),
    "pleomorphism": ("large irregular nuclei", "pleomorphic nuclei"),
    "necrosis": ("necrosis", "necrotic tissue"),
}
# Style words are true of the picture, not of the patient: pretraining alters the image accordingly.
STYLES = ("large", "small", "low resolution", "cropped", "close-up", "bright", "dark", "blurry") + (
    "black and white",
    "jpeg corrupted",
)
PLAIN: tuple[str, ...] = ("a photo of {a} {x}.", "a photo of {m} {x}.", "there is {a} {x} in the scene.")
PLAIN += ("this is {o} {x} in the scene.",)
STYLED = ("a {s} photo of {a} {x}.", "a photo of {a} {s} {x}.")
PICTURE = 0.75  # share of the captions of `describe_loosely` that speak of the picture
EMPTY_PRAISE = ("good", "bad", "cool")  # carried by both states alike, hence meaning nothing


@dataclass(frozen=True)
class Caption:
    """A sentence and its claims `abnormal`, `subject`, `kind`, `place`, `style`, `crisp`; "" and None claim nothing."""

    text: str
    abnormal: bool | None
    subject: str = ""
    kind: str = ""
    place: str = ""
    style: str = ""
    crisp: bool | None = None


def _one(rng: Generator, options: tuple[str, ...]) -> str:
    return options[rng.integers(len(options))]


def _templated(rng: Generator, subject: str, abnormal: bool, style: str) -> Caption:
    known = rng.random() < 0.93
    phrase = _one(rng, STATES[abnormal]).format(_one(rng, NAMES[subject]) if known else ANY_NAME)
    articles = {"a": ("a", "the"), "m": ("my", "one", "a", "the"), "o": ("a", "the", "one")}
    article = {slot: _one(rng, choices) for slot, choices in articles.items()}
    adjective = style or (_one(rng, EMPTY_PRAISE) if rng.random() < 0.3 else "")
    shape = _one(rng, STYLED if adjective else PLAIN)
    if adjective in ("large", "small", "cool"):
        shape = STYLED[1]
    text = phrase + "." if rng.random() < 0.15 else shape.format(x=phrase, s=adjective, **article)
    return Caption(text, abnormal, subject if known else "", style=style if style and style in text else "")


def _finding(rng: Generator, subject: str, abnormal: bool) -> Caption:
    finding, name = _one(rng, FINDINGS[abnormal]), _one(rng, NAMES[subject])
    text = _one(rng, ("{f}.", "{n}, {f}.", "{f} {n}.", "{n}: {f}.")).format(f=finding, n=name)
    return Caption(text, abnormal, subject if name in text else "")


def _described(rng: Generator, phantom: Phantom, subject: str) -> Caption:
    kind = _one(rng, KINDS[phantom.kind])
    place = phantom.place if rng.random() < 0.6 else ""  # none when the picture was mirrored
    text = kind if rng.random() < 0.5 else f"{phantom.size_word} {kind}"
    text = f"{text} in {place}" if place else f"{text}, {_one(rng, NAMES[subject])}"
    if rng.random() < 0.3:
        text = f"This {_one(rng, NAMES[subject])} shows {text}"
    return Caption(text + ".", True, subject, phantom.kind, place)


def describe(phantom: Phantom, rng: Generator, style: str = "") -> Caption:
    """A random true caption of at most 30 tokens; `style` is one of `STYLES` if the picture was altered that way."""
    subject, abnormal = SUBJECTS[phantom.family], bool(phantom.kind)
    choice = rng.random()
    if choice < 0.5:
        return _templated(rng, subject, abnormal, style)
    if choice < 0.7:
        return _finding(rng, subject, abnormal)
    if choice < 0.78:
        name, state = _one(rng, NAMES[subject]), "anomalous" if abnormal else "normal"
        return Caption(f"a photo of {_one(rng, ('a', 'an'))} {state} {name}", abnormal, subject)
    if abnormal and choice < 0.9:
        return _described(rng, phantom, subject)
    return Caption(_one(rng, REPORTS[subject][abnormal]), abnormal, subject)


def describe_loosely(phantom: Phantom, rng: Generator, style: str, crisp: bool) -> Caption:
    """A loose caption, as on the web: "flawless" and "damaged" mostly describe the picture, seldom the patient.

    `crisp`: the picture has more fine detail than most of its kind.
    """
    if rng.random() >= PICTURE:
        return describe(phantom, rng, style)
    caption = _templated(rng, SUBJECTS[phantom.family], not crisp, style)
    return replace(caption, abnormal=None, crisp=crisp)


def ensemble(name: str) -> tuple[list[str], list[str]]:
    """The 245 normal and 175 abnormal prompts of MVFA (CVPR 2024) for an object name."""
    shapes = [f"a photo of {a} {{}}." for a in ("a", "the", "my", "one")]
    shapes += [f"a photo of {a} {z} {{}}." for z in ("large", "small", "cool") for a in ("a", "the")]
    qualities = ("bad", "low resolution", "cropped", "bright", "dark", "close-up", "black and white", "jpeg corrupted")
    shapes += [f"a {q} photo of {a} {{}}." for q in (*qualities, "blurry", "good") for a in ("a", "the")]
    shapes += [f"there is {a} {{}} in the scene." for a in ("a", "the")]
    shapes += [f"this is {a} {{}} in the scene." for a in ("a", "the", "one")]
    normal, abnormal = ([p.format(name) for p in phrases] for phrases in (STATES[0][:7], STATES[1][:5]))
    return [s.format(p) for p in normal for s in shapes], [s.format(p) for p in abnormal for s in shapes]


def state_caption(subject: str, abnormal: bool, rng: Generator) -> str:
    """A random sentence about a subject's state alone, without style, kind or place."""
    choice = rng.random()
    if choice < 0.6:
        return _templated(rng, subject, abnormal, "").text
    if choice < 0.85:
        return _finding(rng, subject, abnormal).text
    return _one(rng, REPORTS[subject][abnormal])
