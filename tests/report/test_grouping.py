"""Which runs are put together, and which are never compared."""

import shutil

import pytest
from helpers.run_folders import DIGITS, SPACE, leave, records, retrain, search

from oneshot.errors import InputError
from oneshot.report import differences
from oneshot.report.grouping import sections
from oneshot.report.lineage import lineages

TABLE = {"_target_": "oneshot.estimators.Tabular", "table": "t.csv", "dataset": "cifar10"}


def grouped(root, group_by=()):
    """Heading -> label -> seeds that finished; and what is left out."""
    found, left = sections(records(root), group_by)
    return {s.heading: {g.label: sorted(x.first.seed for x in g.lineages) for g in s.groups} for s in found}, left


def test_seeds_of_one_setting_are_a_group_and_settings_that_differ_are_named(tmp_path):
    for seed in (0, 1, 2):
        shown = {"pictures": ["screen", "none", "paper"][seed], "trainer": {"enable_progress_bar": seed == 1}}
        search(tmp_path / f"a{seed}", seed=seed, out=f"a{seed}", log_every=seed + 1, **shown)
    search(tmp_path / "b", architect={"optimizer": {"lr": 0.3}}, seed=0)
    found, left = grouped(tmp_path)
    assert found == {
        "NASBench201 on digits": {
            "darts architect.optimizer.lr=0.1": ["0", "1", "2"],
            "darts architect.optimizer.lr=0.3": ["0"],
        }
    }
    assert left == []


def test_seeds_inside_a_setting_belong_to_the_seed(tmp_path):
    for seed in (0, 1):
        search(tmp_path / f"{seed}", seed=seed, selection={"samples": 3, "seed": seed})
    assert grouped(tmp_path)[0]["NASBench201 on digits"] == {"darts": ["0", "1"]}


def test_many_settings_get_letters_and_a_key(tmp_path):
    for n in range(3):
        search(tmp_path / f"{n}", **{f"setting_{name}": n for name in "abcde"})
    (section,), _ = sections(records(tmp_path))
    assert [group.label for group in section.groups] == ["darts A", "darts B", "darts C"]
    assert [group.settings for group in section.groups] == [
        {f"setting_{name}": str(n) for name in "abcde"} for n in range(3)
    ]
    assert differences.differing(section) == []  # the key says it
    for n in range(27):
        search(tmp_path / f"long{n}", **{"a": "x" * 80 + str(n)})
    labels = list(grouped(tmp_path)[0]["NASBench201 on digits"])
    assert len(labels) == len(set(labels)) == 30 and labels[-5:] == ["darts Z", *(f"darts {x}2" for x in "ABCD")]


def test_spaces_and_images_are_never_mixed(tmp_path):
    search(tmp_path / "a")
    search(tmp_path / "b", space={"_target_": "oneshot.spaces.DARTSCells", "nodes": 2, "cells": 3})
    search(tmp_path / "c", space={"_target_": "oneshot.spaces.DARTSCells", "nodes": 4, "cells": 3})
    search(tmp_path / "d", data={"_target_": "oneshot.data.huggingface", "source": "uoft-cs/cifar10"})
    search(tmp_path / "e", space={**SPACE, "cells": 5})  # another size, not another space
    assert grouped(tmp_path)[0] == {
        "NASBench201 on digits": {"darts space.cells=1": ["0"], "darts space.cells=5": ["0"]},
        "DARTSCells (nodes=2) on digits": {"darts": ["0"]},
        "DARTSCells (nodes=4) on digits": {"darts": ["0"]},
        "NASBench201 on uoft-cs/cifar10": {"darts": ["0"]},
    }


