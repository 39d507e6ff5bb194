"""Volumes of several patients."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.datasets.stacks import lesions, nifti, volume


@pytest.fixture
def brains(tmp_path: Path) -> Path:
    """Four healthy and four ill patients, with masks."""
    root = tmp_path / "brains"
    for number in range(4):
        volume(root / "normal" / f"n{number}.nii.gz", number)
        volume(root / "abnormal" / f"a{number}.nii.gz", 10 + number, lesion=True)
        nifti(root / "masks" / f"a{number}.nii.gz", lesions())
    return root
