"""Bundles: the records of a paper as one archive, written reproducibly and read as a stranger's."""
