"""kosent-eval and the Hub: what it refuses, and how scores get into a card."""

import json
import shutil

import pytest
import yaml

from tests.kosent_hub.dialogues import write_dataset

QUICK = ["--embedder", "none", "--max-new-tokens", "4", "--no-safety"]


@pytest.fixture
def evaluate(run, hub, tmp_path):
    """Run `kosent-eval` for each list of arguments, as `user`, on a machine with an empty cache."""

    def evaluate(*commands, user="alice"):
        shutil.rmtree(hub.home, ignore_errors=True)
        env = hub.env(user)
        return [run(["kosent-eval", *command], env=env, cwd=tmp_path) for command in commands]

    return evaluate


def files(folder, *leave_out):
    return {p.name: p for p in folder.iterdir() if p.is_file() and p.name not in leave_out}


def test_what_cannot_be_evaluated_is_refused_in_one_line(hub, evaluate, tiny_llama, tmp_path):
    data = write_dataset(tmp_path / "chat", 1)
    weights, template = "model.safetensors", "chat_template.jinja"
    whole = files(tiny_llama)
    assert {weights, template} <= whole.keys()
    config = json.loads((tiny_llama / "config.json").read_text())
    encoder = json.dumps({"model_type": "bert", "architectures": ["BertModel"]}).encode()
    own_code = json.dumps(
        {"model_type": "own", "auto_map": {"AutoConfig": "own.OwnConfig"}}
    ).encode()
    pickled = files(tiny_llama, weights) | {"pytorch_model.bin": b"\x80\x04N."}
    adapter = {
        "adapter_config.json": json.dumps(
            {"peft_type": "LORA", "base_model_name_or_path": "alice/whole", "r": 2}
        ).encode(),
        "adapter_model.bin": b"\x80\x04N.",
    }
    hub.create("alice/whole", files=whole)
    hub.create("alice/private", private=True, files=whole)
    hub.create("alice/gated", gated=True, files=whole)
    hub.create("alice/encoder", files=whole | {"config.json": encoder})
    hub.create("alice/pickled", files=pickled)
    hub.create("alice/no-template", files=files(tiny_llama, template))
    hub.create("alice/own-code", files=whole | {"config.json": own_code})
    hub.create("alice/pickled-adapter", files=adapter)
    hub.create(
        "alice/odd",
        files=whole | {"config.json": json.dumps(config | {"model_type": "no-such"}).encode()},
    )
    expected = {
        "alice/missing": "no such repository, or it is private and your token may not read it",
        "alice/private": "no such repository, or it is private and your token may not read it",
        "alice/gated": "gated repository; accept its terms on that page",
        "alice/encoder": "a BertModel does not generate text",
        "alice/pickled": "has no safetensors weights",
        "alice/no-template": "--chat-template FILE",
        "alice/own-code": "allow it with --trust-remote-code",
        "alice/pickled-adapter": "has no adapter_model.safetensors",
        "alice/odd": "alice/odd: cannot be loaded",
    }
    ends = evaluate(
        *(["--model", name, "--dataset", data, *QUICK] for name in expected), user="bob"
    )
    for (name, said), end in zip(expected.items(), ends, strict=True):
        assert end.returncode == 2, (name, end.stderr)
        last = end.stderr.splitlines()[-1]
        assert last.startswith("kosent-eval: "), end.stderr
        assert said in last, (name, end.stderr)
        assert "Traceback" not in end.stderr


@pytest.mark.slow
def test_what_was_downloaded_once_is_evaluated_without_a_network(hub, run, tiny_llama, tmp_path):
    data = write_dataset(tmp_path / "chat", 2)
    inside = (path for path in data.rglob("*") if path.is_file())
    hub.create("alice/chat", "dataset", files={str(p.relative_to(data)): p for p in inside})
    hub.create("alice/model", files=files(tiny_llama))
    command = ["kosent-eval", "--model", "alice/model", "--dataset", "alice/chat", *QUICK, "--json"]
    env = hub.env("alice")
    first = run([*command, "--output", "first"], cwd=tmp_path, env=env)
    assert first.returncode == 0, first.stderr
    env |= {"HF_HUB_OFFLINE": "1"}
    again = run([*command, "--output", "again"], cwd=tmp_path, env=env)
    assert again.returncode == 0, again.stderr
    assert json.loads(first.stdout)["metrics"] == json.loads(again.stdout)["metrics"]


@pytest.mark.slow
def test_scores_go_into_the_card_again_and_again(hub, evaluate, tiny_llama, tmp_path):
    card = "---\nlicense: mit\n---\n# Mine\n\nMy own words.\n"
    hub.create("alice/model", files=files(tiny_llama) | {"README.md": card})
    before = hub.commits("alice/model")
    data = write_dataset(tmp_path / "chat", 4)
    push = ["--model", "alice/model", "--dataset", data, *QUICK, "--push"]
    ends = evaluate(push, [*push, "--max-new-tokens", "5"], [*push, "--fresh"])
    assert [end.returncode for end in ends] == [0, 0, 0], ends
    assert hub.endpoint in ends[0].stderr.splitlines()[-1]

    assert len(hub.commits("alice/model")) == len(before) + 3, "one commit each"
    now = hub.files("alice/model")
    readme = now["README.md"].decode()
    assert "My own words." in readme
    assert "license: mit" in readme
    front = yaml.safe_load(readme.split("---")[1])
    (entry,) = front["model-index"]
    assert len(entry["results"]) == 2, "the third run replaces the first, the second stays"
    scores = {
        record["settings"]["max_new_tokens"]: record
        for path, content in now.items()
        if path.startswith("kosent/eval/chat--test--")
        for record in [json.loads(content)]
    }
    assert scores.keys() == {4, 5}
    assert scores[4]["model"]["revision"] == hub.commits("alice/model")[1][0]
    assert scores[5]["protocol"]["generation"]["max_new_tokens"] == 5
    assert "samples.parquet" not in now
    for path, content in now.items():
        if not path.endswith((".json", ".md", ".yaml")) or path.startswith("tokenizer"):
            continue
        assert "답 1.0" not in content.decode(), f"{path} holds the dataset's text"


def test_scores_of_somebody_elses_model_are_a_pull_request(hub, evaluate, tiny_llama, tmp_path):
    hub.create("alice/model", files=files(tiny_llama))
    data = write_dataset(tmp_path / "chat", 2)
    asked = ["--model", "alice/model", "--dataset", data, *QUICK]
    refused, proposed = evaluate([*asked, "--push"], [*asked, "--create-pr"], user="bob")
    assert refused.returncode == 2
    assert "--create-pr" in refused.stderr.splitlines()[-1]
    assert proposed.returncode == 0, proposed.stderr
    (request,) = hub.pull_requests("alice/model")
    assert request.author == "bob"
    assert not [path for path in hub.files("alice/model") if path.startswith("kosent/eval/")]


def test_pushing_without_a_token_is_refused_before_anything_is_generated(
    hub, evaluate, tiny_llama, tmp_path
):
    hub.create("alice/model", files=files(tiny_llama))
    data = write_dataset(tmp_path / "chat", 2)
    asked = ["--model", "alice/model", "--dataset", data, *QUICK, "--push"]
    (end,) = evaluate(asked, user=None)
    assert end.returncode == 2
    assert "no Hub token" in end.stderr
    assert not (tmp_path / "kosent-eval").exists()
