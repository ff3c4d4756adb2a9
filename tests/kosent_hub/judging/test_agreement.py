"""Agreement, strengths and votes against what can be worked out by hand."""

import io
import json
import re
from contextlib import redirect_stderr, redirect_stdout

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.metrics import cohen_kappa_score

from kosent_hub.judge import main
from kosent_hub.judging.agreement import alpha, kappa
from kosent_hub.judging.strengths import strengths
from tests.kosent_hub.judging.planted import evaluation, quality

# Four observers and twelve units, of Krippendorff (2011), "Computing Krippendorff's
# Alpha-Reliability": nominal alpha 0.743.
UNITS = ["111", "2232", "3333", "3333", "2222", "1234", "4444", "1121", "2222", "555", "11", "3"]


def test_alpha_is_that_of_krippendorffs_own_example():
    found = alpha([dict(enumerate(map(int, unit))) for unit in UNITS], 0)
    assert found.value == pytest.approx(0.743, abs=5e-4)
    assert found.n == 11
    assert found.ci95[0] < 0.743 < found.ci95[1] <= 1


def test_alpha_is_unknown_where_nothing_varies_or_nobody_saw_the_same():
    assert alpha([{0: 1, 1: 1}] * 20, 0).value is None
    assert alpha([{0: 1}, {1: 0}], 0).value is None


def test_kappa_is_cohens():
    # 20 both first, 15 both second, 5 and 10 apart: 0.7 observed, 0.5 by chance (Cohen 1960).
    ours = [1] * 25 + [-1] * 25
    theirs = [1] * 20 + [-1] * 5 + [1] * 10 + [-1] * 15
    found = kappa(ours, theirs, "judge", 0)
    assert (found.value, found.same, found.n) == (pytest.approx(0.4), 0.7, 50)
    rng = np.random.default_rng(1)
    ours = rng.integers(-1, 2, size=200).tolist()
    theirs = [one if rng.random() < 0.6 else int(rng.integers(-1, 2)) for one in ours]
    assert kappa(ours, theirs, "judge", 0).value == pytest.approx(cohen_kappa_score(ours, theirs))
    assert found.ci95[0] < 0.4 < found.ci95[1]


def test_strengths_are_the_logits_of_the_win_rates():
    # The first model wins 3 of 4 of each other one, which are equal: the odds are 3 to 1.
    first, second, scores = [], [], []
    for one, other, won in ((0, 1, 30), (0, 2, 30), (1, 2, 20)):
        first += [one] * 40
        second += [other] * 40
        scores += [1.0] * won + [0.0] * (40 - won)
    found = strengths(np.asarray(scores), np.asarray(first), np.asarray(second), range(120), 3, 0)
    assert found[0].value - found[1].value == pytest.approx(np.log(3), abs=0.05)
    assert found[1].value == pytest.approx(found[2].value)
    for each in found:
        assert each.ci95[0] < each.value < each.ci95[1]


def run(*arguments):
    with redirect_stdout(io.StringIO()) as out, redirect_stderr(io.StringIO()) as err:
        status = main([*map(str, arguments)])
    return status, out.getvalue(), err.getvalue()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """An evaluation whose tuned model has all the better replies."""
    return evaluation(tmp_path_factory.mktemp("people") / "eval", better=1.0)


def exported(folder, out, *more):
    """The page for a rater elsewhere, what is in it, and what was said on stderr."""
    status, printed, said = run(folder, "--people", "--export", out, *more)
    assert status == 0, said
    assert printed.strip() == str(out / "judge.html")
    page = (out / "judge.html").read_text("utf-8")
    (data,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page, re.S)
    return page, json.loads(data), said


def pairs(data):
    """The pair that each of the page's items shows, whichever is left."""
    return [frozenset((item["left"], item["right"])) for item in data["items"]]


def votes_for(data, wrong):
    """The keys of the better replies, but of the worse ones in the pairs at these places."""
    shown = pairs(data)
    turned = {shown[i] for i in wrong}
    better = ["1" if quality(item["left"]) > 4 else "2" for item in data["items"]]
    other = {"1": "2", "2": "1"}
    return [other[key] if shown[i] in turned else key for i, key in enumerate(better)]


def votes_file(path, data, rater, keys, /, **changes):
    """The file that the page saves."""
    content = {**data["about"], "queue": data["queue"], "rater": rater, "votes": keys}
    path.write_text(json.dumps(content | changes), "utf-8")
    return path


