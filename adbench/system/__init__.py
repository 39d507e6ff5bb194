"""Files, processes, progress bars: what knows nothing of anomaly detection."""
