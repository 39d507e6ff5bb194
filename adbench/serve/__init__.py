"""The page of `adbench serve`: a record's method on images in a browser of this machine."""
