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
    for name in (5, None, ""):
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
