"""NIfTI volumes written here: orientations, windows and empty slices against values computed by hand."""

from __future__ import annotations

import gzip
import sys
from pathlib import Path

import nibabel
import numpy as np
import pytest

from adbench.data import volumes
from adbench.data.decode import image_size, open_image, read_image
from adbench.data.frames import Frame, FramePath, split_name, stem
from adbench.data.masks import read_mask
from adbench.data.stacks import images_in
from adbench.errors import AdbenchError, DataError

ALL = (0.0, 100.0)


def volume(path: Path, voxels: np.ndarray, affine: np.ndarray | None = None, axes: str = "RAS") -> Path:
    """Write voxels that run to the right, anterior and superior, stored with other axes."""
    image = nibabel.Nifti1Image(voxels, np.eye(4) if affine is None else affine, dtype=voxels.dtype)
    codes = nibabel.orientations.axcodes2ornt
    image = image.as_reoriented(nibabel.orientations.ornt_transform(codes("RAS"), codes(axes)))
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(image, path)
    return path


def block() -> np.ndarray:
    """5 x 6 x 7 voxels: 0 around, 100 inside, and 900 at right 3, anterior 4, superior 5."""
    voxels = np.zeros((5, 6, 7), np.int16)
    voxels[1:4, 1:5, 1:6] = 100
    voxels[3, 4, 5] = 900
    return voxels


@pytest.mark.parametrize("axes", ["RAS", "LPS", "LAS", "ASR", "PIL", "SRA"])
@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
def test_a_voxel_is_where_a_radiologist_expects_it(tmp_path: Path, axes: str, ending: str) -> None:
    path = volume(tmp_path / f"a{ending}", block(), axes=axes)
    # Superior and anterior are up, the patient's right is at the left; seen from the side, anterior is at the left.
    for axis, number, size, row, column in [
        ("axial", 5, (5, 6), 6 - 1 - 4, 5 - 1 - 3),
        ("coronal", 4, (5, 7), 7 - 1 - 5, 5 - 1 - 3),
        ("sagittal", 3, (6, 7), 7 - 1 - 5, 6 - 1 - 4),
    ]:
        frame = Frame(number, axis, (0.0, 900.0))
        pixels = volumes.read_slice(path, frame)
        assert np.argwhere(pixels == 255).tolist() == [[row, column]], axis
        image = FramePath(path, frame)
        assert image_size(image) == open_image(image).size == size


