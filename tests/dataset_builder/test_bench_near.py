"""The search for near-duplicates that KoSent-Bench's datasheet tells of, repeated."""

import csv
import re
from itertools import islice

import numpy as np
import pytest
from scipy import sparse

from dataset_builder.bench import load, turns
from dataset_builder.near import near_duplicates
from tests.dataset_builder.test_near import table
from tests.support import ROOT

# As the datasheet has it: sets of 4 letters and digits in a row, shared over all; of texts with
# fewer than FEW such sets nothing can be said.
GRAM, NEAR, FEW = 4, 0.4, 8
TURN = re.compile(r"(사람|시스템)문장[123]")


def texts_of_the_bench():
    """Every text of the benchmark with its item's id."""
    bench = load()
    for item in (*bench.dialogues, *bench.crisis, *bench.conduct):
        for turn in item.turns:
            yield from ((item.id, text) for text in (turn.user, *turn.replies))
    yield from ((item.id, item.good) for item in bench.crisis)
    for item in bench.conduct:
        yield from ((item.id, text) for text in (item.good_reply, item.bad_reply))
    for script in bench.scripts:
        for turn in script.turns:
            texts = (turn.user, *(branch.user for branch in turn.branches))
            yield from ((script.id, text) for text in texts)


@pytest.fixture(scope="module")
def sample():
    """The turns of the sample corpus's dialogues."""
    dialogues = []
    for path in sorted((ROOT / "dataset_builder" / "sample").glob("*/*.csv")):
        with path.open(encoding="cp949", newline="") as file:
            for row in csv.DictReader(file):
                dialogues.append([row[name] for name in row if TURN.fullmatch(name) and row[name]])
    assert len(dialogues) == 1440
    return dialogues


def near_texts(texts, others):
    """Of each two texts that share too much the first one, the other one, and how much."""
    found = {}
    sets = [grams(text) for text in (*texts, *others)]
    places = [
        (row, found.setdefault(gram, len(found))) for row, own in enumerate(sets) for gram in own
    ]
    rows, columns = zip(*places, strict=True)
    counted = sparse.csr_matrix((np.ones(len(rows), dtype=np.int32), (rows, columns)))
    shared = (counted[: len(texts)] @ counted.T).tocoo()
    sizes = [len(own) for own in sets]
    for a, b, both in zip(shared.row, shared.col, shared.data, strict=True):
        share = both / (sizes[a] + sizes[b] - both)
        if a < b and share > NEAR and min(sizes[a], sizes[b]) >= FEW:
            yield texts[a], (*texts, *others)[b], share


def grams(text):
    plain = re.sub(r"[\W_]", "", text)
    return {plain[i : i + GRAM] for i in range(len(plain) - GRAM + 1)}


def test_no_two_texts_of_the_benchmark_and_none_and_one_of_the_sample_corpus_are_near(sample):
    own = [text for _, text in texts_of_the_bench()]
    assert len(own) == 4053
    theirs = {turn for dialogue in sample for turn in dialogue}
    assert not list(near_texts(own, sorted(theirs)))


def test_a_text_that_repeats_another_but_for_a_word_is_found(sample):
    (_, own), *_ = texts_of_the_bench()
    theirs = max(sample[0], key=len)
    edited = [f"{text} 정말이야!" for text in (own, theirs)]
    found = list(near_texts([own, *edited], [theirs]))
    assert [(one, other) for one, other, _ in found] == [(own, edited[0]), (edited[1], theirs)]


def test_no_pair_of_turn_and_reply_is_nearly_in_the_sample_corpus(sample):
    theirs = [pair for own in sample for pair in zip(own[::2], own[1::2], strict=True)]
    own = [(turn.input[-1]["content"], reply) for turn in turns(load()) for reply in turn.targets]
    planted = [(f"{user}!!", f"{reply} ㅠㅠ") for user, reply in islice(theirs, 3)]
    splits = {"train": table(theirs, "train"), "test": table([*own, *planted], "test")}
    found = near_duplicates(splits)["test"]
    assert found["pairs"] == 778 * 2 + 220 + 3
    assert found["dialogue_ids"] == [f"test-{len(own) + n}" for n in range(3)]
