"""The user's own images, in folders and in tables."""

from __future__ import annotations

from pathlib import Path

import pytest

from adbench.data.items import count, decide_masks
from adbench.errors import DataError
from tests.datasets.sets import facts_of, fill, index, noise, read


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    """No splits: patients as folders, three formats, masks under the images' paths, one in two files."""
    for patient in range(8):
        place, number = ("normal", patient) if patient < 4 else ("abnormal", patient)
        for n, ending in enumerate(("png", "bmp", "tif")):
            noise(tmp_path / place / f"p{number}" / f"s{n}.{ending}", 10 * patient + n)
            if place == "abnormal":
                noise(tmp_path / "masks" / f"p{number}" / f"s{n}_mask.png", 0)
    noise(tmp_path / "masks" / "p4" / "s0_mask_1.png", 1)
    (tmp_path / "normal" / "notes.txt").write_text("no image")
    noise(tmp_path / "normal" / ".hidden.png", 999)
    return tmp_path


def test_folders_without_splits_are_dealt_by_patient(folders: Path) -> None:
    items = index(folders, patient_pattern="^(?P<patient>[^/]+)/")
    assert [count(items, split) for split in ("train", "valid", "test")] == [(6, 6), (0, 0), (6, 6)]
    patients = [{i.patient for i in items if i.split == split} for split in ("train", "test")]
    assert [len(found) for found in patients] == [4, 4]
    assert not patients[0] & patients[1]
    other = index(folders, patient_pattern="^(?P<patient>[^/]+)/", split_seed=1)
    assert {i.patient for i in other if i.split == "train"} != patients[0]


def test_masks_pair_by_path_and_are_a_union(folders: Path) -> None:
    items = index(folders)
    by_name = {i.id.partition("abnormal/")[2]: i for i in items if i.label}
    assert [p.name for p in by_name["p4/s0.png"].mask or ()] == ["s0_mask.png", "s0_mask_1.png"]
    assert by_name["p5/s0.png"].mask == (folders / "masks" / "p5" / "s0_mask.png",)
    assert decide_masks(facts_of(), items).masks is True
    (folders / "masks" / "p5" / "s1_mask.png").unlink()
    with pytest.raises(
        DataError, match=r"1 of 12 abnormal images has no mask, as .*p5/s1\.bmp; s0\.png has .*/s0_mask"
    ):
        decide_masks(facts_of(), index(folders))
    with pytest.raises(DataError, match=r"p5/s1\.bmp has no mask: expected p5/s1\.\* in masks/ or .*masks=false"):
        index(folders, masks=True)
    assert all(i.mask is None for i in index(folders, masks=False))


