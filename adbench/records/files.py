"""The names of a record's files; docs/records.md describes each."""

from __future__ import annotations

RECORD = "record.json"
PREDICTIONS = "predictions.parquet"
PARAMETERS = "method.safetensors"
HISTOGRAM = "histogram.parquet"
IMAGE_HISTOGRAMS = "image_histograms.parquet"
LESIONS, FALSE_POSITIVES = "lesions.parquet", "false_positives.parquet"
HELD_OUT, HELD_OUT_PIXELS = "held_out.parquet", "held_out_pixels.parquet"
ALWAYS = (PREDICTIONS, PARAMETERS)  # of every record, besides RECORD
# All that is read of a record, pictures apart.
ALL = (
    RECORD, *ALWAYS, HISTOGRAM, IMAGE_HISTOGRAMS, LESIONS, FALSE_POSITIVES, HELD_OUT, HELD_OUT_PIXELS,
)  # fmt: skip
