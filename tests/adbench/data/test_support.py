from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from adbench.cells.resolve import resolve
from adbench.config import words as config
from adbench.data import support
from adbench.data.items import Item
from adbench.errors import AdbenchError
from adbench.records.record import read_all


def rows(label: int, patients: int, slices: int) -> list[Item]:
    return [
        Item(f"valid/{label}/{p:03d}_{s}.png", "valid", label, Path(f"{p:03d}_{s}.png"), patient=f"{p:03d}")
        for p in range(patients)
        for s in range(slices)
    ]


POOL = rows(0, 8, 3) + rows(1, 5, 4)
HASHES = {item.id: f"content of {item.id}" for item in POOL}


def chosen(shots: int, number: int = 0, classes: tuple[int, ...] = (0, 1), pool: list[Item] = POOL) -> set[str]:
    return {item.id for item in support.FewShotSampler(shots, number, classes)(pool, "the valid split")}


def drawn(
    pool: list[Item], shots: int | str, number: int, classes: tuple[int, ...], hashes: dict[str, str] = HASHES
) -> tuple[list[Item], support.Manifest]:
    sampler = support.FewShotSampler(shots, number, classes)
    items = sampler(pool)
    return items, sampler.manifest(items, hashes)


def test_draws_are_nested_in_k() -> None:
    for small, large in ((1, 2), (2, 4), (4, 8), (8, 16)):
        assert chosen(small) < chosen(large)


def test_every_patient_gives_one_image_before_any_gives_two() -> None:
    for number in range(5):
        order = support.draw_order(rows(1, 5, 4), number)
        for turn in range(4):
            assert len({item.patient for item in order[5 * turn : 5 * turn + 5]}) == 5


def test_images_without_patients_are_their_own() -> None:
    pool = [Item(f"v/0/{i}.png", "valid", 0, Path(f"{i}.png")) for i in range(6)]
    assert {item.id for item in support.draw_order(pool, 0)} == {item.id for item in pool}


def test_the_normals_are_the_same_with_and_without_abnormals() -> None:
    assert chosen(4, classes=(0,)) == {i for i in chosen(4) if "/0/" in i}


def test_draws_differ_and_the_order_of_files_does_not_matter() -> None:
    assert len({frozenset(chosen(4, n)) for n in range(6)}) > 4
    assert chosen(4) == chosen(4, pool=POOL[::-1])


@pytest.mark.slow
def test_the_hash_seed_of_python_does_not_matter() -> None:
    code = "from test_support import chosen; print(sorted(chosen(4)))"
    outs = {
        subprocess.run(
            [sys.executable, "-c", code], env={**os.environ, "PYTHONHASHSEED": seed}, cwd=Path(__file__).parent,
            capture_output=True, text=True, check=True,
        ).stdout
        for seed in ("1", "2")
    }  # fmt: skip
    assert outs == {f"{sorted(chosen(4))}\n"}


def test_more_shots_than_images_says_how_many_there_are() -> None:
    with pytest.raises(AdbenchError, match="shots=21.*24 normal and 20 abnormal.*At most shots=20"):
        chosen(21)


def test_full_takes_every_image_and_every_number_of_shots_is_its_prefix() -> None:
    for number in (0, 3):
        items, manifest = drawn(POOL, "full", number, (0, 1))
        assert manifest.shots == "full"
        assert len(items) == len(POOL) == 44
        assert {item.id for item in items} == {item.id for item in POOL}
        for shots in (1, 2, 4, 8, 16):
            _, few = drawn(POOL, shots, number, (0, 1))
            assert few.normal == manifest.normal[:shots]
            assert few.abnormal == manifest.abnormal[:shots]
    normals, _ = drawn(POOL, "full", 0, (0,))
    assert [item.label for item in normals] == [0] * 24


def test_full_is_a_support_of_its_own_even_where_a_number_takes_all() -> None:
    pool = rows(0, 4, 2)
    _, full = drawn(pool, "full", 0, (0,))
    _, eight = drawn(pool, 8, 0, (0,))
    assert full.normal == eight.normal
    assert full.hash != eight.hash


def test_full_of_a_class_that_is_not_there_names_another_split() -> None:
    with pytest.raises(AdbenchError, match="shots=full.*the train split has 24 normal and 0 abnormal.*support_split="):
        support.FewShotSampler("full")(rows(0, 8, 3), "the train split")


@pytest.mark.parametrize("word", ["shots=fulll", "shots=all", "shots=-1", "shots=2.5", "shots=null"])
def test_other_shots_are_one_sentence(word: str) -> None:
    with pytest.raises(AdbenchError, match="shots"):
        config.parse([word])
    assert [run.shots for run in config.parse(["shots=4,full"])] == [4, "full"]