def test_a_split_depends_on_content_and_not_on_place_or_file_order(
    folders: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = {i.id for i in index(folders)}
    moved = tmp_path_factory.mktemp("elsewhere") / "deep" / "set"
    moved.parent.mkdir()
    folders.rename(moved)
    genuine = Path.iterdir
    monkeypatch.setattr(Path, "iterdir", lambda self: iter(sorted(genuine(self), reverse=True)))
    assert {i.id for i in index(moved)} == first


def test_copies_of_an_image_stay_together(tmp_path: Path) -> None:
    for i in range(20):
        noise(tmp_path / "normal" / f"{i}.png", i)
        (tmp_path / "normal" / f"copy of {i}.png").write_bytes((tmp_path / "normal" / f"{i}.png").read_bytes())
        noise(tmp_path / "abnormal" / f"{i}.png", 100 + i)
    items = index(tmp_path)
    splits = {i.path.name: i.split for i in items if not i.label}
    assert {splits[f"{i}.png"] == splits[f"copy of {i}.png"] for i in range(20)} == {True}
    assert count(items, "train") == (20, 10)


def test_split_folders_are_taken_as_they_are(tmp_path: Path) -> None:
    for n, split in enumerate(("train", "Val", "test")):
        noise(tmp_path / split / "good" / f"{n}.png", n)
        noise(tmp_path / split / "Ungood" / f"{n}.png", 10 + n)
    items = index(tmp_path)
    assert {(i.split, i.label) for i in items} == {(s, label) for s in ("train", "valid", "test") for label in (0, 1)}
    noise(tmp_path / "normal" / "x.png", 99)
    with pytest.raises(DataError, match="holds both normal/ and .*/. Put all class folders into splits, or none"):
        index(tmp_path)


def test_a_patient_in_two_split_folders_is_an_error_unless_accepted(tmp_path: Path) -> None:
    for split in ("train", "test"):
        noise(tmp_path / split / "normal" / f"p1_{split}.png", 1)
        noise(tmp_path / split / "abnormal" / f"{split}_2.png", 2)
    pattern = "^(?P<patient>p1)_"
    with pytest.raises(DataError, match=r"p1_train\.png: patient p1 is in train here and in test by .*p1_test\.png"):
        index(tmp_path, patient_pattern=pattern)
    assert len(index(tmp_path, patient_pattern=pattern, allow_patient_overlap=True)) == 4


def test_a_split_folder_without_classes_is_named(tmp_path: Path) -> None:
    noise(tmp_path / "test" / "normal" / "a.png", 1)
    noise(tmp_path / "train" / "sick" / "a.png", 1)
    with pytest.raises(DataError, match=r"train contains no normal/ or abnormal/ folder; found sick"):
        index(tmp_path)


def test_a_folder_of_pictures_runs(adbench, tmp_path: Path) -> None:
    for i in range(4):
        noise(tmp_path / "data" / "normal" / f"{i}.png", i)
        noise(tmp_path / "data" / "abnormal" / f"{i}.png", 10 + i)
    words = [
        "method=clip",
        "dataset=folder",
        f"data_root={tmp_path / 'data'}",
        f"runs={tmp_path / 'runs'}",
        "gallery=0",
    ]
    answer = adbench("run", *words, 'dataset.object_name="knee MRI"')
    assert (answer.code, answer.err) == (0, "")
    assert "image AUROC" in answer.out
    assert "pixel AUROC" not in answer.out


def test_hidden_files_and_folders_are_no_data_anywhere(tmp_path: Path) -> None:
    root = tmp_path / ".cache" / "set"
    fill(root, "test/normal/a.png", "test/abnormal/b.png", "test/masks/b.png")
    litter = (
        "normal/.ipynb_checkpoints/a.png",
        "abnormal/p/@eaDir/b.png",
        ".normal/c.png",
        "__MACOSX/d.png",
        "masks/._b.png",
    )
    fill(root, *(f"test/{name}" for name in litter), "__MACOSX/test/normal/._a.png", ".git/x.png")
    (root / "test" / "normal" / "Thumbs.db").touch()
    items, notes = read(root)
    assert [(i.id, len(i.mask_files)) for i in items] == [("test/abnormal/b.png", 1), ("test/normal/a.png", 0)]
    assert notes == []


def test_linked_folders_are_read_with_their_masks(tmp_path: Path) -> None:
    fill(tmp_path, *(f"disk/{kind}/{n}.png" for kind in ("healthy", "ill", "drawn") for n in range(3)))
    for name, kind in (("normal", "healthy"), ("abnormal", "ill"), ("masks", "drawn")):
        (tmp_path / "set" / name).mkdir(parents=True)
        (tmp_path / "set" / name / "batch").symlink_to(tmp_path / "disk" / kind)
    items = index(tmp_path / "set", split_shares=[0, 0, 1])
    assert [i.label for i in items] == [1, 1, 1, 0, 0, 0]
    assert [len(i.mask_files) for i in items] == [1, 1, 1, 0, 0, 0]
    assert items[0].id == "test/abnormal/batch/0.png"
    (tmp_path / "set" / "abnormal" / "more").symlink_to(tmp_path / "disk" / "healthy")
    with pytest.raises(
        DataError, match=r"abnormal/more and .*normal/batch are the same folder\. Remove one of the links"
    ):
        index(tmp_path / "set")
    (tmp_path / "set" / "abnormal" / "more").unlink()
    (tmp_path / "set" / "abnormal" / "later").symlink_to("batch")
    items, notes = read(tmp_path / "set")
    assert len(items) == 6
    assert notes == [
        f"{tmp_path}/set/abnormal/later leads to a folder that is read already or lies above, and isn't read."
    ]


def test_files_of_other_kinds_are_counted(tmp_path: Path) -> None:
    fill(tmp_path, "normal/a.png", "abnormal/b.png")
    for name in ("normal/p/c.gif", "normal/d.GIF", "normal/e.webp"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    items, notes = read(tmp_path)
    assert len(items) == 2
    assert notes == ["3 files in normal/ have no ending that is read: .gif (2), .webp (1), for example d.GIF."]
    (tmp_path / "abnormal" / "b.png").rename(tmp_path / "abnormal" / "b.mha.gz")
    with pytest.raises(
        DataError,
        match=r"abnormal holds no image that is read, but 1 other file: \.mha\.gz \(1\), .*Read are \.png, \.jpg",
    ):
        index(tmp_path)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        (
            "scratch",
            r"Read: dataset\.abnormal_folders=\[abnormal,ungood,bad,scratch\] \(or normal_folders, mask_folders\)",
        ),
        ("Lesion type 2", r'Read: \'dataset\.abnormal_folders=\[abnormal,ungood,bad,"Lesion type 2"\]\''),
        ("mask_", r"Read: dataset\.mask_folders=\[masks,mask,anomaly_mask,ground_truth,mask_\]\. Leave out"),
        ("labels", r"Read: dataset\.mask_folders=\[masks,mask,anomaly_mask,ground_truth,labels\]\. Leave out"),
    ],
)
@pytest.mark.parametrize("split", ["", "test/"])
def test_a_folder_of_images_next_to_the_classes_is_named(tmp_path: Path, split: str, name: str, words: str) -> None:
    fill(tmp_path, f"{split}good/a.png", f"{split}bad/b.png", f"{split}{name}/p/c.png", f"{split}{name}/d.png")
    with pytest.raises(
        DataError, match=rf"holds {name}/ with 2 images, which is no class folder.*{words}.*ignored_folders="
    ):
        index(tmp_path)
    items, notes = read(tmp_path, ignored_folders=[name])
    assert (len(items), notes) == (2, [])