def test_an_oblique_volume_is_turned_to_the_nearest_axes_and_not_resampled(tmp_path: Path) -> None:
    angle = np.deg2rad(20)
    turn = np.eye(4)
    turn[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    path = volume(tmp_path / "a.nii", block(), turn @ np.diag([-2.0, 2.0, 5.0, 1.0]))
    pixels = volumes.read_slice(path, Frame(5, "axial", (0.0, 900.0)))
    assert np.argwhere(pixels == 255).tolist() == [[1, 3]]  # the first axis runs to the left here


def test_the_window_leaves_the_background_out_and_is_the_same_for_all_slices(tmp_path: Path) -> None:
    voxels = np.zeros((6, 6, 4), np.float32)
    voxels[1:5, 1:5, 1] = 100
    voxels[1:5, 1:5, 2] = np.linspace(100, 1100, 16).reshape(4, 4)
    found = volumes.measure(volume(tmp_path / "a.nii.gz", voxels), "axial", (0.0, 100.0))
    assert (found.count, found.shown, found.window) == (4, (1, 2), (100.0, 1100.0))
    # Of the 32 values 17 are 100, and then come 100 + 1000 n / 15. Between numbers 23 and 24 of them lies 75 %: 23.25.
    upper = 100 + 1000 * (23.25 - 16) / 15
    assert volumes.measure(tmp_path / "a.nii.gz", "axial", (25, 75)).window == (100.0, pytest.approx(upper))
    levels = volumes.read_slice(tmp_path / "a.nii.gz", Frame(1, "axial", (0.0, 400.0)))
    assert np.unique(levels).tolist() == [0, 64]  # 100 / 400 * 255 = 63.75


@pytest.mark.parametrize("outside", [-1024, 0, 7])
def test_the_background_is_what_all_corners_are(tmp_path: Path, outside: int) -> None:
    voxels = np.full((5, 5, 4), outside, np.int16)
    voxels[1:4, 1:4, 1:3] = np.arange(18, dtype=np.int16).reshape(3, 3, 2) * 10 + 20
    found = volumes.measure(volume(tmp_path / "a.nii", voxels), "axial", ALL)
    assert (found.shown, found.window) == ((1, 2), (20.0, 190.0))


def test_without_a_common_corner_only_uniform_slices_are_empty(tmp_path: Path) -> None:
    voxels = np.random.default_rng(0).integers(1, 50, (5, 5, 4)).astype(np.int16)
    voxels[..., 2] = 33
    voxels[0, 0, 0] = 60
    found = volumes.measure(volume(tmp_path / "a.nii", voxels), "axial", ALL)
    assert (found.shown, found.window) == ((0, 1, 3), (float(voxels.min()), 60.0))


def test_a_volume_of_two_values_is_black_and_white(tmp_path: Path) -> None:
    voxels = np.zeros((5, 5, 3), np.uint8)
    voxels[2, 2, 1] = 1
    found = volumes.measure(volume(tmp_path / "a.nii", voxels), "axial", (0.5, 99.5))
    assert (found.shown, found.window) == ((1,), (0.0, 1.0))


def test_voxels_that_are_no_number_are_black_and_count_as_background(tmp_path: Path) -> None:
    voxels = np.full((4, 4, 3), np.nan, np.float32)
    voxels[1:3, 1:3, 1] = [[10, 20], [30, np.inf]]
    found = volumes.measure(volume(tmp_path / "a.nii", voxels), "axial", ALL)
    assert (found.shown, found.window, found.nan) == ((1,), (10.0, 30.0), True)
    pixels = volumes.read_slice(tmp_path / "a.nii", Frame(1, "axial", found.window))
    assert sorted(pixels.ravel().tolist())[-4:] == [0, 128, 255, 255]
    empty = np.full((4, 4, 3), np.nan, np.float32)
    assert volumes.measure(volume(tmp_path / "b.nii", empty), "axial", ALL).shown == ()


@pytest.mark.parametrize("kind", [np.int8, np.uint8, np.int16, np.int32, np.int64, np.uint64, np.float32, np.float64])
def test_kinds_of_voxels(tmp_path: Path, kind: type) -> None:
    path = volume(tmp_path / "a.nii.gz", block().clip(0, 127).astype(kind))
    assert volumes.measure(path, "axial", ALL).window == (100.0, 127.0)


def test_slope_and_intercept_and_a_slope_of_zero(tmp_path: Path) -> None:
    image = nibabel.Nifti1Image(block(), np.eye(4))
    image.header.set_slope_inter(2, -50)
    data = bytearray(image.to_bytes())
    (tmp_path / "a.nii").write_bytes(bytes(data))
    stored = np.frombuffer(bytes(data), "<f4", 2, 112)
    scaled = volumes.measure(tmp_path / "a.nii", "axial", ALL).window
    assert scaled == tuple(value * float(stored[0]) + float(stored[1]) for value in (100, 900))
    data[112:116] = np.float32(0).tobytes()
    (tmp_path / "b.nii").write_bytes(bytes(data))
    assert volumes.measure(tmp_path / "b.nii", "axial", ALL).window == (100.0, 900.0)


def test_nifti_2_big_endian_and_a_wrong_ending(tmp_path: Path) -> None:
    nibabel.save(nibabel.Nifti2Image(block(), np.eye(4)), tmp_path / "two.nii.gz")
    nibabel.Nifti1Image(block(), np.eye(4), nibabel.Nifti1Header(endianness=">")).to_filename(tmp_path / "big.nii")
    packed = volume(tmp_path / "a.nii.gz", block()).read_bytes()
    (tmp_path / "packed.nii").write_bytes(packed)
    (tmp_path / "plain.nii.gz").write_bytes(gzip.decompress(packed))
    for name in ("two.nii.gz", "big.nii", "packed.nii", "plain.nii.gz"):
        assert volumes.measure(tmp_path / name, "axial", ALL).window == (100.0, 900.0), name


def test_a_file_without_orientation_is_read_as_nibabel_does(tmp_path: Path) -> None:
    image = nibabel.Nifti1Image(block(), None)
    image.header["pixdim"][1:4] = 1
    nibabel.save(image, tmp_path / "a.nii")
    found = volumes.measure(tmp_path / "a.nii", "axial", ALL)
    assert not found.oriented
    pixels = volumes.read_slice(tmp_path / "a.nii", Frame(5, "axial", found.window))
    assert np.argwhere(pixels == 255).tolist() == [[1, 3]]  # the first axis runs to the left


def damaged(path: Path, how: str) -> Path:
    good = volume(path.parent / "good.nii.gz", np.random.default_rng(0).integers(0, 99, (20, 20, 20)).astype(np.int16))
    packed = good.read_bytes()
    plain = gzip.decompress(packed)
    header = bytearray(plain)
    if how == "axes":
        nibabel.save(nibabel.Nifti1Image(np.zeros((4, 4, 3, 2), np.int16), np.eye(4)), path)
        return path
    if how == "rgb":
        colour = np.zeros((4, 4, 3), [("R", "u1"), ("G", "u1"), ("B", "u1")])
        nibabel.save(nibabel.Nifti1Image(colour, np.eye(4)), path)
        return path
    if how == "affine":
        header[280:328] = bytes(48)
    if how == "pair":
        header[344:348] = b"ni1\0"
    if how == "kind":
        header[70:72] = (77).to_bytes(2, "little")
    content = {
        "cut": packed[: len(packed) // 2],
        "flipped": packed[:-6] + bytes([packed[-6] ^ 255]) + packed[-5:],
        "short": plain[:-10],
        "head": plain[:100],
        "empty": b"",
        "text": b"dear colleague, " * 40,
        "packed text": gzip.compress(b"dear colleague, " * 40),
    }
    path.write_bytes(content.get(how, bytes(header)))
    return path


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ("cut", r"cannot be read as NIfTI: .*end"),
        ("flipped", r"cannot be read as NIfTI: CRC"),
        ("short", r"cannot be read as NIfTI: it ends 10 bytes too early"),
        ("head", r"cannot be read as NIfTI: it is no NIfTI file"),
        ("empty", r"cannot be read as NIfTI: it has zero bytes"),
        ("text", r"cannot be read as NIfTI: it is no NIfTI file"),
        ("packed text", r"cannot be read as NIfTI: it is no NIfTI file"),
        ("pair", r"cannot be read as NIfTI: its voxels are in another file"),
        ("kind", r"cannot be read as NIfTI: .*77"),
        ("axes", r"has 4 axes \(4 x 4 x 3 x 2\); a volume has three"),
        ("rgb", r"holds RGB voxels"),
        ("affine", r"its affine can't be inverted"),
    ],
)
@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_what_is_no_volume_is_named(tmp_path: Path, how: str, says: str, name: str) -> None:
    path = damaged(tmp_path / name, how)
    error = volumes.measure(path, "axial", ALL).error
    with pytest.raises(DataError, match=rf"{name}.*{says}") as caught:
        volumes.read_slice(path, Frame(0, "axial", (0.0, 1.0)))
    assert str(caught.value) == error
    assert "\n" not in error


