from __future__ import annotations

import math
import pickle
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from adbench.backbone.build import build
from adbench.backbone.features import FrozenFeatures
from adbench.blocks import synthesis
from adbench.blocks.prompts import WINCLIP_TEMPLATES, Prompts, ensemble
from adbench.errors import AdbenchError
from adbench.method import Batch
from adbench.methods.mediclip.method import EpochSampler, MediCLIP, Params
from adbench.records.record import read_all


def prepared(bench, support, seed: int = 0, **params: object) -> MediCLIP:
    """A method that has looked at the normal images and not trained."""
    method = bench.new("mediclip", seed, **params)
    method.prepare(support())
    return method


def test_parameter_counts_at_full_size(facts) -> None:
    with torch.device("meta"):
        backbone = build("ViT-L-14", facts("ViT-L-14", weights="random"), 224)
        method = MediCLIP.create(Params(), backbone.to(torch.device("meta")))
    count = {name: sum(p.numel() for p in m.parameters()) for name, m in method.named_children()}
    assert count == {"adapters": 2_361_600, "learner": 129_024}
    assert sum(p.numel() for p in method.parameters()) == 2_361_600 + 129_024
    assert method.blocks == (12, 18, 24)


def test_the_words_name_no_object() -> None:
    prompts = Params().prompts
    assert (len(prompts.normal), len(prompts.abnormal)) == (10, 11)
    assert prompts.phrases("Liver") == (tuple(prompts.normal), tuple(prompts.abnormal))


def test_how_images_reach_the_backbone(bench) -> None:
    shape = bench.backbone.architecture
    plain = MediCLIP.capability(Params(), shape)
    assert (plain.support, plain.blocks, plain.normalisation, plain.activation) == (
        "normal",
        (6, 9, 12),
        "clip",
        "native",
    )
    assert (plain.resize, plain.grey) == ("bilinear", False)
    assert MediCLIP.capability(Params(grey="both"), shape).grey


@pytest.mark.parametrize(("grey", "coloured"), [("none", True), ("support", False)])
def test_colours_stay_unless_asked(bench, support, grey: str, coloured: bool) -> None:
    toy = support()
    toy.images[:, 0] = 0
    method = bench.new("mediclip", grey=grey)
    method.prepare(toy)
    image = method.data[0][0]
    assert torch.equal(image[0], image[2]) is not coloured


def test_scores_by_hand(bench, support) -> None:
    method = bench.fitted("mediclip", epochs=1)
    batch = bench.batch(method, support().images)
    with torch.no_grad():
        text = method.learner(bench.backbone, "Brain")
        cosines = []
        for block, adapter in zip((6, 9, 12), method.adapters, strict=True):
            tokens = batch.features.blocks[block][:, 1:] @ adapter.weight.T + adapter.bias
            cosines.append((tokens / tokens.norm(dim=-1, keepdim=True)) @ text.T)

        def big(columns: torch.Tensor) -> torch.Tensor:
            square = columns.transpose(1, 2).unflatten(2, (8, 8))
            return F.interpolate(square, (112, 112), mode="bilinear", align_corners=True)

        published = big(sum(cosines) / 3).softmax(1)[:, 1]
        paper = sum(big((c / 0.07).softmax(-1)) for c in cosines)[:, 1] / 3
        scores = method.score(batch)
        torch.testing.assert_close(scores.maps, published)
        torch.testing.assert_close(scores.image, published.flatten(1).amax(1))
        assert 0.12 < float(scores.maps.min()) <= float(scores.maps.max()) < 0.88  # two cosines, no temperature
        method.params.temperature, method.params.average = 0.07, "maps"
        torch.testing.assert_close(method.score(batch).maps, paper)


