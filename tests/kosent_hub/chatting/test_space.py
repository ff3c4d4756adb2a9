"""`kosent-chat MODEL --space ORG/NAME`: what is pushed, what is refused, and the Space at work."""

import json
import re
import socket
import subprocess
import sys
import urllib.request
import venv
from pathlib import Path

import pytest
import yaml

from tests.kosent_hub.adapters import write_adapter

pytestmark = pytest.mark.slow

BASE, MODEL, SPACE = "meta-llama/Llama-3.2-Taught", "kosent/Llama-3.2-Kind", "kosent/kind-chat"
HOST = "kosent-kind-chat.hf.space"
CARD = """---
license: {license}
language: ko
library_name: peft
pipeline_tag: text-generation
base_model: {base}
datasets: kosent/dialogues
---
# Kind

Built with Llama. 공감하는 대화 모델이며, 상담을 대신하지 못합니다. {help}

## Limits

It may be wrong. It was trained on kosent/dialogues.
"""
HELP = "힘들 때는 109로 전화해 주세요."
TERMS = {"LICENSE": "the licence", "USE_POLICY.md": "for good", "NOTICE": "Llama 3.2 is licensed"}


@pytest.fixture
def adapter(hub, families, tmp_path: Path) -> Path:
    """An adapter's folder; its base, taught to reply Hello! to 안녕, is on the Hub."""
    files = {path.name: path for path in (families / "qwen3").iterdir() if path.is_file()}
    hub.create(BASE, files=files | {"README.md": "---\nlicense: llama3.2\n---\n"})
    folder = write_adapter(families / "qwen3", tmp_path / "adapter", std=0.5)
    config = json.loads((folder / "adapter_config.json").read_text("utf-8"))
    config |= {"base_model_name_or_path": BASE, "revision": hub.head(BASE)}
    (folder / "adapter_config.json").write_text(json.dumps(config), "utf-8")
    return folder


def files_of(adapter: Path, base: str = BASE, license: str = "llama3.2", help: str = HELP):
    names = ("adapter_config.json", "adapter_model.safetensors")
    card = CARD.format(base=base, license=license, help=help)
    return {name: adapter / name for name in names} | TERMS | {"README.md": card}