def test_a_header_that_promises_too_much_is_not_unpacked(tmp_path: Path) -> None:
    data = bytearray(gzip.decompress(volume(tmp_path / "a.nii.gz", block()).read_bytes()))
    data[42:48] = np.array([30000, 30000, 3], "<i2").tobytes()
    (tmp_path / "a.nii.gz").write_bytes(gzip.compress(bytes(data)))
    assert "unpacks to 5.0 GiB" in volumes.measure(tmp_path / "a.nii.gz", "axial", ALL).error


def test_last_axes_of_one_are_dropped_and_one_slice_is_a_volume(tmp_path: Path) -> None:
    nibabel.save(nibabel.Nifti1Image(block()[..., None, None], np.eye(4)), tmp_path / "a.nii")
    assert volumes.measure(tmp_path / "a.nii", "axial", ALL).count == 7
    nibabel.save(nibabel.Nifti1Image(block()[..., 5], np.eye(4)), tmp_path / "b.nii")
    (only,) = images_in(tmp_path / "b.nii", "axial", ALL)
    assert only.name == "b.nii#000"
    with pytest.raises(DataError, match=r"b\.nii: its coronal slices are 5 x 1 pixels.*dataset\.slice_axis=axial"):
        images_in(tmp_path / "b.nii", "coronal", ALL)


