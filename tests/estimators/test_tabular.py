"""Tables of accuracies: what they answer, and every way in which a file can be wrong."""

import csv
import itertools

import pytest
from helpers.support import ROOT, small_space

from oneshot.architecture import Query
from oneshot.errors import InputError
from oneshot.estimators import Tabular
from oneshot.spaces import NASBench201

TABLE = ROOT.parent / "shared" / "data" / "nasbench201" / "accuracies.csv"
LONG = TABLE.with_name("accuracies200.csv")
SPACE = NASBench201((3, 32, 32), 10)
ALL = [SPACE.architecture(decisions) for decisions in itertools.product(range(5), repeat=6)]
HEAD = ["arch", "own-val", "own-test", "half-val"]


def accuracy(n):
    return 10 + (n * 7919 % 15625) / 200


@pytest.fixture(scope="module")
def rows():
    return [[SPACE.notation(a), f"{accuracy(n)}", f"{accuracy(n) / 2}", "1"] for n, a in enumerate(ALL)]


def written(path, rows, head=HEAD):
    with open(path, "w", newline="") as file:
        csv.writer(file).writerows([head, *rows])
    return str(path)


def test_answers_and_report(rows, tmp_path):
    table = Tabular(SPACE, written(tmp_path / "t.csv", rows), "own")
    assert table([Query(ALL[3]), Query(ALL[9], fidelity=0.1)]) == [
        {"accuracy": accuracy(3) / 100},
        {"accuracy": accuracy(9) / 100},
    ]
    best = max(accuracy(n) for n in range(len(ALL)))
    report = table.report(ALL[3])
    assert report["validation_regret"] == pytest.approx(best - accuracy(3))
    assert report["test_regret"] == pytest.approx((best - accuracy(3)) / 2)
    assert report["test_accuracy"] == pytest.approx(accuracy(3) / 200)


@pytest.mark.parametrize("dataset", ["cifar10", "cifar100"])
@pytest.mark.parametrize("epochs", [12, 200])
def test_the_packages_table(dataset, epochs):
    """Queries are answered by the validation accuracy after 12 epochs, and the test accuracy asked for is reported."""
    if not (TABLE.is_file() and LONG.is_file()):
        pytest.skip(f"no tables of NAS-Bench-201 at {TABLE.parent}")
    with open(TABLE, newline="") as short, open(LONG, newline="") as long:
        queried = {row["arch"]: float(row[f"{dataset}-val"]) for row in csv.DictReader(short)}
        short.seek(0)
        reported = {
            row["arch"]: float(row[f"{dataset}-test"]) for row in csv.DictReader(short if epochs == 12 else long)
        }
    table = Tabular(SPACE, dataset=dataset, epochs=epochs)
    answers = table([Query(architecture) for architecture in ALL])
    best = max(queried.values()), max(reported.values())
    assert table.best == best and len(answers) == len(queried) == 15625
    for architecture, answer in zip(ALL, answers, strict=True):
        name = SPACE.notation(architecture)
        assert answer == {"accuracy": queried[name] / 100}
        assert table.report(architecture) == {
            "validation_accuracy": queried[name] / 100,
            "test_accuracy": reported[name] / 100,
            "validation_regret": best[0] - queried[name],
            "test_regret": best[1] - reported[name],
        }


def test_the_packages_table_equals_its_file():
    if not TABLE.is_file():
        pytest.skip(f"no table of NAS-Bench-201 at {TABLE}")
    assert Tabular(SPACE).rows == Tabular(SPACE, str(TABLE)).rows


