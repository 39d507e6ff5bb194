"""What `adbench new-method NAME` writes: these very files, with `my_method` and `MyMethod` replaced (scaffold.py)."""