def test_full_is_recorded_as_such_and_stands_beside_numbers_on_the_leaderboard(adbench, tiny, tmp_path: Path) -> None:
    words = [f"data_root={tiny}", f"runs={tmp_path / 'runs'}", "gallery=0", "method=patchcore"]
    answer = adbench("run", "shots=2,full", "draw=0,1", *words)
    assert answer.code == 0, answer.err
    cells = [resolve(run) for run in config.parse([*words, "shots=full", "draw=0,1"])]
    assert cells[0].key == cells[1].key
    noted = ["shots=full takes every image: draw is set to 0." in cell.notes for cell in cells]
    assert noted == [False, True]
    found = read_all(tmp_path / "runs")
    full = [record.content for record in found if record.content["support"]["shots"] == "full"]
    assert len(found) == 3, "two draws of 2 shots, one of all images"
    assert len(full[0]["support"]["normal"]) == 6
    assert full[0]["resolved"]["shots"] == "full"
    board = adbench("leaderboard", tmp_path / "runs", "--csv", tmp_path / "board.csv")
    assert board.code == 0, board.err
    table = pd.read_csv(tmp_path / "board.csv")
    counts = table[table["metric"] == "image_auroc"].set_index("shots")["n"].to_dict()
    assert counts == {"2": 2, "full": 1}


def test_the_manifest_hash_covers_content() -> None:
    _, one = drawn(POOL, 2, 0, (0, 1))
    _, same = drawn(POOL, 2, 0, (0, 1), dict(HASHES))
    changed = HASHES | {one.normal[0]: "other pixels"}
    _, other = drawn(POOL, 2, 0, (0, 1), changed)
    assert one.hash == same.hash != other.hash


def test_lists_are_honoured_exactly(tmp_path: Path) -> None:
    file = tmp_path / "2-shot.txt"
    file.write_text("a-0: 004_3.png 000_0.png\nn-0: 007_2.png 001_1.png\n")
    items, manifest = support.from_list(file, POOL, HASHES, (0, 1), "the valid split")
    assert [i.path.name for i in items] == ["007_2.png", "001_1.png", "004_3.png", "000_0.png"]
    assert (manifest.source, manifest.shots) == ("list:2-shot.txt", 2)


def test_a_list_names_as_much_of_a_path_as_tells_images_apart(tmp_path: Path) -> None:
    pool = [
        Item(f"test/{kind}/000.png", "valid", label, Path(f"/data/{kind}/000.png"))
        for label, kind in ((0, "bottle/good"), (0, "cable/good"), (1, "cable/bent"))
    ]
    hashes = {item.id: item.id for item in pool}
    file = tmp_path / "list.txt"
    file.write_text("n-0: cable/good/000.png\na-0: 000.png\n")
    items, _ = support.from_list(file, pool, hashes, (0, 1), "the valid split")
    assert [item.path.parent.as_posix() for item in items] == ["/data/cable/good", "/data/cable/bent"]
    file.write_text("n-0: 000.png\na-0: 000.png\n")
    with pytest.raises(AdbenchError, match="2 normal images .* /data/bottle/good/000.png, /data/cable/good/000.png"):
        support.from_list(file, pool, hashes, (0, 1), "the valid split")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("n-0: 007_2.png\n", "no line `a-0"),
        ("n-0: 007_2.png\na-0:\n", "no line `a-0"),
        (
            "n-0: 007_2.png\n\na-0: gone.png\n",
            "line 3, names gone.png, which is no abnormal image of .*: it isn't there",
        ),
        ("n-0: 007_2.png\na-0: 900_0.png\n", "line 2, names 900_0.png.*: it is abnormal, in the test split"),
        ("n-0: 007_2.png\na-0: 007_1.png\n", "line 2, names 007_1.png.*: it is normal, in the valid split"),
        ("n-0: 007_2.png 007_2.png\na-0: 004_3.png\n", "twice"),
        ("n-0: 007_2.png\na-0: 004_3.png\nn-0: 001_1.png\n", "line 3, begins with n-0 as line 1 does"),
        ("n-0: 007_2.png\na-1: 004_3.png\n", "line 2, begins with 'a-1'"),
        ("007_2.png 001_1.png\n", "line 1, begins with '007_2.png 001_1.png'"),
        ("n-0: 'normal (0).png\n", "line 1: a quote isn't closed"),
    ],
)
def test_bad_lists_are_one_sentence(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "list.txt").write_text(text)
    everything = [*POOL, Item("test/1/900_0.png", "test", 1, Path("900_0.png"))]
    with pytest.raises(AdbenchError, match=says):
        support.from_list(tmp_path / "list.txt", POOL, HASHES, (0, 1), "the valid split", everything)


def test_names_with_blanks_stand_in_quotes(tmp_path: Path) -> None:
    pool = [
        Item(f"train/{name}", "train", label, Path(f"/busi/{name}"))
        for label, name in enumerate(("n (0).png", "m (0).png"))
    ]
    (tmp_path / "list.txt").write_text("n-0: \"n (0).png\"\na-0: 'm (0).png'\n")
    items, _ = support.from_list(tmp_path / "list.txt", pool, {i.id: i.id for i in pool}, (0, 1), "the train split")
    assert items == pool


