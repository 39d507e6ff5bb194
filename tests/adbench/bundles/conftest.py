"""The phantoms of the tests of `adbench verify`."""

from tests.adbench.verify.conftest import phantoms  # noqa: F401