def test_every_epoch_sees_every_image_once_with_new_anomalies(bench, support) -> None:
    method = prepared(bench, support)
    loader = method.train_dataloader()
    n = len(support())
    epochs = []
    for epoch in range(3):
        loader.sampler.set_epoch(epoch)
        epochs.append(list(loader.sampler))
        assert sorted(i - epoch * n for i in epochs[-1]) == list(range(n))
        assert all(i // n == epoch for i in epochs[-1])
    assert [i % n for i in epochs[0]] != [i % n for i in epochs[1]]
    marks = [[int(method.data[epoch * n + row][1].sum()) for epoch in range(4)] for row in range(n)]
    assert all(len(set(row)) > 1 for row in marks)
    assert len(set(map(tuple, marks))) == n  # no two images share a stream


def test_the_trainer_sets_the_epoch_of_the_sampler(bench, support, monkeypatch) -> None:
    epochs: list[int] = []
    monkeypatch.setattr(EpochSampler, "set_epoch", lambda self, epoch: epochs.append(epoch))
    bench.fitted("mediclip", epochs=3)
    assert list(dict.fromkeys(epochs)) == [0, 1, 2]


def test_loader_workers_change_nothing(bench, support) -> None:
    def drawn(workers: int) -> list[tuple[torch.Tensor, ...]]:
        method = prepared(bench, support, batch_size=2)
        method.loader_workers = workers
        loader, batches = method.train_dataloader(), []
        assert loader.num_workers == workers
        for epoch in range(2):
            loader.sampler.set_epoch(epoch)
            batches += [(images, masks, unchanged) for images, masks, _, unchanged in loader]
        return batches

    for batch, same in zip(drawn(0), drawn(2), strict=True):
        assert all(torch.equal(a, b) for a, b in zip(batch, same, strict=True))


def test_a_run_has_the_workers_it_asks_for_and_is_the_same_cell(
    adbench, tiny: Path, tmp_path: Path, monkeypatch
) -> None:
    counts: list[int] = []
    make = MediCLIP.train_dataloader

    def counted(self: MediCLIP) -> object:
        loader = make(self)
        counts.append(loader.num_workers)
        return loader

    monkeypatch.setattr(MediCLIP, "train_dataloader", counted)
    words = ["method=mediclip", "shots=2", "method.epochs=2", "gallery=0", "device=cpu", f"data_root={tiny}"]
    scores = []
    for workers in (2, 0):
        runs = tmp_path / str(workers)
        answer = adbench("run", *words, f"runs={runs}", f"loader_workers={workers}")
        assert answer.code == 0, answer.err
        (record,) = read_all(runs)
        scores.append((record.path.name, record.predictions()["score"].tolist()))
    assert scores[0] == scores[1]
    assert counts == [2, 0]


def test_workers_may_be_sent_the_anomalies(bench, support) -> None:
    data = prepared(bench, support).data
    sent = pickle.loads(pickle.dumps(data))  # noqa: S301
    assert all(torch.equal(data[i][0], sent[i][0]) for i in range(12))


def test_the_seed_of_the_cell_decides_the_anomalies(bench, support) -> None:
    draws = [prepared(bench, support, seed) for seed in (0, 0, 1)]
    same, again, other = ([d.data[i][0] for i in range(24)] for d in draws)
    assert all(torch.equal(a, b) for a, b in zip(same, again, strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(same, other, strict=True))


def test_only_the_tasks_that_are_named_are_drawn(bench, support) -> None:
    alone = prepared(bench, support, tasks="[identity]")
    assert not any(alone.data[i][1].any() for i in range(30))
    three = prepared(bench, support, tasks="[cutpaste,gauss,source]")
    four = prepared(bench, support)
    unmarked = [sum(not m.data[i][1].any() for i in range(120)) for m in (three, four)]
    assert unmarked[0] == 0
    assert 15 < unmarked[1] < 45


def test_unchanged_images_come_from_the_cache_and_others_stay_out_of_it(
    bench, support, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    method = prepared(bench, support, tasks="[cutpaste,identity]")
    method._frozen = FrozenFeatures(bench.backbone, "w", method.declared.outputs, "32-true", tmp_path)
    method._frozen.sizes = (8,)
    batch = next(iter(method.train_dataloader()))
    images, masks, names, unchanged = batch
    assert 0 < int(unchanged.sum()) < 6
    assert torch.equal(unchanged, ~masks.flatten(1).any(1))
    wanted = torch.cat([bench.backbone.features(one.float() / 255, (6, 9, 12)).blocks[9] for one in images.split(1)])
    torch.testing.assert_close(method._encode_training(images, unchanged)[9], wanted)
    sizes = sorted(file.stat().st_size for file in tmp_path.rglob("*.rows"))
    assert sizes == [int(unchanged.sum()) * wanted[0].nbytes] * len(method.blocks)
    encoded: list[int] = []
    features = bench.backbone.features

    def counted(images: torch.Tensor, *rest: object) -> object:
        encoded.append(len(images))
        return features(images, *rest)

    monkeypatch.setattr(bench.backbone, "features", counted)
    loss = method.training_step(batch, 0)
    assert encoded == [8], "the changed ones in a chunk, filled up"
    assert torch.equal(loss, method.training_step([images, masks, names, torch.zeros(6, dtype=torch.bool)], 0))
    loss.backward()
    assert all(p.grad is not None for p in method.parameters())


def test_words_that_name_no_object_are_encoded_once_for_all_objects(bench, support, monkeypatch) -> None:
    method = prepared(bench, support, tasks="[identity]")
    images, masks, names, unchanged = next(iter(method.train_dataloader()))
    passes: list[int] = []
    encode = bench.backbone.encode_embedded

    def counted(embedded: torch.Tensor, *rest: object, **how: object) -> torch.Tensor:
        passes.append(len(embedded))
        return encode(embedded, *rest, **how)

    monkeypatch.setattr(bench.backbone, "encode_embedded", counted)
    losses = [method.training_step([images, masks, own, unchanged], 0) for own in (names, ["A", "B", "C"] * 2)]
    assert passes == [21, 21]
    assert torch.equal(*losses)
    method.eval()
    batch = bench.batch(method, support().images)
    scores = [
        method.score(Batch(batch.images, batch.features, batch.datasets, own))
        for own in (batch.object_names, ("A", "B", "C") * 2)
    ]
    assert passes == [21, 21, 21]
    assert torch.equal(scores[0].maps, scores[1].maps)


def test_it_learns_the_toy(bench, support) -> None:
    toy = support()
    method = bench.fitted("mediclip", epochs=40)
    with torch.no_grad():
        scores = method.score(bench.batch(method, toy.images))
    assert scores.image[3:].min() > scores.image[:3].max()
    inside = torch.stack([m[w].mean() for m, w in zip(scores.maps[3:], toy.masks[3:], strict=True)])
    outside = torch.stack([m[~w].mean() for m, w in zip(scores.maps[3:], toy.masks[3:], strict=True)])
    assert (inside > outside).all()


def test_masks_of_the_support_are_not_used(bench, support) -> None:
    with_masks, without = (
        (lambda m: m.score(bench.batch(m, support().images)).image)(bench.fitted("mediclip", s, epochs=1))
        for s in (support(), support(masks=False))
    )
    assert torch.equal(with_masks, without)


@pytest.mark.parametrize(
    ("param", "value"),
    [
        ("tasks", "[cutpaste,gauss,source]"),
        ("blend", "poisson"),
        ("temperature", 0.07),
        ("average", "maps"),
        ("positions", "[front]"),
        ("context_length", 4),
        ("levels", "[3,6]"),
        ("learning_rate", 1e-2),
        ("prompts.normal", "[intact]"),
        ("learn_tokens", "false"),
        ("adapters", "false"),
        ("ranges.cutpaste_sides", "[0.3,0.4]"),
        ("ranges.gauss_sides", "[0.1,0.2]"),
        ("ranges.source_sides", "[0.1,0.2]"),
        ("ranges.gauss_strength", "[0.1,0.2]"),
        ("ranges.source_strength", "[2,3]"),
    ],
)
def test_every_facet_does_something(bench, support, param: str, value: object) -> None:
    task = "cutpaste" if param == "blend" else param.removeprefix("ranges.").partition("_")[0]
    base = {"epochs": 1, "tasks": f"[{task}]"} if task in synthesis.NAMES else {"epochs": 2}
    plain, other = (
        (lambda m: m.score(bench.batch(m, support().images)).maps)(bench.fitted("mediclip", **base, **params))
        for params in ({}, {param: value})
    )
    assert not torch.allclose(plain, other)


def test_a_trained_method_takes_other_words(bench, support) -> None:
    method = bench.fitted("mediclip", epochs=1)
    batch = bench.batch(method, support().images)
    with torch.no_grad():
        before = method.score(batch).maps
        other = bench.new("mediclip", epochs=1)
        other.load_fitted(method.state_dict())
        words = Params().prompts
        other.learner.prompts = Prompts(["intact {}", *words.normal[1:]], words.abnormal)
        assert not torch.allclose(other.score(batch).maps, before)
        other.learner.prompts = Prompts(["intact {}"], words.abnormal)
        other.build_memory(support())
        other.learner._frames.clear()
        with pytest.raises(AdbenchError, match="10 learned contexts do not fit 1 phrases"):
            other.score(batch)


@pytest.mark.parametrize(("key", "value"), [("grey", "some"), ("blend", "soft"), ("average", "text")])
def test_impossible_parameters_are_named(bench, key: str, value: object) -> None:
    with pytest.raises(AdbenchError, match=rf"method.{key}={value} is not possible: choose from"):
        bench.new("mediclip", **{key: value})


def test_impossible_tasks_and_temperatures_are_named(bench) -> None:
    for tasks in ("[cutpaste,smooth]", "[]"):
        with pytest.raises(AdbenchError, match=r"method.tasks=\[.*\] is not possible: name some of cutpaste, gauss"):
            bench.new("mediclip", tasks=tasks)
    with pytest.raises(AdbenchError, match="method.temperature=0.0 is not possible: a number above 0"):
        bench.new("mediclip", temperature=0)


def test_real_anomalies_are_the_supports_own(bench, support) -> None:
    toy = support()
    method = bench.new("mediclip", anomalies="real")
    assert bench.capability(method).support == "both"
    method.prepare(toy)
    seen = [method.data[index] for index in range(2 * len(toy))]
    assert all(torch.equal(image, toy.images[i % 6]) for i, (image, _, _, _) in enumerate(seen))
    assert all(torch.equal(mask.bool(), toy.masks[i % 6]) for i, (_, mask, _, _) in enumerate(seen))


def test_real_anomalies_teach(bench, support) -> None:
    toy = support()
    before, after = (bench.fitted("mediclip", toy, anomalies="real", epochs=n) for n in (0, 8))
    inside = []
    for method in (before, after):
        with torch.no_grad():
            maps = method.score(bench.batch(method, toy.images)).maps
        inside.append(float(maps[toy.masks].mean() - maps[~toy.masks].mean()))
    assert inside[1] > inside[0] + 0.02


def test_real_anomalies_without_masks_are_refused(bench, support) -> None:
    method = bench.new("mediclip", anomalies="real")
    with pytest.raises(AdbenchError, match="6 of the 6 support images have none"):
        method.prepare(support(masks=False))


@pytest.mark.parametrize(
    ("words", "trained"),
    [
        ({"learn_tokens": "false"}, {"adapters"}),
        ({"adapters": "false"}, {"learner"}),
        ({"learn_tokens": "false", "adapters": "false"}, set()),
    ],
)
def test_ablations_take_parts_away(bench, support, words: dict[str, str], trained: set[str]) -> None:
    method = bench.fitted("mediclip", epochs=1, **words)
    assert {name for name, module in method.named_children() if list(module.parameters())} == trained
    assert method.declared.epochs == bool(trained)
    with torch.no_grad():
        scores = method.score(bench.batch(method, support().images[:1]))
        backbone = bench.backbone
        if not trained:  # what is left is CLIP, asked at three levels
            text = ensemble(backbone, Params().prompts, "", WINCLIP_TEMPLATES)
            blocks = backbone.features(support().images[:1].float() / 255, (6, 9, 12)).blocks
            patches = [pooled(blocks[b][0, 1], text.shape[1]) @ text.T for b in (6, 9, 12)]
            wanted = torch.stack(patches).mean(0).softmax(-1)[1]
            torch.testing.assert_close(scores.maps[0, 0, 0], wanted, atol=1e-5, rtol=1e-4)


def pooled(channels: torch.Tensor, parts: int) -> torch.Tensor:
    """The mean of each of `parts` parts of equal length of a vector's channels, to unit length."""
    width = len(channels) / parts
    spans = [(math.floor(i * width), math.ceil((i + 1) * width)) for i in range(parts)]
    return F.normalize(torch.stack([channels[a:b].mean() for a, b in spans]), dim=-1)


def test_without_adapters_channels_are_pooled_by_hand() -> None:
    # 4 channels to 3: parts of 4/3 channels, which begin and end with a whole one
    assert F.adaptive_avg_pool1d(torch.tensor([[[1.0, 3.0, 7.0, 9.0]]]), 3).tolist() == [[[2.0, 5.0, 8.0]]]


def test_words_that_are_not_learned_are_in_winclips_templates(bench, support) -> None:
    method = bench.new("mediclip", learn_tokens="false")
    own = bench.new("mediclip", learn_tokens="false", templates="['{}.']")
    with torch.no_grad():
        text, plain = method._texts(["Brain"], {})[0], own._texts(["Brain"], {})[0]
        texts = [template.replace("{}", word) for word in Params().prompts.normal for template in WINCLIP_TEMPLATES]
        vectors = F.normalize(bench.backbone.encode_text(texts), dim=-1)
        full_stops = F.normalize(bench.backbone.encode_text([f"{w}." for w in Params().prompts.normal]), dim=-1)
    assert len(vectors) == 10 * 22
    torch.testing.assert_close(text[0], F.normalize(vectors.mean(0), dim=-1), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(plain[0], F.normalize(full_stops.mean(0), dim=-1), atol=1e-5, rtol=1e-4)


def test_templates_without_effect_or_place_are_refused(bench) -> None:
    with pytest.raises(AdbenchError, match="method.templates has no effect on learned prompts"):
        bench.new("mediclip", templates="['{}.']")
    with pytest.raises(AdbenchError, match=r"method.templates=\[a scan\] is not possible: .* each with \{\}"):
        bench.new("mediclip", learn_tokens="false", templates="[a scan]")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("gauss_sides", "[0.8,0.3]"),
        ("source_sides", "[0.2]"),
        ("cutpaste_sides", "[0.0,0.5]"),
        ("gauss_strength", "[0.5,1.5]"),
        ("source_strength", "[-1,2]"),
    ],
)
def test_impossible_ranges_are_named(bench, key: str, value: str) -> None:
    with pytest.raises(AdbenchError, match=rf"method.ranges.{key}=\[.* is not possible: two numbers from"):
        bench.new("mediclip", **{f"ranges.{key}": value})
