"""adbench: few-shot and zero-shot anomaly detection in medical images, compared fairly."""

__version__ = "0.1.0"