def test_two_raters_of_exported_pages_agree_as_far_as_is_worked_out_by_hand(folder, tmp_path):
    for name, wrong in (("가", (0, 1)), ("나", (0, 1, 2, 3))):
        _, data, said = exported(folder, tmp_path / name, "--limit", "20")
        assert "AI Hub's terms forbid to pass its text on" in said
        votes = votes_for(data, wrong)[:11]  # ten pairs, and one of them again
        path = votes_file(tmp_path / f"{name}.json", data, f"별명 {name}", votes)
        status, printed, said = run(folder, "--people", "--votes", path, "--json")
        assert status == 0, said
    found = json.loads(printed)
    people, (agreed,) = found["people"], found["agreement"]
    assert list(people["raters"].values()) == [11, 11] and "별명" not in printed
    assert people["self_agreement"]["value"] == 1.0 and people["self_agreement"]["n"] == 2
    (rate,) = people["preferences"]["win_rates"]
    assert (rate["wins"], rate["ties"], rate["losses"]) == (6, 2, 2)
    # 20 votes, 14 for the tuned model: chance would have 168 / 19 disagree, and 4 do.
    assert agreed["value"] == pytest.approx(1 - 4 / (168 / 19))
    assert (agreed["measure"], agreed["same"], agreed["n"]) == ("alpha", 0.8, 10)
    status, printed, _ = run("report", folder)
    assert "people among themselves (Krippendorff's alpha)  0.55" in printed


def test_sides_are_balanced_and_one_in_ten_comes_again_the_other_way_round(folder, tmp_path):
    page, data, _ = exported(folder, tmp_path / "out")
    shown = pairs(data)
    assert len(shown) == 36 + 3 and len(set(shown)) == 36
    again = [i for i, pair in enumerate(shown) if pair in shown[:i]]
    assert again == [10, 21, 32]
    for i in again:
        assert data["items"][i]["left"] == data["items"][shown.index(shown[i])]["right"]
    left = [quality(item["left"]) > 4 for i, item in enumerate(data["items"]) if i not in again]
    assert sum(left) == 18 and len({*left[::2]}) == 2
    other = exported(folder, tmp_path / "other")[1]
    assert pairs(other)[:10] == shown[:10] and other["items"] != data["items"]
    for hidden in ("org/tuned", "org/base", "비밀 지시", "tuned"):
        assert hidden not in page
    assert "비밀 이야기" in page and "default-src &#39;none&#39;" in page
    assert not re.search(r"""(src|href)=["'](?!data:,)""", page)


def test_votes_that_are_none_or_of_another_run_are_one_line(folder, tmp_path):
    _, data, _ = exported(folder, tmp_path / "out", "--limit", "20")
    votes, other = votes_for(data, ()), tmp_path / "votes.json"
    for changes, line in (
        ({"replies_sha256": "0" * 64}, "votes on replies of another run, or by another rubric"),
        ({"rubric_sha256": "0" * 64}, "votes on replies of another run, or by another rubric"),
        ({"votes": ["3"]}, "no votes of an exported page"),
        ({"queue": "../../etc"}, "no votes of an exported page"),
        ({"votes": [*votes, "1"]}, "more votes than pairs"),
        ({"rater": " "}, "nickname: must have 1 to 80 characters"),
    ):
        path = votes_file(other, data, "다", votes, **changes)
        status, printed, said = run(folder, "--people", "--votes", path)
        assert (status, printed) == (2, "") and line in said.splitlines()[-1], said
    other.write_bytes(b"\xff")
    assert run(folder, "--people", "--votes", other)[0] == 2
    assert run(folder, "--people", "--votes", votes_file(other, data, "라", votes))[0] == 0
    changed = votes_file(other, data, "라", votes_for(data, (0,)))
    status, _, said = run(folder, "--people", "--votes", changed)
    assert status == 2 and "replace them with --overwrite" in said
    assert run(folder, "--people", "--votes", changed, "--overwrite")[0] == 0
    status, _, said = run(folder, "--people", "--export", tmp_path / "out")
    assert status == 2 and "is there already" in said


def test_text_that_looks_like_html_stays_text_in_the_page(tmp_path):
    folder = evaluation(tmp_path / "eval", samples=20)
    table = pq.read_table(folder / "samples.parquet").to_pydict()
    table["prediction"] = ["</script><script>alert(1)</script> " + t for t in table["prediction"]]
    pq.write_table(pa.table(table), folder / "samples.parquet")
    page, data, _ = exported(folder, tmp_path / "out")
    assert "<script>alert" not in page
    assert any("</script>" in item["left"] for item in data["items"])
