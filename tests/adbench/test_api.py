"""The Python interface: `run`, `plan`, `load` and `leaderboard` from a script or a notebook."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

import adbench as ad
from adbench.api import RunKeys
from adbench.config.schema import KEYS
from adbench.config.words import defaults
from adbench.errors import DataError, RecordError, SweepError
from adbench.running.apply import LoadKeys
from adbench.testing import check_method

RUN = {"method": "patchcore", "shots": 2, "gallery": 0}


@pytest.fixture
def keys(tiny: Path, tmp_path: Path) -> dict[str, object]:
    return RUN | {"data_root": tiny, "runs": tmp_path / "runs"}


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> ad.Record:
    made = ad.run(**RUN, runs=tmp_path_factory.mktemp("runs"))
    assert isinstance(made, ad.Record)
    return made


@pytest.fixture(scope="module")
def fitted(record: ad.Record) -> ad.Fitted:
    return ad.load(record)


@pytest.fixture
def pixels() -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (3, 50, 60, 3), dtype=np.uint8)


# --- the names


def test_importing_adbench_imports_no_torch_and_lists_its_names() -> None:
    code = (
        "import sys, adbench\n"
        "assert 'torch' not in sys.modules and 'pandas' not in sys.modules\n"
        "assert dir(adbench) == sorted(adbench.__all__)\n"
        "assert all(getattr(adbench, name) is not None for name in dir(adbench))\n"
        "assert 'torch' in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_name_that_does_not_exist_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'runn'"):
        _ = ad.runn


# --- run and plan


def test_the_keywords_of_run_are_the_keys_of_the_command_line() -> None:
    assert [*RunKeys.__annotations__] == [*KEYS, "overrides"]
    assert [*defaults()] == [*KEYS]


def test_one_cell_gives_a_record_and_the_second_call_reads_it_back(keys) -> None:
    record = ad.run(**keys)
    assert isinstance(record, ad.Record)
    assert ad.run(**keys).content == record.content
    assert [found.key for found in ad.read_all(keys["runs"])] == [record.key]


@pytest.mark.parametrize("seeds", [[0], [0, 1], "0,1", range(2), (1,)])
def test_an_axis_gives_a_list_even_where_it_comes_down_to_one_cell(keys, seeds) -> None:
    records = ad.run(**keys | {"method": "clip", "seed": seeds})
    assert [record.content["facts"]["seed"] for record in records] == [0], "zero-shot clip draws no random number"


def test_keys_with_a_dot_go_into_overrides(keys) -> None:
    record = ad.run(**keys, overrides={"method.blocks": [3], "method.coreset": 0.5})
    params = record.content["facts"]["params"]
    assert (params["blocks"], params["coreset"]) == ([3], 0.5)


@pytest.mark.parametrize("call", [ad.run, ad.plan])
@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"devcie": "cpu"}, r"unknown key 'devcie': did you mean 'device'\?"),
        ({"overrides": {"methd.blocks": 1}}, "unknown key 'methd.blocks': a dotted key starts with"),
        ({"shots": -1}, "shots=-1 is not possible: at least 0 is needed"),
        ({"method": "patchcroe"}, "did you mean 'patchcore'"),
        ({"method": []}, r"method=\[\]: a value is missing"),
        ({"overrides": {"method": {"blocks": [1]}}}, r"write keys with a dot, as in {'method.blocks': \[1\]}\."),
        ({"overrides": ["method.blocks=1"]}, r"overrides=.* is not possible: give a dictionary, as in {'method.ep"),
    ],
)
def test_a_keyword_or_value_that_cannot_be_used_is_one_sentence(call, keys, wrong, message: str) -> None:
    with pytest.raises(ad.AdbenchError, match=message) as caught:
        call(**keys | wrong)
    assert "\n" not in str(caught.value)


def test_arrays_are_axes_and_numbers_of_numpy_are_numbers(keys) -> None:
    cells = ad.plan(**keys | {"method": np.array(["clip", "patchcore"]), "shots": pd.Series([1, 2])})
    assert cells["method"].tolist() == ["clip", "patchcore", "patchcore"]
    assert isinstance(ad.run(**keys | {"seed": np.arange(1)}), list), "an array is an axis, whatever its length"
    record = ad.run(**keys | {"shots": np.int64(2)}, overrides={"method.neighbours": np.int64(3)})
    assert record.content["facts"]["params"]["neighbours"] == 3


def test_a_list_where_one_number_is_needed_says_how_several_cells_are_written(keys) -> None:
    with pytest.raises(ad.AdbenchError, match=r"and \[1, 3\] is given\. Several cells: one run for each value\."):
        ad.plan(**keys, overrides={"method.neighbours": [1, 3]})
    with pytest.raises(ad.AdbenchError, match=r"a list such as .* is needed, and 3 is given\.$"):
        ad.plan(**keys, overrides={"method.blocks": 3})


def test_one_cell_that_fails_raises_its_own_error_and_several_a_sweep_error(keys) -> None:
    with pytest.raises(ad.AdbenchError, match="shots=99 is more than there are"):
        ad.run(**keys | {"shots": 99})
    with pytest.raises(SweepError, match=r"1 of 2 cells failed\..*shots=99 is more than there are"):
        ad.run(**keys | {"shots": [99, 1]})
    (record,) = ad.read_all(keys["runs"])
    assert record.content["support"]["shots"] == 1, "the other cell is recorded"


def test_plan_says_what_is_there_and_runs_nothing(keys) -> None:
    ad.run(**keys)
    table = ad.plan(**keys | {"shots": [1, 2, 99]})
    assert table["state"].tolist() == ["to run", "recorded", "impossible"]
    assert "shots=99 is more than there are" in table["why"][2]
    assert len(ad.read_all(keys["runs"])) == 1


# --- leaderboard


def test_a_record_counts_once_however_often_it_is_given(record: ad.Record) -> None:
    table = ad.leaderboard([record, record, record.path, record.path.parent])
    assert set(table["n"]) == {1}
    auroc = table.set_index("metric").loc["image_auroc", "mean"]
    assert auroc == pytest.approx(100 * record.metrics["image_auroc"])
    assert ad.leaderboard(record).equals(ad.leaderboard(iter([record])))


def test_leaderboard_refuses_what_it_cannot_show(record: ad.Record, tmp_path: Path) -> None:
    with pytest.raises(ad.AdbenchError, match=r"unknown key 'metod' for leaderboard: did you mean 'method'\?"):
        ad.leaderboard(record, metod="clip")
    with pytest.raises(ad.AdbenchError, match="no record given"):
        ad.leaderboard([])
    for wrong in (4, [4], None, {}, [[record]], ad.plan(**RUN)):
        with pytest.raises(ad.AdbenchError, match=r"^leaderboard\(.*\) is not possible: give records, or folders"):
            ad.leaderboard(wrong)  # type: ignore[arg-type]
    with pytest.raises(ad.AdbenchError, match=r"^method=clap matches no record: allowed: patchcore"):
        ad.leaderboard(record, method="clap")
    for names in (3, [3], []):
        with pytest.raises(ad.AdbenchError, match=r"^dataset=.* is not possible: give names, as a list or with commas"):
            ad.leaderboard(record, dataset=names)  # type: ignore[arg-type]
    with pytest.raises(ad.AdbenchError, match="method= takes names, and the class object is given"):
        ad.leaderboard(record, method=object)  # type: ignore[arg-type]
    method = record.content["resolved"]["method"]
    for names in ({method}, iter([method]), np.array([method]), pd.Series([method])):
        assert ad.leaderboard(record, method=names).equals(ad.leaderboard(record, method=method))
    assert ad.leaderboard(record, method=[method, method]).equals(ad.leaderboard(record, method=method))
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "record.json").write_text("{")
    with pytest.raises(RecordError, match="left out of the leaderboard: .*is damaged"):
        ad.leaderboard([tmp_path])
    with pytest.warns(UserWarning, match="left out of the leaderboard: .*is damaged"):
        assert ad.leaderboard([record, tmp_path]).equals(ad.leaderboard(record))


# --- load and score


def test_load_refuses_an_unknown_keyword_as_run_does(record: ad.Record) -> None:
    with pytest.raises(ad.AdbenchError, match=r"unknown key 'devcie' for load: did you mean 'device'\?"):
        ad.load(record, devcie="cpu")
    with pytest.raises(ad.AdbenchError, match="device=gpu is not possible"):
        ad.load(record, device="gpu")
    for key in LoadKeys.__annotations__:
        assert key in str(ad.load.__doc__)


class Mine(ad.Method):
    """A method that stands in no file of its own."""


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda r: ad.load([r]), "load takes one record, .* an object of type list is given. Of several, load each"),
        (lambda r: ad.load(None), "load takes one record, .* an object of type NoneType is given"),
        (lambda r: ad.load(r, method=Mine), "the class Mine is given.*method=FILE.py:Mine"),
        (lambda r: ad.load(r, weights=3), "weights=3 is not possible: give a text"),
        (lambda r: ad.load(r, weights=""), "backbone.weights= is empty: give a value, or leave it out"),
        (lambda r: ad.load(r, text=""), "backbone.text= is empty"),
        (lambda r: ad.load(r, method=""), "^method= is empty"),
        (lambda r: ad.load(r, ["x"]), r"overrides=\['x'\] is not possible: give a dictionary"),
        (lambda r: ad.load(r, {"neighbours": {3}}), "method.neighbours= can't be of type set: give a list"),
        (lambda r: ad.run(method=Mine), "the class Mine is given.*method=FILE.py:Mine"),
        (lambda r: ad.read_all(r), "read_all takes a folder of records, as in 'runs', and an object of type Record"),
        (lambda r: ad.DataModule({"busi"}), "dataset= can't be of type set: give a list"),
        (lambda r: ad.DataModule("busi", overrides=["dataset.category"]), "overrides=.* give a dictionary"),
        (lambda r: check_method(Mine.__new__(Mine)), "an object of type Mine is given. Give the class, as in"),
        (lambda r: check_method(None), "an object of type NoneType is given. Give the class"),
        (lambda r: check_method("clip", block={1}), "method.block= can't be of type set"),
    ],
)
def test_a_thing_of_another_kind_is_one_sentence(record: ad.Record, call, message: str) -> None:
    with pytest.raises(ad.AdbenchError, match=message) as caught:
        call(record)
    assert "\n" not in str(caught.value)


def test_numbers_and_texts_of_numpy_are_taken_as_those_of_python(keys, fitted: ad.Fitted) -> None:
    clip = ad.run(**keys | {"method": "clip"})
    prompts = {"prompts.normal": np.array(["healthy {}"]), "prompts.abnormal": pd.Series(["ill {}"])}
    params = ad.load(clip, prompts | {"temperature": np.float64(0.1)}, device=torch.device("cpu")).method.params
    assert (params.prompts.normal, params.prompts.abnormal, params.temperature) == (["healthy {}"], ["ill {}"], 0.1)
    assert fitted.thresholds(np.float32(0.5)) == fitted.thresholds(0.5)
    assert ad.FewShotSampler(shots=np.int64(4), draw=np.int64(1)) == ad.FewShotSampler(shots=4, draw=1)
    assert type(ad.FewShotSampler(shots=np.int64(4)).shots) is int


def test_a_fitted_method_prints_as_one_line(fitted: ad.Fitted, record: ad.Record) -> None:
    assert repr(fitted) == f"Fitted(method='patchcore', record='{record.path}')"


def test_the_test_images_have_the_scores_of_the_record(record: ad.Record, fitted: ad.Fitted) -> None:
    root, table = Path(record.content["dataset"]["root"]), record.predictions()
    data = ad.DataModule("brainmri", cache=record.content["resolved"]["cache"], input_size=112)
    data.setup()
    paths = [item.path if item.path.is_absolute() else root / item.path for item in data.test.items][:5]
    scores = fitted.score(paths)
    assert scores.image.tolist() == table["score"][:5].tolist()
    assert scores.maps.shape == (5, 112, 112)
    assert (scores.image.dtype, scores.maps.dtype) == (torch.float32, torch.float32)


def test_paths_pil_images_arrays_and_tensors_have_the_same_bits(fitted: ad.Fitted, pixels, tmp_path: Path) -> None:
    paths = [tmp_path / f"{number}.png" for number in range(len(pixels))]
    for path, image in zip(paths, pixels, strict=True):
        Image.fromarray(image).save(path)
    tensor = torch.from_numpy(pixels)
    forms = [
        list(map(str, paths)), (path for path in paths), list(map(Image.open, paths)), pixels, list(pixels), tensor,
        tensor.permute(0, 3, 1, 2), np.moveaxis(pixels, 3, 1), [paths[0], Image.open(paths[1]), tensor[2]],
        [pixels[:1], tensor[1:]],
    ]  # fmt: skip
    expected = fitted.score(paths)
    for number, form in enumerate(forms):
        scores = fitted.score(form)
        assert torch.equal(scores.image, expected.image), number
        assert torch.equal(scores.maps, expected.maps), number
    assert fitted.score(pixels[0]).image.tolist() == expected.image[:1].tolist()


def test_grey_and_16_bit_images_agree_too(fitted: ad.Fitted, tmp_path: Path) -> None:
    deep = np.random.default_rng(1).integers(0, 65536, (50, 60), dtype=np.uint16)
    Image.fromarray(deep).save(tmp_path / "deep.png")
    low, high = int(deep.min()), int(deep.max())  # each 16-bit image is stretched from its own lowest to its highest
    shallow = np.rint((deep.astype(np.float64) - low) * (255 / (high - low))).astype(np.uint8)
    expected = fitted.score(tmp_path / "deep.png").image
    assert torch.equal(fitted.score(Image.open(tmp_path / "deep.png")).image, expected)
    assert torch.equal(fitted.score(shallow).image, expected)
    assert torch.equal(fitted.score(shallow[None]).image, expected)
    assert not torch.equal(fitted.score(shallow.T.copy()).image, expected)


BLACK = np.zeros((4, 8, 9, 3), np.uint8)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (BLACK.astype(np.float32), "an array of float32 can't be scored: give uint8"),
        (torch.rand(2, 3, 8, 9), "an array of float32 can't be scored"),
        (BLACK > 0, "an array of bool can't be scored"),
        (BLACK[0, 0, 0], r"an array of shape \(3,\) holds no images"),
        (BLACK[None], r"an array of shape \(1, 4, 8, 9, 3\) holds no images"),
        (np.zeros((8, 9, 4), np.uint8), r"an array of shape \(8, 9, 4\) holds no images"),
        (np.zeros((8, 9, 1), np.uint8), r"an array of shape \(8, 9, 1\) holds no images"),
        (np.zeros((2, 1, 8, 9), np.uint8), r"an array of shape \(2, 1, 8, 9\) holds no images"),
        (np.zeros((0, 9), np.uint8), r"an array of shape \(0, 9\) holds no images"),
        (np.zeros((3, 8, 9), np.uint8), r"an array of shape \(3, 8, 9\) may hold one colour image or three grey ones"),
        ([], "no image given"),
        (BLACK[:0], "no image given"),
        (5, "int is no image: give a path"),
        ([None], "NoneType is no image"),
        (b"scan.png", "bytes is no image"),
        (Image.new("F", (8, 9)), "image 1 holds floating-point pixels"),
    ],
)
def test_what_is_no_image_is_one_sentence(fitted: ad.Fitted, images, message: str) -> None:
    with pytest.raises(ad.AdbenchError, match=message) as caught:
        fitted.score(images)
    assert "\n" not in str(caught.value)


def test_a_file_that_cannot_be_read_is_named(fitted: ad.Fitted, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"scan\.png does not exist"):
        fitted.score(tmp_path / "scan.png")
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (90, 90, 3), dtype=np.uint8)).save(tmp_path / "cut.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "cut.png").read_bytes()[:999])
    with pytest.raises(DataError, match=r"cut\.png cannot be read"):
        fitted.score([str(tmp_path / "cut.png")])
    with pytest.raises(DataError, match="image 2 cannot be decoded"):
        fitted.score([Image.new("L", (8, 8)), Image.open(tmp_path / "cut.png")])


# --- the parts of a run


def test_the_sampler_draws_the_support_of_a_run(record: ad.Record) -> None:
    data = ad.DataModule("brainmri", shots=2, classes="normal", input_size=112)
    data.setup()
    assert data.support.ids == tuple(record.content["support"]["normal"])
    chosen = ad.FewShotSampler(shots=2, draw=0, classes=(0,))(data.target.split("valid"))
    assert [item.id for item in chosen] == [*data.support.ids]


def test_a_record_shows_itself_in_a_notebook(record: ad.Record) -> None:
    html = record._repr_html_()
    assert "patchcore" in html
    assert f"{100 * record.metrics['image_auroc']:.2f} %" in html
