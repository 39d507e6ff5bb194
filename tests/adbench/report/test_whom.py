"""Who was tested, in lines."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from adbench.report.whom import patient_lines


@pytest.mark.parametrize(
    ("groups", "said"), [([0, 0, 1, 1], "2 each"), ([0, 1, 1, 1], "1 to 3, median 2"), ([0, 1, 2, 3], "1 each")]
)
def test_images_per_patient(groups: list[int], said: str) -> None:
    table = pd.DataFrame({"label": [0, 0, 1, 1], "patient": [f"p{group}" for group in groups]})
    test: Any = SimpleNamespace(table=table, groups=np.array(groups))
    assert dict(patient_lines(test))["images per patient"] == said