def test_a_folder_that_the_message_names_is_read_by_its_key(tmp_path: Path) -> None:
    fill(tmp_path, "test/good/000.png", "test/bad/000.png", "test/scratch/000.png", "test/masks/bad/000.png")
    noise(tmp_path / "test/masks/scratch/000_mask.png", 5)
    items = index(tmp_path, abnormal_folders=["bad", "scratch"])
    assert [i.id for i in items] == [
        "test/abnormal/bad/000.png",
        "test/normal/000.png",
        "test/abnormal/scratch/000.png",
    ]
    assert [mask.parent.name for i in items for mask in i.mask_files] == ["bad", "scratch"]
    noise(tmp_path / "test/masks/000.png", 6)
    with pytest.raises(DataError, match=r"masks/000\.png fits two images"):
        index(tmp_path, abnormal_folders=["bad", "scratch"])


def test_other_things_next_to_the_classes_are_noted_or_named(tmp_path: Path) -> None:
    fill(tmp_path, "normal/a.png", "abnormal/b.png", "overview.png")
    (tmp_path / "scratch").mkdir()
    (tmp_path / "study.csv").touch()
    assert read(tmp_path)[1] == [
        f"{tmp_path.name}/ holds 1 other folder without images: scratch/.",
        f"1 image in {tmp_path.name}/ lies in no class folder and is left out: for example overview.png.",
        f"1 other file in {tmp_path.name}/ is not read: study.csv.",
    ]
    (tmp_path / "masks").write_text("../masks of the study")
    with pytest.raises(DataError, match="masks is a file; a folder of images is expected there"):
        index(tmp_path)
    (tmp_path / "masks").unlink()
    with pytest.raises(DataError, match=r"ignored_folders names scrtch, but there is no such folder"):
        index(tmp_path, ignored_folders=["scrtch"])


def test_folders_next_to_the_splits_are_named(tmp_path: Path) -> None:
    fill(tmp_path, "train/normal/a.png", "test/normal/b.png", "test/abnormal/c.png", "validation/normal/d.png")
    with pytest.raises(DataError, match=r"holds validation/ with 1 image, .*called train, valid \(or val\) and test"):
        index(tmp_path)
    fill(tmp_path, "masks/c.png")
    with pytest.raises(DataError, match=r"masks lies next to test/, where it is not read"):
        index(tmp_path)
    assert len(index(tmp_path, masks=False, ignored_folders=["validation"])) == 3


def test_splits_that_differ_in_case_are_all_read(tmp_path: Path) -> None:
    fill(tmp_path, "test/normal/a.png", "Test/abnormal/b.png")
    assert [i.id for i in index(tmp_path)] == ["test/abnormal/b.png", "test/normal/a.png"]


def test_a_mask_folder_of_which_nothing_fits_names_the_file_that_it_needs(tmp_path: Path) -> None:
    fill(tmp_path, "normal/n.png", "abnormal/image3.png", "abnormal/image4.png", "masks/mask3.png", "masks/mask4.png")
    with pytest.raises(
        DataError, match=r"masks holds 2 files, none of .*: expected image3\.\* or image3_mask\.\*, found mask3\.png"
    ):
        index(tmp_path)
    assert all(i.mask is None for i in index(tmp_path, masks=False))
    for name in ("mask3.png", "mask4.png"):
        (tmp_path / "masks" / name).rename(tmp_path / "masks" / f"{name}.npy")
    with pytest.raises(DataError, match=r"masks holds 2 files, none of .*found mask3\.png\.npy"):
        index(tmp_path)


def test_masks_without_an_image_are_counted(tmp_path: Path) -> None:
    fill(tmp_path, "normal/n.png", "abnormal/a.jpg", "masks/a_seg.png", "masks/n.png", "masks/z.png", "masks/y_seg.png")
    items, notes = read(tmp_path)
    assert sorted((i.label, mask.name) for i in items for mask in i.mask_files) == [(0, "n.png"), (1, "a_seg.png")]
    assert notes == [
        "2 files in masks/ have the name of no abnormal image, and no use: for example y_seg.png.",
    ]


