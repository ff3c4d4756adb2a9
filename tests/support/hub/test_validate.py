"""Card metadata the Hub takes and refuses, as `RepoCard`'s users meet it."""

import pytest

from tests.support.hub.validate import check_card, check_eval_results

MODEL = """
language: [ko, en]
license: llama3.1
library_name: peft
pipeline_tag: text-generation
base_model: meta-llama/Llama-3.1-8B-Instruct
base_model_relation: adapter
datasets: [kosent/dialogues]
metrics: [bleu, chrf]
tags: [lora]
model-index:
- name: kosent-llama
  results:
  - task: {type: text-generation, name: Chat}
    dataset: {type: kosent/dialogues, name: Dialogues, split: test, revision: 0f0f0f0}
    metrics:
    - {type: bleu, value: 1.73, name: BLEU}
    source: {url: https://example.com/run, name: Run}
"""
DATASET = """
language: ko
license: other
license_name: aihub
license_link: https://example.com/terms
pretty_name: Dialogues
size_categories: [10K<n<100K]
task_categories: [text-generation]
configs:
- config_name: default
  data_files:
  - {split: train, path: data/train-*}
dataset_info: {features: [{name: x, dtype: string}]}
"""
RESULTS = """
- dataset: {id: kosent/dialogues, task_id: bleu, revision: 0f0f0f0}
  value: 1.73
  date: '2026-01-01T00:00:00Z'
  source: {url: https://example.com/run, name: Run, org: kosent}
  notes: gold history
- dataset: {id: kosent/dialogues, task_id: chrf}
  value: 12
  date: 2026-01-01
"""


def card(text: str) -> str:
    return f"---{text}---\n# Hello\n"


def test_whole_cards_are_taken():
    assert check_card(card(MODEL), "model") == ([], [])
    assert check_card(card(DATASET), "dataset") == ([], [])
    assert check_eval_results(RESULTS) == []


def test_a_card_without_metadata_is_only_warned_about():
    assert check_card("# Hello\n", "model") == ([], ["empty or missing yaml metadata in repo card"])


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("[ko, en]", "[ko, Korean]", '"language[1]" with value "Korean" is not valid'),
        ("llama3.1", "meta-llama", '"license" must be one of'),
        ("license: llama3.1", "license:", '"license" must be one of'),
        ("text-generation\nbase", "chat\nbase", '"pipeline_tag" must be one of'),
        (
            "meta-llama/Llama-3.1-8B-Instruct",
            "./runs/base",
            '"base_model" with value "./runs/base"',
        ),
        ("meta-llama/Llama-3.1-8B-Instruct", "/root/base", '"base_model" with value "/root/base"'),
        ("meta-llama/Llama-3.1-8B-Instruct", "a/b/c", '"base_model" with value "a/b/c"'),
        ("meta-llama/Llama-3.1-8B-Instruct", "null", '"base_model" with value "None"'),
        ("relation: adapter", "relation: lora", '"base_model_relation" must be one of'),
        ("[kosent/dialogues]", "[../data]", '"datasets[0]" with value "../data" is not valid'),
        ("split: test", "config: null", 'results[0].dataset.config" must be a string'),
        ("name: Dialogues, ", "", 'results[0].dataset.name" is required'),
        ("{type: kosent/dialogues", "{type: ./out", 'dataset.type" must be a dataset id'),
        ("type: bleu, ", "", 'metrics[0].type" is required'),
        ("value: 1.73", "value: null", 'metrics[0].value" is required'),
        ("[lora]", "[lora", "YAML Metadata Error"),
        ("- name: kosent-llama\n ", "-", '"model-index[0].name" is required'),
        ("[lora]", "[1]", '"tags[0]" must be a string'),
    ],
)
def test_model_cards_refused(old, new, said):
    assert old in MODEL
    errors, _ = check_card(card(MODEL.replace(old, new, 1)), "model")
    assert len(errors) == 1
    assert said in errors[0]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("10K<n<100K", "58K", '"size_categories[0]" must be one of'),
        ("config_name: default", "config_name: 1", '"configs[0].config_name" is required'),
        ("license_name: aihub", "license_name: null", '"license_name" must be a string'),
        ("[text-generation]", "[chat]", '"task_categories[0]" must be one of'),
        ("{features: [{name: x, dtype: string}]}", "x", '"dataset_info" must be'),
    ],
)
def test_dataset_cards_refused(old, new, said):
    assert old in DATASET
    errors, _ = check_card(card(DATASET.replace(old, new, 1)), "dataset")
    assert len(errors) == 1
    assert said in errors[0]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("id: kosent/dialogues, task_id: chrf", "id: ./out, task_id: chrf", "dataset.id must be"),
        ("task_id: bleu, ", "", 'task_id" is required'),
        ("revision: 0f0f0f0", "revision: null", 'revision" must be a string'),
        ("revision: 0f0f0f0", "config: default", "dataset.config is not allowed"),
        ("value: 12", "value: null", "[1].value is required"),
        ("value: 12", "score: 12\n  value: 12", "[1].score is not allowed"),
        ("url: https://example.com/run, ", "", "source.url is required"),
        ("'2026-01-01T00:00:00Z'", "yesterday", "date must be an ISO-8601 date"),
        ("task_id: chrf", "task_id: bleu", "more than one value"),
    ],
)
def test_eval_results_refused(old, new, said):
    assert old in RESULTS
    errors = check_eval_results(RESULTS.replace(old, new, 1))
    assert len(errors) == 1
    assert said in errors[0]


def test_the_client_raises_and_warns_what_the_hub_says(hub):
    hub.create("alice/m")
    api = hub.api()
    with pytest.raises(ValueError, match=r'"base_model" with value "\./x" is not valid'):
        api.upload_file(
            path_or_fileobj=b"---\nbase_model: ./x\n---\n",
            path_in_repo="README.md",
            repo_id="alice/m",
        )
    with pytest.warns(UserWarning, match="empty or missing yaml metadata"):
        api.upload_file(path_or_fileobj=b"# Hello", path_in_repo="README.md", repo_id="alice/m")
