"""The keys of `adbench reproduce`."""

FILTERS = ("table", "dataset", "method", "shots", "metric")  # which figures of a paper
REPEATS = ("seed", "draw")  # how often their cells are run
# Keys of `adbench run` that say where and on what cells run.
PLACES = (
    "data_root", "runs", "cache", "cache_gb", "feature_cache", "features_gb", "force", "gallery", "gallery_levels",
    "device", "cores", "executor", "workers", "loader_workers", "logger",
)  # fmt: skip
CHANGES = ("backbone", "schedule", "precision", "batch_size")  # with another value than the paper's it is another cell
KEYS = (*FILTERS, *REPEATS, *PLACES, *CHANGES)
