"""Comparisons of records: against the analysis of the same arrays, and what can't be compared."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm, t

from adbench.board.compare import having, needs
from adbench.board.leaderboard import collect
from adbench.board.samples import Samples, rows_of
from adbench.errors import AdbenchError
from adbench.metrics import patient_metrics, roc_auc
from adbench.metrics.per_image import ImageHistograms, to_columns
from adbench.records.files import IMAGE_HISTOGRAMS
from adbench.records.record import read_all
from adbench.statistics import clustered_covariance, compare_pair, holm, pixel_figures
from adbench.statistics.mrmc import interaction
from tests.adbench.board.conftest import EACH, PATIENTS, compare


def rows(runs: Path):
    return rows_of(collect([runs]).records)


def test_a_pair_is_what_the_analysis_of_its_scores_says(study, tmp_path: Path) -> None:
    good, labels, owner = study(tmp_path, "madclip", shift=3.0)
    poor, *_ = study(tmp_path, "mvfa", shift=0.5)
    (one,) = compare(rows(tmp_path), "image_auroc", Samples())
    assert (one.first, one.second) == ("madclip", "mvfa")
    assert (one.patients, one.images, one.draws) == (PATIENTS, PATIENTS * EACH, 3)
    flat = np.stack([*good.values(), *poor.values()]).astype(float)
    figures = 100 * np.array([roc_auc(row, labels) for row in flat]).reshape(2, 3)
    closed = compare_pair(figures, 1e4 * clustered_covariance(flat, labels, owner))
    assert one.difference.estimate == pytest.approx(closed.estimate)
    assert one.difference.se == pytest.approx(closed.se, rel=0.05), "the closed form is near the jackknife"
    assert one.verdict == "better"
    assert one.difference.low < one.difference.estimate < one.difference.high


def test_verdicts_holm_and_against(study, tmp_path: Path) -> None:
    study(tmp_path, "madclip", shift=3.0)
    study(tmp_path, "mvfa", shift=0.5)
    study(tmp_path, "clip", draws=["none"], shift=0.5, shots=0)
    every = compare(rows(tmp_path), "image_auroc", Samples())
    assert len(every) == 3
    assert [one.draws for one in every] == [3, 3, 3], "one without draws has the same figure in each"
    two = compare(rows(tmp_path), "image_auroc", Samples(), against="madclip")
    assert {(one.first, one.second) for one in two} == {("madclip", "mvfa"), ("madclip", "clip")}
    raw = {(one.first, one.second): one.difference.p for one in two}
    assert max(one.p for one in two) >= max(raw.values())
    wide = compare(rows(tmp_path), "image_auroc", Samples(), against="madclip", margin=100.0)
    assert {one.verdict for one in wide} == {"equivalent"}


def test_only_common_draws_are_compared_and_the_others_named(study, tmp_path: Path) -> None:
    study(tmp_path, "madclip", draws=(0, 1, 2))
    study(tmp_path, "mvfa", draws=(1, 2, 3))
    (one,) = compare(rows(tmp_path), "image_auroc", Samples())
    assert one.draws == 2
    assert one.only == "madclip alone has draw 0 (seed 0); mvfa alone has draw 3 (seed 0)"


def test_what_cannot_be_compared_is_one_sentence(study, tmp_path: Path) -> None:
    study(tmp_path / "a", "madclip", draws=(0,))
    with pytest.raises(AdbenchError, match="two rows on the same test images are needed. There are: madclip"):
        compare(rows(tmp_path / "a"), "image_auroc", Samples())
    study(tmp_path / "b", "madclip", draws=(0,))
    study(tmp_path / "b", "mvfa", draws=(1,))
    with pytest.raises(AdbenchError, match="have no draw in common: draw 0 .* and draw 1"):
        compare(rows(tmp_path / "b"), "image_auroc", Samples())
    study(tmp_path / "c", "madclip", selection="oracle", last={"image_auroc": 0.5})
    study(tmp_path / "c", "mvfa")
    with pytest.raises(AdbenchError, match=r"madclip \(oracle\) and mvfa \(clean\) on brainmri can't be compared"):
        compare(rows(tmp_path / "c"), "image_auroc", Samples())
    study(tmp_path / "d", "madclip", dataset_content="x")
    study(tmp_path / "d", "mvfa", dataset_content="y")
    with pytest.raises(AdbenchError, match="two rows on the same test images are needed"):
        compare(rows(tmp_path / "d"), "image_auroc", Samples())
    with pytest.raises(AdbenchError, match="image_dice has no interval"):
        study(tmp_path / "e", "madclip")
        study(tmp_path / "e", "mvfa")
        compare(rows(tmp_path / "e"), "image_dice", Samples())


def test_few_patients_have_no_interval(study, tmp_path: Path) -> None:
    study(tmp_path, "madclip", patients=9)
    study(tmp_path, "mvfa", patients=9)
    (one,) = compare(rows(tmp_path), "image_auroc", Samples())
    assert one.difference is None
    assert one.verdict == "no interval"
    assert one.why == "6 patients have an abnormal image and 9 a normal one; 10 of each are needed."


def test_means_over_datasets(study, tmp_path: Path) -> None:
    for dataset in ("brainmri", "liverct"):
        study(tmp_path, "madclip", dataset=dataset, shift=2.0)
        study(tmp_path, "mvfa", dataset=dataset, shift=1.0)
    first, second, mean = compare(rows(tmp_path), "image_auroc", Samples())
    assert mean.dataset == "mean of all 2"
    assert mean.difference.estimate == pytest.approx((first.difference.estimate + second.difference.estimate) / 2)
    assert mean.difference.se == pytest.approx(np.hypot(first.difference.se, second.difference.se) / 2)
    assert mean.patients == 2 * PATIENTS


def test_pairs_that_are_all_refused_are_lines_where_another_metric_has_some(study, adbench, tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    for method in ("madclip", "mvfa"):
        study(tmp_path, method, draws=(0, 1), pixel=0.9)
        for folder in sorted(tmp_path.glob(f"{method}-*")):
            give_maps(folder, 0.6, 2.0, rng)  # the maps' own is above 0.9
    answer = adbench("compare", str(tmp_path), "--metric", "pixel_auroc,image_auroc", "--markdown",
                     "--csv", tmp_path / "c.csv")  # fmt: skip
    assert answer.code == 0, answer.err
    out = " ".join(answer.out.split())
    assert "| brainmri | pixel_auroc | madclip | mvfa | | | | no interval |" in out
    assert out.count("madclip and mvfa on brainmri: the figure of the coarse histograms") == 1
    table = pd.read_csv(tmp_path / "c.csv")
    assert table["verdict"].iloc[0] == "no interval"
    assert list(table["metric"]) == ["pixel_auroc", "image_auroc"]
    alone = adbench("compare", str(tmp_path), "--metric", "pixel_auroc")
    assert alone.code == 2
    assert "madclip and mvfa on brainmri: the figure of the coarse histograms" in " ".join(alone.err.split())


def give_maps(folder: Path, pixel_auroc: float | None, shift: float, rng: np.random.Generator, side: int = 12) -> None:
    """Give a record the histograms of maps whose lesions are `shift` above the rest, and its rows another order."""
    table = pd.read_parquet(folder / "predictions.parquet").sample(frac=1, random_state=1)
    table.to_parquet(folder / "predictions.parquet", index=False)
    masks = np.zeros((len(table), side, side), bool)
    masks[table["label"].to_numpy() == 1, 2:6, 2:6] = True
    maps = ImageHistograms()
    maps.update(0, (rng.normal(size=masks.shape) + shift * masks).astype(np.float32), masks)
    pd.DataFrame(to_columns(maps.total())).to_parquet(folder / IMAGE_HISTOGRAMS)
    (folder / "histogram.parquet").touch()
    content = json.loads((folder / "record.json").read_text())
    content |= {"histogram": {"shift": 0, "n_regions": 40}, "image_histograms": {"shift": maps.total().shift}}
    content["metrics"]["pixel_auroc"] = pixel_auroc
    (folder / "record.json").write_text(json.dumps(content))


def give_metric(folder: Path, pixel_auroc: float, half_width: float = 0.0) -> None:
    content = json.loads((folder / "record.json").read_text())
    content["metrics"]["pixel_auroc"] = pixel_auroc
    content["half_widths"] = {"pixel_auroc": half_width}
    (folder / "record.json").write_text(json.dumps(content))


def test_pixel_metrics_take_the_patients_of_the_rows_of_the_file(study, tmp_path: Path) -> None:
    rng, kept = np.random.default_rng(3), dict[str, list[float]]()
    for method, shift in (("madclip", 2.0), ("mvfa", 0.3)):
        study(tmp_path, method, draws=(0, 1), pixel=0.9)
        for folder in sorted(tmp_path.glob(f"{method}-*")):
            give_maps(folder, None, shift, rng)
            (record,) = read_all(folder)
            level = float(pixel_figures(record.contributions(), ("pixel_auroc",))[0]) + 0.0009
            kept.setdefault(method, []).append(level)
            give_metric(folder, level)
    (one,) = compare(rows(tmp_path), "pixel_auroc", Samples())
    difference = 100 * (np.mean(kept["madclip"]) - np.mean(kept["mvfa"]))
    assert one.difference.estimate == pytest.approx(difference, abs=1e-9), "the figures are the records'"
    assert one.verdict == "better"
    (strict,) = compare(rows(tmp_path), "pixel_aupro_05", Samples())
    assert strict.difference.estimate > 0, "computed from the histograms where the record has no such figure"


def test_datasets_without_masks_are_left_out_of_pixel_metrics(study, tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    for dataset in ("brainmri", "his", "liverct"):
        for method in ("clip_finetune", "madclip", "mvfa"):
            study(tmp_path, method, draws=(0,), dataset=dataset)
    for folder in sorted(tmp_path.iterdir()):
        head = json.loads((folder / "record.json").read_text())["facts"]
        if head["dataset"] != "his" and (head["dataset"], head["method"]) != ("liverct", "mvfa"):
            give_maps(folder, 0.9, 1.0, rng)
    found, note = having(rows(tmp_path), "pixel_auroc")
    assert {(row.dataset, row.head["method"]) for row in found} == {
        ("brainmri", "clip_finetune"), ("brainmri", "madclip"), ("brainmri", "mvfa"), ("liverct", "clip_finetune"),
        ("liverct", "madclip"),
    }  # fmt: skip
    assert note == "no pixel_auroc: his, mvfa on liverct (no masks, or a method that draws no maps)."
    assert having(rows(tmp_path), "image_auroc") == (rows(tmp_path), "")
    with pytest.raises(AdbenchError, match="no record here has pixel_ap: its dataset has no masks"):
        having([row for row in rows(tmp_path) if row.dataset == "his"], "pixel_ap")


def test_the_command(study, adbench, tmp_path: Path) -> None:
    study(tmp_path / "runs", "madclip", shift=1.2)
    study(tmp_path / "runs", "mvfa", shift=1.0)
    study(tmp_path / "runs", "clip", draws=["none"], shift=0.5, shots=0)
    answer = adbench("compare", str(tmp_path / "runs"), "--power", "1.0", "--csv", str(tmp_path / "c.csv"),
                     "--json", str(tmp_path / "c.json"), "--against", "madclip")  # fmt: skip
    assert answer.code == 0, answer.err
    assert "Obuchowski-Rockette-Hillis" in answer.out
    table = pd.read_csv(tmp_path / "c.csv")
    assert list(table["second"]) == ["clip", "mvfa"]
    assert (table["ci_low"] < table["difference"]).all()
    assert (table["difference"] < table["ci_high"]).all()
    assert table["needs"].str.contains("patients").all()
    assert json.loads((tmp_path / "c.json").read_text())[0]["verdict"] in ("better", "undecided")
    for option, mark in (("--markdown", "| dataset | metric |"), ("--latex", r"\begin{table}")):
        assert mark in adbench("compare", str(tmp_path / "runs"), option).out
    for words, sentence in (
        (("--shots", "3"), "--shots 3 matches no record; there are 0, 16"),
        (("--level", "2"), "--level 2.0 is not possible"),
        (("--margin", "0"), "--margin 0.0 is not possible"),
        (("--power", "-1"), "--power -1.0 is not possible"),
        (
            ("--against", "winclip"),
            "--against winclip: no such method in these records. There are: clip, madclip, mvfa.",
        ),
        (("--against", "clip", "--method", "clip"), "--against clip is compared with nothing"),
        (("--latex", "--markdown"), "exclude each other"),
    ):
        refused = adbench("compare", str(tmp_path / "runs"), *words)
        assert refused.code == 2
        assert sentence in refused.err


def test_what_a_difference_needs(study, tmp_path: Path) -> None:
    study(tmp_path, "madclip")
    study(tmp_path, "mvfa")
    (one,) = compare(rows(tmp_path), "image_auroc", Samples())
    assert "no number of draws shows less than" in needs(one, 0.01)
    assert f"draws with these {PATIENTS} patients" in needs(one, 50.0)


def test_no_fewer_patients_are_needed_than_have_an_interval(study, tmp_path: Path) -> None:
    for patients, fewest in ((PATIENTS, 15), (15, 15)):  # 2 of 3 have an abnormal image, and all a normal one
        runs = tmp_path / str(patients)
        for method in ("madclip", "mvfa"):
            study(runs, method, patients=patients)
        (one,) = compare(rows(runs), "image_auroc", Samples())
        assert needs(one, 100.0).endswith(f"; {fewest} patients with 3 draws")
    study(tmp_path / "fewer", "madclip", patients=14)
    study(tmp_path / "fewer", "mvfa", patients=14)
    (one,) = compare(rows(tmp_path / "fewer"), "image_auroc", Samples())
    assert one.why.startswith("9 patients have an abnormal image"), "one patient fewer has no interval"


def test_records_of_two_splits_do_not_hide_one_another(study, tmp_path: Path) -> None:
    for seed, name in enumerate(("one", "two")):
        study(tmp_path / name, "madclip", draws=(0,))
        (folder,) = (tmp_path / name).iterdir()
        content = json.loads((folder / "record.json").read_text())
        split = {"seed": seed, "fold": None, "folds": None, "shares": [0.5, 0, 0.5], "images": "i"}
        content["dataset"]["split"], content["key"] = split, name
        (folder / "record.json").write_text(json.dumps(content))
    records, left_out = collect([tmp_path / "one", tmp_path / "two"])
    assert (len(records), left_out) == (2, [])
    with pytest.raises(AdbenchError, match="of the splits 0 and 1 of brainmri"):
        rows_of(records)


def test_patients_are_compared_by_their_highest_scores(study, tmp_path: Path) -> None:
    good, labels, owner = study(tmp_path, "madclip", shift=3.0)
    poor, *_ = study(tmp_path, "mvfa", shift=0.5)
    (one,) = compare(rows(tmp_path), "patient_auroc", Samples())
    wanted = [
        np.mean([patient_metrics(scores, labels, owner)["patient_auroc"] for scores in some.values()])
        for some in (good, poor)
    ]
    assert one.difference.estimate == pytest.approx(100 * (wanted[0] - wanted[1]))
    assert one.verdict == "better"
    assert one.difference.se > compare(rows(tmp_path), "image_auroc", Samples())[0].difference.se, "fewer than images"


def test_patient_metrics_need_patients_of_several_images_and_ten_of_each_class(study, tmp_path: Path) -> None:
    study(tmp_path / "few", "madclip", patients=27)
    study(tmp_path / "few", "mvfa", patients=27)
    (one,) = compare(rows(tmp_path / "few"), "patient_auroc", Samples())
    assert one.why.startswith("18 patients have an abnormal image and 9 a normal one"), "9 have none that is abnormal"
    study(tmp_path / "unknown", "madclip")
    study(tmp_path / "unknown", "mvfa")
    for file in (tmp_path / "unknown").rglob("predictions.parquet"):
        table = pd.read_parquet(file)
        table.assign(patient=pd.array([None] * len(table), dtype="string")).to_parquet(file, index=False)
    with pytest.raises(AdbenchError, match="the patient of no image is known. Take image_ap"):
        compare(rows(tmp_path / "unknown"), "patient_ap", Samples())


def test_numbers_of_shots_without_a_pair_are_passed_over_with_a_note(study, adbench, tmp_path: Path) -> None:
    study(tmp_path / "one", "madclip", shots=1, shift=1.0)
    study(tmp_path / "two", "madclip", draws=(3, 4, 5), shots=2, shift=1.0)
    study(tmp_path / "one", "mvfa", shots=1, shift=0.5)
    folders = [str(tmp_path / "one"), str(tmp_path / "two")]
    for words in ((), ("--against", "mvfa"), ("--against", "madclip shots=1"), ("--markdown",)):
        answer = adbench("compare", *folders, *words)
        assert answer.code == 0, answer.err
        assert "2 shots, image_auroc: " in answer.out
        assert "two rows on the same test images are needed" in " ".join(answer.out.split())
    refused = adbench("compare", *folders, "--shots", "2")
    assert refused.code == 2
    assert "nothing can be compared" in refused.err


def test_two_perfect_methods_have_no_interval_and_are_not_equivalent(study, tmp_path: Path) -> None:
    study(tmp_path, "madclip", shift=90.0)
    study(tmp_path, "mvfa", shift=80.0)
    (one,) = compare(rows(tmp_path), "image_auroc", Samples())
    assert one.difference is None
    assert one.verdict == "no interval"
    assert "neither draws nor patients make these figures vary" in one.why


@pytest.mark.parametrize(("draws", "said"), [((0,), "this draw alone"), ((0, 1, 2), "new draws")])
def test_the_legend_names_the_draws_for_which_intervals_hold(study, adbench, tmp_path: Path, draws, said: str) -> None:
    study(tmp_path, "madclip", draws=draws, shift=1.2)
    study(tmp_path, "mvfa", draws=draws, shift=1.0)
    for words in ((), ("--markdown",), ("--latex",)):
        out = " ".join(adbench("compare", str(tmp_path), *words).out.split())
        assert f"interval for new patients and {said} (Obuchowski" in out


def test_no_file_of_a_record_is_overwritten_by_a_table(study, adbench, tmp_path: Path) -> None:
    study(tmp_path / "runs", "madclip")
    study(tmp_path / "runs", "mvfa")
    picture = next((tmp_path / "runs").glob("*/")) / "gallery" / "overview.png"
    picture.parent.mkdir()
    picture.write_bytes(b"picture")
    for command in ("compare", "leaderboard"):
        answer = adbench(command, str(tmp_path / "runs"), "--csv", str(picture))
        assert answer.code == 2
        assert "is read by this command and would be overwritten" in answer.err
    assert picture.read_bytes() == b"picture"


def test_seeds_of_a_draw_are_no_draws(study, tmp_path: Path) -> None:
    for method, shift in (("madclip", 1.2), ("mvfa", 1.0)):
        for seed in (0, 1, 2):
            study(tmp_path / str(seed), method, shift=shift, seed=seed)
            for folder in sorted((tmp_path / str(seed)).glob(f"{method}-*")):
                folder.rename(folder.with_name(f"{folder.name}-{seed}"))
                file = folder.with_name(f"{folder.name}-{seed}") / "record.json"
                file.write_text(json.dumps(json.loads(file.read_text()) | {"key": file.parent.name}))
    (alone,) = compare(rows(tmp_path / "0"), "image_auroc", Samples())
    collected = collect([tmp_path / str(seed) for seed in (0, 1, 2)]).records
    assert len(collected) == 18
    (one,) = compare(rows_of(collected), "image_auroc", Samples())
    assert (one.draws, one.difference.df) == (3, pytest.approx(alone.difference.df, rel=0.5))
    figures = {
        (r.content["facts"]["method"], r.content["support"]["source"], r.content["facts"]["seed"]): r.metrics
        for r in collected
    }
    means = np.array(
        [
            [
                np.mean([100 * figures[method, f"draw:{draw}", seed]["image_auroc"] for seed in (0, 1, 2)])
                for draw in range(3)
            ]
            for method in ("madclip", "mvfa")
        ]
    )
    assert one.difference.estimate == pytest.approx(means[0].mean() - means[1].mean())
    assert one.difference.draws == pytest.approx(2 * interaction(means) / 3)


def test_holm_is_over_all_numbers_of_shots_and_no_pair_is_shown_twice(study, adbench, tmp_path: Path) -> None:
    for shots, draws in ((1, (0, 1, 2)), (2, (3, 4, 5))):
        study(tmp_path / str(shots), "madclip", draws=draws, shots=shots, shift=1.6)
    study(tmp_path / "zero", "clip", draws=["none"], shift=0.9, shots=0)
    study(tmp_path / "zero2", "winclip", draws=["none"], shift=0.8, shots=0)
    folders = [str(tmp_path / name) for name in ("1", "2", "zero", "zero2")]
    answer = adbench("compare", *folders, "--json", str(tmp_path / "c.json"))
    assert answer.code == 0, answer.err
    found = json.loads((tmp_path / "c.json").read_text())
    pairs = [(one["first"], one["second"]) for one in found]
    assert len(pairs) == len(set(pairs)) == 5, "clip and winclip once"
    raw = [2 * norm.sf(abs(one["difference"]) / one["se"]) if one["df"] is None
           else 2 * t.sf(abs(one["difference"]) / one["se"], one["df"]) for one in found]  # fmt: skip
    assert [one["p_holm"] for one in found] == pytest.approx(holm(raw), abs=1e-6)


def test_no_verdict_rests_on_a_difference_within_the_computation_error(study, adbench, tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    for method, shift in (("madclip", 2.0), ("mvfa", 1.5)):
        study(tmp_path, method, draws=(0, 1), pixel=0.9)
        for folder in sorted(tmp_path.glob(f"{method}-*")):
            give_maps(folder, None, shift, rng)
            (record,) = read_all(folder)
            give_metric(folder, float(pixel_figures(record.contributions(), ("pixel_auroc",))[0]))
    (sure,) = compare(rows(tmp_path), "pixel_auroc", Samples())
    assert (sure.verdict, sure.half_width) == ("better", 0)
    for folder in tmp_path.iterdir():
        metric = json.loads((folder / "record.json").read_text())["metrics"]["pixel_auroc"]
        give_metric(folder, metric, half_width=0.04)
    (unsure,) = compare(rows(tmp_path), "pixel_auroc", Samples())
    assert (unsure.verdict, unsure.half_width) == ("undecided", pytest.approx(8))
    assert unsure.difference == sure.difference
    answer = adbench("compare", str(tmp_path), "--metric", "pixel_auroc")
    assert "have a computation error of up to ± 8.00 points" in " ".join(answer.out.split())


def test_a_figure_that_coarse_histograms_do_not_show_has_no_interval(study, tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    for method in ("madclip", "mvfa"):
        study(tmp_path, method, draws=(0, 1), pixel=0.9)
        for folder in sorted(tmp_path.glob(f"{method}-*")):
            give_maps(folder, 0.6, 2.0, rng)  # the maps' own is above 0.9
    with pytest.raises(AdbenchError, match=r"coarse histograms .* is 9\d\.\d\d, the record's 60\.00"):
        compare(rows(tmp_path), "pixel_auroc", Samples())


def test_seeds_that_some_draw_lacks_are_left_out_and_named(study, tmp_path: Path) -> None:
    for method in ("madclip", "mvfa"):
        for seed, draws in ((0, (0, 1, 2)), (1, (0, 1, 2) if method == "madclip" else (0, 1))):
            study(tmp_path / f"{method}{seed}", method, draws=draws, seed=seed)
            for folder in sorted((tmp_path / f"{method}{seed}").iterdir()):
                content = json.loads((folder / "record.json").read_text())
                (folder / "record.json").write_text(json.dumps(content | {"key": f"{folder.name}-{seed}"}))
                folder.rename(folder.with_name(f"{folder.name}-{seed}"))
    (one,) = compare(rows_of(collect(sorted(tmp_path.iterdir())).records), "image_auroc", Samples())
    assert one.draws == 3
    assert one.difference is not None
    assert one.only == (
        "madclip alone has draw 2 (seed 1); not all draws have the seeds of draw 0 (seed 1), draw 1 (seed 1)"
    )
