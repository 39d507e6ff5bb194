"""Keys that the commands other than `run` and `plan` take."""

DATA_KEYS = ("data_root", "cache")
SUPPORT_KEYS = ("dataset", "method", "shots", "draw", "support", "protocol", "train_on", "backbone", *DATA_KEYS)
SCORE_KEYS = ("out", "threshold", "device", "cache", "precision", "backbone.weights", "method")