def test_masks_among_the_images_are_no_images(tmp_path: Path) -> None:
    names = [f"{kind} ({n}){end}.png" for kind in ("normal", "benign") for n in (1, 2) for end in ("", "_mask")]
    fill(tmp_path, *(f"{'normal' if name[0] == 'n' else 'bad'}/{name}" for name in names), "bad/benign (2)_mask_1.png")
    items, notes = read(tmp_path, split_shares=[0, 0, 1])
    assert [(i.label, len(i.mask_files)) for i in items] == [(1, 1), (1, 2), (0, 1), (0, 1)]
    assert notes == [
        "3 files in bad/ have the name of a mask of another image there, and are read as their masks: for example "
        "benign (1)_mask.png.",
        "2 files in normal/ have the name of a mask of another image there, and are read as their masks, which must be "
        "empty where masks are used: for example normal (1)_mask.png.",
    ]
    assert [len(i.mask_files) for i in index(tmp_path, masks=False)] == [0, 0, 0, 0]
    fill(tmp_path, "masks/benign (1).png")
    with pytest.raises(
        DataError, match=r"benign \(1\)\.png has 2 masks, .*bad/benign \(1\)_mask\.png and .*masks/benign"
    ):
        index(tmp_path)


def test_a_folder_of_masks_below_a_class_is_not_read_as_images(tmp_path: Path) -> None:
    fill(tmp_path, "good/img/a.png", "Ungood/img/b.png", "Ungood/anomaly_mask/b.png")
    with pytest.raises(
        DataError, match=r"Ungood/anomaly_mask lies in the class folder Ungood/ and has a name of masks"
    ):
        index(tmp_path)
    assert len(index(tmp_path, ignored_folders=["anomaly_mask"])) == 2


def test_a_mask_that_fits_two_abnormal_images_is_refused(tmp_path: Path) -> None:
    fill(tmp_path, "normal/a.png", "abnormal/a.png", "abnormal/a.jpg", "masks/a.png")
    with pytest.raises(DataError, match=r"masks/a\.png fits two images, .*a\.jpg and .*a\.png"):
        index(tmp_path)
    assert len(index(tmp_path, masks=False)) == 3


def test_what_is_left_out_is_told_by_every_command(adbench, tmp_path: Path) -> None:
    for i in range(4):
        noise(tmp_path / "data" / "normal" / f"{i}.png", i)
        noise(tmp_path / "data" / "abnormal" / f"{i}.png", 10 + i)
    (tmp_path / "data" / "normal" / "x.gif").touch()
    answer = adbench("data", "check", "folder", f"data_root={tmp_path / 'data'}", "--json")
    assert "1 file in normal/ has no ending that is read: .gif (1)" in answer.out
    noise(tmp_path / "data" / "scratch" / "1.png", 20)
    answer = adbench("data", "check", "folder", f"data_root={tmp_path / 'data'}")
    assert answer.code == 3
    assert "scratch/ with 1 image" in answer.err


@pytest.mark.parametrize(
    ("files", "says"),
    [
        (
            ("normal/a.png", "normal/abnormal/b.png", "abnormal/c.png"),
            "normal/abnormal lies in the class folder normal/",
        ),
        (("normal/a.png", "abnormal/x/good/b.png"), "abnormal/x/good lies in the class folder abnormal/"),
        (("normal/train/a.png", "abnormal/test/b.png"), "abnormal/test has the name of a split and lies in the class"),
        (("normal/a.png", "abnormal/b.png", "masks/b.png", "masks/a_mask.png"), ""),
    ],
)
def test_folders_within_folders_of_classes(tmp_path: Path, files: tuple[str, ...], says: str) -> None:
    fill(tmp_path, *files)
    if says:
        with pytest.raises(DataError, match=says):
            index(tmp_path)
    else:  # the mask of a normal image, by a usual word too: a run checks that it is empty
        assert {i.label: i.mask_files[0].name for i in index(tmp_path)} == {0: "a_mask.png", 1: "b.png"}


def test_files_next_to_class_folders_and_runs_of_adbench(tmp_path: Path) -> None:
    fill(tmp_path, "normal/a.png", "abnormal/b.png", "runs/0123/gallery/overview.png")
    (tmp_path / "runs/0123/record.json").write_text("{}")
    (tmp_path / "abnormal_2.zip").touch()
    (tmp_path / "readme.txt").touch()
    _, notes = read(tmp_path)
    assert notes == [f"1 other file in {tmp_path.name}/ is not read: abnormal_2.zip."]
