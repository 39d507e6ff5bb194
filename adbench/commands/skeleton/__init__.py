"""Skeleton of a method's package: `adbench new-method` writes these files with `my_method` and `MyMethod` replaced."""
