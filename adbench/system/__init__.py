"""Files, processes, output, progress bars: tools that know nothing of anomaly detection."""
