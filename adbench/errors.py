"""Errors that a user can act on. Each message names the thing, the value, what is allowed and the next command."""

import difflib
from collections.abc import Iterable


class AdbenchError(Exception):
    """An error that the user can fix. The command line prints the message and exits with `exit_code`."""

    exit_code = 2


class DataError(AdbenchError):
    """A file or folder of a dataset is missing, unreadable or contradicts its neighbours."""

    exit_code = 3


class RecordError(AdbenchError):
    """A record is missing, incomplete or of another schema version."""

    exit_code = 4


class FailedCellError(RecordError):
    """What was taken for a record says that its cell failed."""


class AbsentError(AdbenchError):
    """Weights or text files of a backbone are not on this machine."""


class SweepError(AdbenchError):
    """Some cells of a sweep failed; the others have their records."""

    exit_code = 1


class StoppedError(AdbenchError):
    """A sweep was asked to stop, and did so after its running cells."""

    exit_code = 130


class PluginError(AdbenchError):
    """The code of a method, dataset or executor can't be imported, failed, or broke its contract."""


class MethodError(PluginError):
    """A method's own code failed."""

    exit_code = 1


class ReturnError(MethodError):
    """A function of a method returned something else than its contract says."""


FULL = "32-true"  # the precision in which a number overflows last


class NumericalError(AdbenchError):
    """A score, a map or a loss is not finite."""

    exit_code = 5


class LossError(NumericalError):
    """The loss of a training step is not finite.

    `place` says which step, where whoever raises it knows; training/fit.py puts it, or the running step, in front.
    """

    def __init__(self, terms: str, place: str = "") -> None:
        self.terms, self.place = terms, place
        super().__init__(f"the loss is not finite: {terms}. Try precision={FULL} or a smaller learning rate.")

    def at(self, precision: str) -> str:
        """Say it of a training at some precision: full precision is no advice where it is that.

        >>> LossError("dice is nan").at("32-true")
        'the loss is not finite: dice is nan. Try a smaller learning rate.'
        """
        return f"the loss is not finite: {self.terms}. Try a smaller learning rate." if precision == FULL else str(self)


def did_you_mean(word: str, allowed: Iterable[str]) -> str:
    """Return what to write for an unknown word: the end of a sentence after a colon, with its full stop.

    >>> did_you_mean("madclp", ["clip", "madclip"])
    "did you mean 'madclip'? Allowed: clip, madclip."
    >>> did_you_mean("padim", ["clip", "madclip"])
    'allowed: clip, madclip.'
    """
    names = sorted(allowed)
    near = nearest(word, names)
    hint = f"did you mean {near!r}? Allowed" if near else "allowed"
    return f"{hint}: {', '.join(names) or 'none'}."


def nearest(word: str, names: Iterable[str]) -> str | None:
    """Return the name of which a word may be a typo; None where no name is near enough.

    >>> nearest("zhs", ["bash", "fish", "zsh"]), nearest("gpu", ["auto", "cpu", "cuda"])
    ('zsh', None)
    """
    known = list(names)
    swapped = [name for name in known if sorted(name) == sorted(word)]  # in a short word two letters are much of it
    return next(iter(swapped or difflib.get_close_matches(word, known, n=1, cutoff=0.72)), None)