def test_group_by_puts_together_and_says_so(tmp_path):
    for n, lr in enumerate((0.1, 0.2, 0.3)):
        search(tmp_path / f"{n}", architect={"optimizer": {"lr": lr}}, seed=n, weight=lr > 0.15)
    (section,), _ = sections(records(tmp_path), ["architect"])
    (group,) = section.groups
    assert group.label == "darts" and group.merged == ["architect.optimizer.lr", "weight"]
    found, _ = grouped(tmp_path, ["architect", "weight"])
    assert found["NASBench201 on digits"] == {"darts weight=false": ["0"], "darts weight=true": ["1", "2"]}
    with pytest.raises(InputError, match="group_by=wieght: no run has this setting; did you mean 'weight'"):
        sections(records(tmp_path), ["wieght"])


def test_unfinished_runs_are_listed_and_counted_but_in_no_group(tmp_path):
    search(tmp_path / "a", seed=0)
    node = {"architect": {"_target_": "oneshot.architects.DARTS", "optimizer": {"lr": 0.1}}, "epochs": 2}
    leave(tmp_path / "b", {**node, "seed": 1}, reason="no luck")
    (section,), left = sections(records(tmp_path))
    (group,) = section.groups
    assert [x.first.seed for x in group.lineages] == ["0"] and [x.first.seed for x in group.missing] == ["1"]
    assert left == [(str(tmp_path / "b"), "failed", "ValueError: no luck")]


def test_a_repetition_counts_once(tmp_path):
    search(tmp_path / "a")
    shutil.copytree(tmp_path / "a", tmp_path / "copy")
    node = {"architect": {"_target_": "oneshot.architects.DARTS", "optimizer": {"lr": 0.1}}, "epochs": 2}
    leave(tmp_path / "z", node, reason="first try")  # the same seed has finished since
    retrain(tmp_path / "t", tmp_path / "copy")
    (section,), left = sections(records(tmp_path))
    (group,) = section.groups
    assert len(group.lineages) == 1 and group.missing == []
    assert group.lineages[0].trained[0].path == tmp_path / "t"  # of what either of two equal searches found
    assert {(one.path, one.status) for one in left} == {
        (str(tmp_path / "copy"), "repetition"),
        (str(tmp_path / "z"), "failed"),
    }


def test_trainings_of_two_equal_searches_are_of_one_and_repeated_ones_are_listed(tmp_path):
    search(tmp_path / "a")
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    retrain(tmp_path / "ta", tmp_path / "a", 0.5, seed=0)
    retrain(tmp_path / "tb", tmp_path / "b", 0.75, seed=1)
    shutil.copytree(tmp_path / "tb", tmp_path / "tc")
    retrain(tmp_path / "x", "random", 0.1)
    shutil.copytree(tmp_path / "x", tmp_path / "y")
    (section,), left = sections(records(tmp_path))
    trained = {group.label: [summary.path.name for summary in group.lineages[0].trained] for group in section.groups}
    assert trained == {"darts": ["ta", "tb"], "random": ["x"]}
    assert {one.path: one.reason.removeprefix(f"same settings and seed as {tmp_path}/") for one in left} == {
        str(tmp_path / "b"): "a",
        str(tmp_path / "tc"): "tb",
        str(tmp_path / "y"): "x",
    }


def test_trainings_of_two_files_with_one_long_name_are_two(tmp_path):
    for name, operation in (("a", "skip_connect"), ("b", "nor_conv_3x3")):
        retrain(tmp_path / f"t{name}", f"/{name}/{'x' * 60}/architecture.json", operation=operation)
    (section,), left = sections(records(tmp_path))
    assert left == [] and sum(len(group.lineages) for group in section.groups) == 2


def test_what_trained_another_find_of_the_same_search_is_no_seed_of_it(tmp_path):
    search(tmp_path / "a")
    search(tmp_path / "b", operation="nor_conv_3x3")
    retrain(tmp_path / "t", tmp_path / "b", operation="nor_conv_3x3")
    (section,), left = sections(records(tmp_path))
    assert section.groups[0].lineages[0].trainings == ()
    assert [one.reason.replace(f"{tmp_path}/", "") for one in left] == [
        "same settings and seed as a",
        "trained what b found, a repetition of a, which found another",
    ]