def test_tables_that_the_package_does_not_have(tmp_path, rows):
    with pytest.raises(InputError, match="estimator.table=null: the package has no table of the space 'darts'"):
        Tabular(small_space())
    with pytest.raises(InputError, match="unknown data set .estimator.dataset.*'cifar1'; did you mean 'cifar10'"):
        Tabular(SPACE, dataset="cifar1")
    for epochs in (100, "200", 12.0, True, None):
        with pytest.raises(InputError, match=f"estimator.epochs={epochs!r}: the package's table has 12 and 200"):
            Tabular(SPACE, epochs=epochs)
    with pytest.raises(InputError, match="estimator.epochs=200: is for the package's table, and not for"):
        Tabular(SPACE, written(tmp_path / "t.csv", rows), "own", 200)
    tests_alone = written(tmp_path / "tests.csv", [[row[0], row[2]] for row in rows], ["arch", "own-test"])
    with pytest.raises(InputError, match="has no data set with both columns, NAME-val and NAME-test"):
        Tabular(SPACE, tests_alone, "own")


@pytest.mark.skipif(not TABLE.is_file(), reason=f"{TABLE} is not there")
def test_the_published_table():
    table = Tabular(SPACE, str(TABLE))
    found = SPACE.from_notation(
        "|nor_conv_3x3~0|+|nor_conv_3x3~0|avg_pool_3x3~1|+|skip_connect~0|nor_conv_3x3~1|skip_connect~2|"
    )
    assert table([Query(found)]) == [{"accuracy": pytest.approx(0.82834)}]
    assert table.report(found)["test_accuracy"] == pytest.approx(0.8822)
    with open(TABLE, newline="") as file:
        best = max(float(row["cifar10-val"]) for row in csv.DictReader(file))
    assert table.report(found)["validation_regret"] == pytest.approx(best - 82.834)


def changed(rows, n, column, value):
    return [[value if (i, j) == (n, column) else cell for j, cell in enumerate(row)] for i, row in enumerate(rows)]


def test_tables_that_cannot_be_used(rows, tmp_path):
    path = tmp_path / "t.csv"
    wrong = {
        "no row for": rows[:-1],
        "line 7, column 'own-val': 'nan'": changed(rows, 5, 1, "nan"),
        "line 7, column 'own-test': '101'": changed(rows, 5, 2, "101"),
        "line 7, column 'own-val': 'good'": changed(rows, 5, 1, "good"),
        "comes twice": [*rows, rows[3]],
        "is no architecture of the space": [*rows, ["|magic~0|", "1", "1", "1"]],
        "has no rows": [],
    }
    for message, content in wrong.items():
        with pytest.raises(InputError, match=message):
            Tabular(SPACE, written(path, content), "own")
    with pytest.raises(InputError, match="column 'own-val' comes twice"):
        Tabular(SPACE, written(path, [[*row, "5"] for row in rows], [*HEAD, "own-val"]), "own")
    with pytest.raises(InputError, match="line 2: has more fields than"):
        Tabular(SPACE, written(path, [[*row, "5"] for row in rows]), "own")
    with pytest.raises(InputError, match="the largest value is 0.5; must be percent"):
        Tabular(SPACE, written(path, [[row[0], "0.5", "0.5", "1"] for row in rows]), "own")
    for name in (5, ""):
        with pytest.raises(InputError, match="must be the path of a CSV file"):
            Tabular(SPACE, name, "own")
    with pytest.raises(InputError, match="unknown data set .*'half'.*known: own"):
        Tabular(SPACE, written(path, rows), "half")
    with pytest.raises(InputError, match="no column 'arch'"):
        Tabular(SPACE, written(path, rows, ["name", *HEAD[1:]]), "own")
    with pytest.raises(InputError, match="no row for .* is it a table of the space 'darts'"):
        Tabular(small_space(), written(path, rows), "own")
    for content in (b"\xff\xfe\x00" * 50, b"", b"arch,own-val,own-test\n|no"):
        path.write_bytes(content)
        with pytest.raises(InputError, match=str(path)):
            Tabular(SPACE, str(path), "own")
    with pytest.raises(InputError, match="is a folder, and not a file"):
        Tabular(SPACE, str(tmp_path), "own")
    with pytest.raises(InputError, match="cannot be read"):
        Tabular(SPACE, str(tmp_path / "absent.csv"), "own")
