"""The data doctor: what in a dataset on disk makes a result wrong or misleading."""
