"""The session of one command."""

from __future__ import annotations

import pytest

from adbench.system.session import NotThereError, Session


def test_a_session_keeps_an_answer_by_its_arguments_and_no_error() -> None:
    seen = []

    def double(number: int) -> int:
        seen.append(number)
        if number < 0:
            raise ValueError
        return 2 * number

    session = Session()
    assert [session.once(double, 1), session.once(double, 1), session.once(double, 2)] == [2, 2, 4]
    assert seen == [1, 2]
    for _ in range(2):
        with pytest.raises(ValueError):
            session.once(double, -1)
    assert Session().once(double, 1) == 2
    assert seen == [1, 2, -1, -1, 1]
    with pytest.raises(TypeError, match="unhashable"):  # what can't be told apart can't be kept
        session.once(len, [1])


@pytest.mark.parametrize("offline", [False, True])
def test_an_offline_session_looks_once_for_what_is_not_there(offline: bool) -> None:
    seen = []

    def absent(name: str) -> None:
        seen.append(name)
        raise NotThereError(f"{name} is not there")

    session = Session(offline=offline)
    for name in ("a", "a", "b"):
        with pytest.raises(NotThereError, match=f"{name} is not there"):
            session.once(absent, name)
    assert seen == (["a", "b"] if offline else ["a", "a", "b"])