@pytest.mark.parametrize(
    "data",
    [
        "\ufeffa-0: img/m0.png img/m1.png\r\nn-0: img/n0.png img/n1.png\r\n".encode(),
        "a-0: img/m0.png img/m1.png\r\nn-0: img/n0.png img/n1.png\r\n".encode("utf-16"),
        b"a-0: img\\m0.png img\\m1.png\nn-0: img\\n0.png img\\n1.png\n",
        b"A-0:\timg/m0.png\timg/m1.png\t\t\nN-0:\timg/n0.png\timg/n1.png\t\n",
        b"n-0: img/n0.png, img/n1.png,,\n,,,\na-0: ./img/m0.png,./img/m1.png\n",
        b'n-0: "n0.png";"n1.png";\na-0: m0.png;m1.png;\n',
    ],
)
def test_lists_are_read_however_they_were_saved(tmp_path: Path, data: bytes) -> None:
    pool = [Item(f"valid/{k}{i}", "valid", k == "m", Path(f"img/{k}{i}.png")) for k in "nm" for i in range(3)]
    (tmp_path / "list.txt").write_bytes(data)
    items, manifest = support.from_list(tmp_path / "list.txt", pool, {i.id: i.id for i in pool}, (0, 1), "the pool")
    assert [item.id for item in items] == ["valid/n0", "valid/n1", "valid/m0", "valid/m1"]
    assert manifest.shots == 2


def test_a_list_that_is_no_text_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_bytes(b"n-0: a.png\0\x81")
    with pytest.raises(AdbenchError, match="cannot be read: it is text in none of UTF-8, UTF-16 and Windows-1252"):
        support.from_list(tmp_path / "list.txt", POOL, HASHES, (0,), "x")


def test_a_run_honours_a_list_and_names_it(adbench, tiny: Path, tmp_path: Path) -> None:
    file = tmp_path / "my list.txt"
    file.write_text("a-0: 00011_65.png\nn-0: 00001_64.png 00000_60.png\n")
    words = [f"data_root={tiny}", f"runs={tmp_path / 'runs'}", "gallery=0", "input_size=56", "eval_size=56"]
    answer = adbench("run", "method=patchcore", f"support={file}", "draw=1,0", *words)
    assert answer.code == 0, answer.err
    (record,) = read_all(tmp_path / "runs")  # a draw of a list is the list
    assert record.content["support"]["source"] == "list:my list.txt"
    assert record.content["support"]["normal"] == ["valid/normal/00001_64.png", "valid/normal/00000_60.png"]
    assert record.content["support"]["abnormal"] == []
    assert (record.content["support"]["shots"], record.content["resolved"]["draw"]) == (2, 0)
    assert "names its images: draw is set to 0" in answer.out
    file.write_text("n-0: 00100_60.png\n")
    refused = adbench("run", "method=patchcore", f"support={file}", *words)
    assert refused.code == 2
    assert "line 1, names 00100_60.png" in refused.err
    assert "in the test split" in refused.err


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["method=patchcore", "protocol=full_normal"], "protocol=full_normal takes every normal image"),
        (["method=clip"], "clip learns from no image"),
        (["method=patchcore", "train_on=liverct"], "lists images of one dataset; protocol=cross_dataset"),
    ],
)
def test_a_list_that_would_not_be_used_is_refused(adbench, tiny: Path, tmp_path: Path, words, says) -> None:
    answer = adbench("run", f"data_root={tiny}", f"runs={tmp_path / 'runs'}", "support=any.txt", *words)
    assert answer.code == 2
    assert "support=any.txt" in answer.err
    assert says in answer.err


def test_a_missing_list_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(AdbenchError, match="cannot be read"):
        support.from_list(tmp_path / "none.txt", POOL, HASHES, (0,), "x")


def test_the_sampler_is_public_and_needs_no_dataset() -> None:
    import adbench

    items = adbench.FewShotSampler(shots=2, draw=1)(POOL)
    assert [item.label for item in items] == [0, 0, 1, 1]
    assert items == support.FewShotSampler(2, 1)(list(reversed(POOL))), "the order of the pool does not matter"
    assert adbench.FewShotSampler(shots=2, draw=1, classes=(0,))(POOL) == items[:2]
    assert adbench.FewShotSampler(shots=2, draw=1, classes=(1,))(POOL) == items[2:]
    assert adbench.FewShotSampler(shots=0)(POOL) == []
    assert {item.id for item in adbench.FewShotSampler(shots="full")(POOL)} == {item.id for item in POOL}
    assert adbench.FewShotSampler(shots=3) == adbench.FewShotSampler(shots=3), "a value"


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ({"shots": -1}, "shots=-1 is not possible"),
        ({"shots": "some"}, "shots=some is not possible: give a number"),
        ({"shots": 2.5}, "shots=2.5 is not possible"),
        ({"draw": -1}, "draw=-1 is not possible: give a number from 0"),
        ({"classes": (2,)}, r"classes=\(2,\) is not possible"),
        ({"classes": "normal"}, "classes=normal is not possible"),
    ],
)
def test_a_sampler_of_impossible_values_is_refused(keys: dict[str, object], says: str) -> None:
    with pytest.raises(AdbenchError, match=says):
        support.FewShotSampler(**keys)  # type: ignore[arg-type]