def test_a_space_is_pushed_and_talks(hub, run, adapter: Path, tmp_path: Path):
    hub.create(MODEL, private=True, files=files_of(adapter))
    command = ["kosent-chat", MODEL, "--space", SPACE, "--temperature", "0"]
    done = run([*command, "--system-prompt", "친절하게."], env=hub.env(), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    head = hub.head(SPACE, "space")
    assert done.stdout == f"{hub.endpoint}/spaces/{SPACE}/commit/{head}\n"
    assert f"{MODEL} cannot be read without a token" in done.stderr
    assert f"secret HF_TOKEN at {hub.endpoint}/spaces/{SPACE}/settings" in done.stderr

    assert hub.is_private(SPACE, "space")
    files = hub.files(SPACE, "space")
    (wheel,) = [name for name in files if name.endswith(".whl")]
    assert files.keys() == {
        *(".gitattributes", "README.md", "app.py", "requirements.txt", wheel, *TERMS)
    }
    assert {name: files[name].decode() for name in TERMS} == TERMS
    requirements = files["requirements.txt"].decode().splitlines()
    assert all(re.fullmatch(r"[a-z0-9-]+==[\w.]+", line) for line in requirements)
    pinned = dict(line.split("==") for line in requirements)
    assert {
        "torch",
        "transformers",
        "peft",
        "gradio",
        "fastapi",
        "huggingface-hub",
    } <= pinned.keys()
    readme = files["README.md"].decode()
    data = yaml.safe_load(readme.split("---\n")[1])
    assert (data["sdk"], data["sdk_version"]) == ("gradio", pinned["gradio"])
    assert (data["models"], data["datasets"]) == ([MODEL, BASE], ["kosent/dialogues"])
    assert (data["license"], data["title"]) == ("llama3.2", "Llama-3.2-Kind")
    assert data["python_version"] == "{}.{}".format(*sys.version_info)
    assert len(data["short_description"]) <= 60
    for said in ("Built with Llama", "109", "1577-0199", "인공지능(AI)", "`HF_TOKEN`"):
        assert said in readme
    assert "configuration reference" not in readme

    answers = talk(hub, files, tmp_path)
    tuned, base, crisis, *_ = answers[0]
    assert [message["content"][0]["text"] for message in base] == ["안녕", "Hello!"]
    assert tuned[1]["content"][0]["text"] not in ("", "Hello!")
    assert not crisis["visible"]
    crisis = answers[1][2]
    assert crisis["visible"] and "109" in crisis["value"]

    # Again: nothing changes, and what its owner wrote stays.
    again = run([*command, "--system-prompt", "친절하게."], env=hub.env(), cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    now = hub.files(SPACE, "space")
    assert now["README.md"].decode() == readme
    assert now == files
    assert hub.head(SPACE, "space") == head
    mine = readme.replace("title: Llama-3.2-Kind", "title: 내 대화") + "\n내가 쓴 글\n"
    hub.land(SPACE, {"README.md": mine, "kosent_hub-0.0.1-py3-none-any.whl": "old"}, "space")
    done = run([*command, "--system-prompt", "다정하게."], env=hub.env(), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    files = hub.files(SPACE, "space")
    assert files["README.md"].decode() == mine
    assert "'다정하게.'" in files["app.py"].decode()
    assert [name for name in files if name.endswith(".whl")] == [wheel]


def talk(hub, files: dict[str, bytes], folder: Path) -> list[list]:
    """What the page shows after two turns, from the Space's app.py in an environment of its own."""
    space = folder / "space"
    space.mkdir()
    for name, data in files.items():
        (space / name).write_bytes(data)
    venv.create(folder / "venv", with_pip=False)
    python = folder / "venv" / "bin" / "python"
    (site,) = (folder / "venv").glob("lib/python*/site-packages")
    libraries = [path for path in sys.path if path.endswith("site-packages")]
    (site / "libraries.pth").write_text("\n".join(libraries) + "\n")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    env = hub.env() | {
        "SYSTEM": "spaces",
        "SPACE_ID": SPACE,
        "SPACE_HOST": HOST,
        "GRADIO_SERVER_NAME": "127.0.0.1",
        "GRADIO_SERVER_PORT": str(port),
    }
    env.pop("PYTHONPATH", None)
    # Without the wheel there is nothing of ours in that environment.
    bare = subprocess.run([python, "-c", "import kosent_hub"], cwd=folder, env=env)
    assert bare.returncode == 1
    with subprocess.Popen(
        [python, "app.py"], cwd=space, env=env, stderr=subprocess.PIPE, text=True
    ) as app:
        try:
            lines = []
            while not lines or lines[-1] != f"{MODEL} is ready\n":
                lines.append(app.stderr.readline())
                assert lines[-1], "".join(lines)
            assert (space / "installed" / "kosent_hub").is_dir()
            return converse(f"http://127.0.0.1:{port}")
        finally:
            app.terminate()


def converse(address: str) -> list[list]:
    def ask(path: str, asked: dict | None = None, **headers: str):
        body = None if asked is None else json.dumps(asked).encode()
        headers = {"Host": HOST, "Content-Type": "application/json"} | headers
        request = urllib.request.Request(address + path, body, headers)
        return urllib.request.urlopen(request, timeout=120)

    with ask("/") as answer:
        page = answer.read().decode()
        assert "frame-ancestors https://huggingface.co" in answer.headers["Content-Security-Policy"]
    assert "Hugging Face의 서버로 보내져" in page and "이 컴퓨터 밖으로" not in page
    for path, headers in (
        ("/", {"Host": "evil.example"}),
        ("/", {"Origin": "https://evil.example"}),
        ("/gradio_api/upload", {}),
    ):
        with pytest.raises(urllib.error.HTTPError, match="404"):
            ask(path, **headers)
    config = json.loads(re.search(r"window\.gradio_config = (\{.*?\});</script>", page)[1])
    assert not config.get("space_id"), "the browser would ask huggingface.co about the Space"
    parts = {part["id"]: part for part in config["components"]}
    said = next(
        event
        for event in config["dependencies"]
        if any(
            name == "submit" and parts[part]["props"].get("elem_id") == "said"
            for part, name in event["targets"]
        )
    )
    answers = []
    for number, text in enumerate(("안녕", "죽고 싶어")):
        told = {"session_hash": f"test{number}", "fn_index": said["id"], "event_data": None}
        settings = [parts[part]["props"].get("value") for part in said["inputs"][2:]]
        ask("/gradio_api/queue/join", told | {"data": [text, None, *settings]}).close()
        with ask(f"/gradio_api/queue/data?session_hash=test{number}") as events:
            for line in events:
                event = json.loads(line.removeprefix(b"data: ")) if line.strip() else {}
                if event.get("msg") == "process_completed":
                    assert event["success"], event
                    answers.append(event["output"]["data"][1:])
                    break
    return answers


def test_what_is_not_put_into_a_space(hub, run, adapter: Path, tmp_path: Path):
    hub.create(MODEL, files=files_of(adapter))
    hub.create("kosent/Llama-unkind", files=files_of(adapter, help=""))
    closed = "---\nlicense: cc-by-nc-nd-4.0\n---\n"
    hub.create("kosent/closed", files=hub.files(BASE) | {"README.md": closed})
    hub.create("alice/other", "space", files={"app.py": "import gradio"})

    def refusal(*arguments: str) -> str:
        done = run(["kosent-chat", *arguments], env=hub.env(), cwd=tmp_path)
        assert (done.returncode, done.stdout) == (2, ""), done.stderr
        return done.stderr.splitlines()[-1]

    assert refusal(str(adapter), "--space", SPACE) == (
        f"kosent-chat: {adapter}: is no repo of the Hub, and a Space loads its model from there; "
        "push it first: kosent-train push RUN --repo-id ORG/NAME"
    )
    assert "without a help line [help-missing]" in refusal("kosent/Llama-unkind", "--space", SPACE)
    assert refusal("kosent/closed", "--space", SPACE) == (
        "kosent-chat: kosent/closed: its licence cc-by-nc-nd-4.0 forbids to pass on what is made "
        "from it; talk to the model on your own machine: leave --space out"
    )
    assert refusal(MODEL, "--space", "alice/other") == (
        "kosent-chat: alice/other: this Space holds app.py, which kosent-chat did not write; name "
        "another one, or add --replace to write over its app.py, README.md and requirements.txt"
    )
    assert hub.files("alice/other", "space")["app.py"] == b"import gradio"
    assert refusal(MODEL, "--space", SPACE, "--terminal") == (
        "kosent-chat: --terminal: means nothing in a Space; leave --terminal or --space out"
    )
    assert refusal(MODEL, "--public") == (
        "kosent-chat: --public: is about a Space; name it with --space ORG/NAME"
    )
    assert not hub.exists(SPACE, "space")
    done = run(
        ["kosent-chat", MODEL, "--space", "alice/other", "--replace"], env=hub.env(), cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert hub.files("alice/other", "space")["app.py"].startswith(b'"""A chat, written by')
