"""Templates of `adbench new-method NAME`: `my_method` and `MyMethod` are replaced (commands/new_method.py)."""