def test_a_mask_volume_holds_labels_of_which_any_counts(tmp_path: Path) -> None:
    labels = np.zeros((5, 6, 7), np.float32)
    labels[3, 4, 5], labels[0, 0, 2] = 4, 1
    path = volume(tmp_path / "m.nii.gz", labels, axes="LPS")
    assert volumes.lesion_slices(path, "axial").shown == (2, 5)
    for how in ((127, []), (None, []), (None, [0, 255])):
        assert np.argwhere(read_mask(FramePath(path, Frame(5, "axial")), *how).pixels).tolist() == [[1, 1]]
    for odd in (0.5, -1.0):
        labels[1, 1, 1] = odd
        error = volumes.lesion_slices(volume(tmp_path / "odd.nii", labels), "axial").error
        assert f"odd.nii holds {odd:g}; a mask volume holds whole numbers" in error


def test_frames_that_are_not_there(tmp_path: Path) -> None:
    path = volume(tmp_path / "a.nii", block())
    with pytest.raises(DataError, match=r"a\.nii has 7 axial slices, and no slice 7"):
        read_image(FramePath(path, Frame(7, "axial", (0.0, 1.0))), 4)
    with pytest.raises(DataError, match=r"a\.nii is a volume \(5 x 6 x 7 voxels\), no image"):
        read_image(path, 4)
    with pytest.raises(DataError, match=r"gone\.nii does not exist"):
        read_image(tmp_path / "gone.nii", 4)


def test_a_compressed_volume_is_unpacked_once_for_all_its_slices(tmp_path: Path, monkeypatch) -> None:
    path, opened = volume(tmp_path / "a.nii.gz", block()), []
    whole = volumes.gzip.open
    monkeypatch.setattr(volumes.gzip, "open", lambda file, *how: opened.append(file) or whole(file, *how))
    for number in range(7):
        volumes.read_slice(path, Frame(number, "axial", (0.0, 900.0)))
    assert len(opened) == 7 + 1, "seven headers and the voxels"


def test_without_nibabel_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = volume(tmp_path / "a.nii", block())
    monkeypatch.setitem(sys.modules, "nibabel", None)
    with pytest.raises(AdbenchError, match=r"a\.nii needs nibabel: pip install 'adbench-medical\[nifti\]'"):
        volumes.measure(path, "axial", ALL)


def test_names() -> None:
    image = FramePath(Path("d/sub-0.nii.gz"), Frame(7, "axial", (0.0, 1.0)))
    assert (str(image), image.name) == ("d/sub-0.nii.gz#007", "sub-0.nii.gz#007")
    assert split_name(image.name) == ("sub-0.nii.gz", 7)
    assert split_name("a.png") == ("a.png", None)
    assert [stem(Path(name)) for name in ("a.NII.GZ", "a.nii", "a.b.png", "IM0001")] == ["a", "a", "a.b", "IM0001"]
    assert Frame(7, "axial", (0.0, 1.0)).content != Frame(7, "axial", (0.0, 2.0)).content