@pytest.mark.parametrize("name", ["metrics.jsonl", "scores.json", "status.json"])
def test_of_two_repetitions_the_whole_one_counts(tmp_path, name):
    search(tmp_path / "a")
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    with (tmp_path / "a" / name).open("a") as file:
        file.write("{\n")
    (section,), (left,) = sections(records(tmp_path))
    assert section.groups[0].lineages[0].first.path == tmp_path / "b" and left.path == str(tmp_path / "a")
    assert left.reason == f"same settings and seed as {tmp_path / 'b'}; damaged: {name}"


def lineage_of(root):
    """The first run of each lineage -> its trainings."""
    found = [[str(summary.path.relative_to(root)) for summary in one.summaries] for one in lineages(records(root))[0]]
    return {names[0]: names[1:] for names in found}


def test_a_training_belongs_to_its_search_by_path(tmp_path, monkeypatch):
    for seed, (name, operation) in enumerate((("x", "skip_connect"), ("y", "nor_conv_1x1"))):
        search(tmp_path / "A" / name, operation=operation, seed=seed)
    retrain(tmp_path / "B" / "absolute", tmp_path / "A" / "x")
    retrain(tmp_path / "B" / "relative", "A/y", operation="nor_conv_1x1", seed=1)
    retrain(tmp_path / "B" / "file", "A/y/architecture.json", operation="nor_conv_1x1", seed=2)
    expected = {"A/x": ["B/absolute"], "A/y": ["B/file", "B/relative"]}
    assert lineage_of(tmp_path) == expected
    monkeypatch.chdir(tmp_path)
    assert lineage_of(tmp_path) == expected


def test_or_by_equal_decisions_where_one_search_alone_has_them(tmp_path):
    search(tmp_path / "A" / "x")
    search(tmp_path / "A" / "y", operation="nor_conv_1x1", seed=1)
    search(tmp_path / "A" / "z", operation="nor_conv_1x1", seed=2)
    retrain(tmp_path / "B" / "moved", "gone/x")
    retrain(tmp_path / "B" / "either", "gone/y", operation="nor_conv_1x1")
    retrain(tmp_path / "B" / "random", "random")  # has x's decisions by chance
    retrain(tmp_path / "B" / "changed", "A/x", operation="nor_conv_3x3")  # x was searched again since
    expected = {"A/x": ["B/moved"], "A/y": [], "A/z": [], "B/changed": [], "B/either": [], "B/random": []}
    assert lineage_of(tmp_path) == expected


def test_not_by_decisions_where_the_path_is_of_a_run_that_was_not_given(tmp_path):
    search(tmp_path / "A" / "x")
    search(tmp_path / "other" / "x")
    retrain(tmp_path / "B" / "t", tmp_path / "other" / "x")
    given = [summary for summary in records(tmp_path) if "other" not in summary.path.parts]
    found, left = lineages(given)
    assert [len(lineage.trainings) for lineage in found] == [0, 1] and found[1].head is None and left == {}


def test_two_ways_to_train_are_two_groups_and_seeds_of_one_way_are_not(tmp_path):
    for seed in (0, 1):
        search(tmp_path / f"s{seed}", seed=seed)
        for epochs in (3, 9):
            retrain(tmp_path / f"t{seed}-{epochs}", tmp_path / f"s{seed}", epochs=epochs, seed=seed)
    retrain(tmp_path / "again", tmp_path / "s0", epochs=3, seed=7)
    search(tmp_path / "s2", seed=2)  # not trained
    (section,), _ = sections(records(tmp_path))
    found = {group.label: [len(x.trained) for x in group.lineages] for group in section.groups}
    assert found == {"darts retrain:epochs=3": [2, 1], "darts retrain:epochs=9": [1, 1], "darts": [0]}


