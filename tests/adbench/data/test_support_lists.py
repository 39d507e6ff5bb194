"""The support lists that authors publish: what ships, and what each error says."""

from __future__ import annotations

import pytest

from adbench.data.support_lists import is_named, named_list
from adbench.errors import AdbenchError

BMAD = ("brainmri", "liverct", "resc", "oct17", "chestxray", "his")


@pytest.mark.parametrize("name", ["madclip", "mvfa"])
def test_every_list_names_k_images_of_each_class_once(name: str) -> None:
    for dataset in BMAD:
        for shots in (2, 4, 8, 16):
            named = named_list(name, dataset, shots)
            assert set(named) == {"n-0", "a-0"}
            assert [len(one.names) for one in named.values()] == [shots, shots]
            assert [len(set(one.names)) for one in named.values()] == [shots, shots]


def test_a_list_is_the_authors_own() -> None:
    assert named_list("madclip", "brainmri", 2)["n-0"].names == ["00563_99.png", "00405_99.png"]
    assert named_list("mvfa", "liverct", 4)["a-0"].names == ["4_487.png", "9_478.png", "10_340.png", "6_364.png"]
    oct17 = [named_list(name, "oct17", 16)["n-0"].names for name in ("madclip", "mvfa")]
    assert oct17[0] == oct17[1]  # the only cell that both papers share


@pytest.mark.parametrize(
    ("dataset", "shots", "message"),
    [
        ("brainmri", 3, "support=mvfa has no list of 3 shots for brainmri: shots=2, 4, 8, 16 are possible"),
        ("brainmri", "full", "no list of full shots"),
        ("busi", 4, "support=mvfa has no list for busi; it has lists for brainmri, liverct, resc"),
    ],
)
def test_a_list_that_nobody_publishes_is_refused_with_those_there_are(
    dataset: str, shots: int | str, message: str
) -> None:
    with pytest.raises(AdbenchError, match=message):
        named_list("mvfa", dataset, shots)


def test_a_path_is_no_name() -> None:
    assert is_named("mvfa")
    assert not any(map(is_named, [None, "./mvfa", "lists/mvfa", "mvfa.txt", "MVFA"]))
