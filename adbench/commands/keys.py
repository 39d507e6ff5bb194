"""Keys that the commands other than `run` and `plan` take."""

DATA_KEYS = ("data_root", "cache")
SUPPORT_KEYS = ("dataset", "method", "shots", "draw", "support", "protocol", "train_on", "backbone", *DATA_KEYS)
SYNTHESIS_KEYS = ("shots", "draw", "seed", "support", "input_size", "backbone", *DATA_KEYS)
LOAD_KEYS = ("device", "cache", "precision", "backbone.weights", "method")  # of the machine that rebuilds a method
SCORE_KEYS = ("out", "threshold", "map_threshold", "specificity", *LOAD_KEYS)
PLOT_KEYS = ("data_root", *LOAD_KEYS)
VERIFY_KEYS = PLOT_KEYS