def test_a_search_that_was_not_trained_joins_the_only_training_of_its_method(tmp_path):
    for seed in (0, 1):
        search(tmp_path / f"s{seed}", seed=seed)
    retrain(tmp_path / "t0", tmp_path / "s0")
    assert grouped(tmp_path)[0]["NASBench201 on digits"] == {"darts": ["0", "1"]}


def baseline(path, estimator, **settings):
    node = {"strategy": {"_target_": "oneshot.strategies.TPE"}, "estimator": estimator, **settings}
    return leave(path, node, {"test_accuracy": 0.8, "best_accuracy": 0.7})


def test_a_table_is_a_section_of_its_own_and_what_was_trained_of_it_another(tmp_path):
    baseline(tmp_path / "a", TABLE)
    retrain(tmp_path / "t", tmp_path / "a", operation="avg_pool_3x3")
    (tmp_path / "t" / "result.json").write_text('{"status": "finished", "test_accuracy": 0.9}')
    baseline(tmp_path / "b", {**TABLE, "dataset": "cifar100"})
    found, _ = grouped(tmp_path)
    assert found == {
        "NASBench201 on table t.csv, cifar10": {"TPE": ["0"]},
        "NASBench201 on table t.csv, cifar100": {"TPE": ["0"]},
        "NASBench201 on digits": {"TPE": ["0"]},
    }


def test_of_the_packages_table_the_epochs_count(tmp_path):
    """Those of a file say nothing, as a file has its own."""
    for epochs in (12, 200):
        baseline(tmp_path / f"p{epochs}", {**TABLE, "table": None, "epochs": epochs})
        baseline(tmp_path / f"f{epochs}", {**TABLE, "epochs": epochs}, seed=epochs)
    baseline(tmp_path / "old", TABLE, seed=3)
    headings = {f"NASBench201 on the published table, cifar10, {n} epochs": {"TPE": ["0"]} for n in (12, 200)}
    found, _ = grouped(tmp_path)
    assert {heading: found[heading] for heading in headings} == headings
    assert len(found) == 3 and "NASBench201 on table t.csv, cifar10" in found


ONE_SHOT = {"_target_": "oneshot.estimators.OneShot", "images": 0}


def test_supernets_belong_to_seeds_unless_one_seed_has_two(tmp_path):
    for seed in (0, 1):
        baseline(tmp_path / f"a{seed}", ONE_SHOT, seed=seed, supernet=f"s{seed}", epochs=seed)
    assert grouped(tmp_path)[0]["NASBench201 on digits"] == {"TPE": ["0", "1"]}  # it trained none: epochs are idle
    baseline(tmp_path / "b", ONE_SHOT, seed=1, supernet="s0")
    assert grouped(tmp_path)[0]["NASBench201 on digits"] == {"TPE supernet=s0": ["0", "1"], "TPE supernet=s1": ["1"]}


def test_what_differs_is_said_with_whose_it_is(tmp_path):
    search(tmp_path / "a", epochs=2)
    search(tmp_path / "b", epochs=9, architect={"_target_": "my.Sigmoid"})
    retrain(tmp_path / "t", tmp_path / "a", data={**DIGITS, "batch_size": 64})
    retrain(tmp_path / "u", tmp_path / "b", data={**DIGITS, "batch_size": 96})
    (section,), _ = sections(records(tmp_path))
    assert differences.differing(section) == [
        "Differs between searches: epochs is 2 in darts; 9 in Sigmoid.",
        "Differs between trainings: data.batch_size is 64 in darts; 96 in Sigmoid.",
    ]
    searches, trainings = differences.shared(section)
    assert "space.cells=1" in searches and "data.batch_size=32" in searches and "epochs" not in searches
    assert "epochs=3" in trainings and "batch_size" not in trainings


def test_a_folder_of_images_has_its_own_name_in_the_heading(tmp_path):
    search(tmp_path / "a", data={"_target_": "oneshot.data.huggingface", "source": "/some/where/flowers/"})
    assert list(grouped(tmp_path)[0]) == ["NASBench201 on flowers"]
