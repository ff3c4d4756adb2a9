"""To which servers a dataset's text may go."""

import json
import sys

import pytest

from kosent_hub.evaluate import main
from kosent_hub.models.data.outside import assert_may_send, is_own, without_secrets
from model_card.publishing.errors import KoSentError
from tests.kosent_hub.dialogues import write_dataset

# Of a range that is kept for documentation: nobody's machine.
AWAY = "http://203.0.113.9:8000/v1"


@pytest.mark.parametrize(
    ("url", "own"),
    [
        ("http://127.0.0.1:8000/v1", True),
        ("http://localhost:8000/v1", True),
        ("http://[::1]:8000/v1", True),
        ("http://0.0.0.0:8000/v1", True),
        ("https://10.1.2.3/v1", True),
        ("http://172.31.0.1/v1", True),
        ("http://172.32.0.1/v1", False),
        ("http://192.168.0.7/v1", True),
        ("http://192.169.0.7/v1", False),
        ("http://169.254.1.1/v1", True),
        ("http://[fd00::7]/v1", True),
        ("http://[2001:db8::7]/v1", False),
        ("http://[::ffff:10.0.0.1]/v1", True),
        ("http://[::ffff:203.0.113.9]/v1", False),
        ("http://127.0.0.1@203.0.113.9/v1", False),
        ("http://127.0.0.1\\@203.0.113.9/v1", False),
        ("http://127.0.0.1.no-such-name.invalid/v1", False),
        (AWAY, False),
    ],
)
def test_own_servers_are_on_this_machine_or_in_a_private_network(url, own):
    assert is_own(url) == own


@pytest.fixture
def dataset(tmp_path):
    return write_dataset(tmp_path / "chat", 2)


def test_text_goes_to_no_server_away_from_here_and_nothing_is_loaded(dataset, tmp_path, capsys):
    out = tmp_path / "out"
    where = AWAY.replace("://", "://me:secret@") + "?key=secret"
    arguments = ("--model", "no/such-model", "--dataset", dataset, "--output", out)
    status = main([str(a) for a in (*arguments, "--backend", "endpoint", "--endpoint", where)])
    assert status == 2
    assert capsys.readouterr().err == (
        f"kosent-eval: {AWAY}: not on this machine or a private network, so the text of {dataset} "
        "would go to a third party, which AI Hub's terms forbid; use a server of your own, or if "
        f"you may send it there, add --i-may-send-this-text {AWAY}\n"
    )
    assert not out.exists()


def test_a_server_that_is_named_gets_past_the_guard(dataset, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("KOSENT_HUB_RETRY_SECONDS", "0")
    # A port that nothing listens on, under a name that is nobody's: asked for, and not found.
    where = "http://no-such-name.invalid:9/v1"
    arguments = ("--model", "no/such-model", "--dataset", dataset, "--output", tmp_path / "out")
    endpoint = ("--backend", "endpoint", "--endpoint", where, "--i-may-send-this-text", where)
    assert main([str(a) for a in (*arguments, *endpoint)]) == 2
    assert "not reachable" in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize(
    ("allowed", "may"),
    [
        (AWAY, True),
        ("http://203.0.113.9:8000", True),
        ("http://203.0.113.9/v1", False),
        ("https://203.0.113.9:8000/v1", False),
        ("http://203.0.113.8:8000/v1", False),
        ("http://203.0.113.9:8000@203.0.113.8:8000/v1", False),
        ("203.0.113.9:8000", False),
    ],
)
def test_only_the_server_that_is_named_is_allowed(allowed, may, dataset):
    if may:
        assert_may_send(AWAY, str(dataset), allowed=allowed)
    else:
        with pytest.raises(KoSentError, match=r"third party|check --i-may-send-this-text"):
            assert_may_send(AWAY, str(dataset), allowed=allowed)


def test_the_sample_corpus_is_open_and_no_other_folder(dataset):
    for corpus, may in (("kosent-sample", True), ("aihub-86", False), (None, False)):
        (dataset / "report.json").write_text(json.dumps({"corpus": corpus, "license": "mit"}))
        if may:
            assert_may_send(AWAY, str(dataset))
        else:
            with pytest.raises(KoSentError, match="third party"):
                assert_may_send(AWAY, str(dataset))


ASK = """
import sys
from kosent_hub.models.data.outside import is_open
print(*(is_open(name) for name in sys.argv[1:]))
"""


def test_datasets_of_the_hub_are_open_by_licence_unless_they_are_closed(hub, run):
    def card(licence):
        return f"---\nlicense: {licence}\n---\n".encode()

    cards = {
        "open": ({"README.md": card("cc-by-4.0")}, {}),
        "none": ({"README.md": b"# No licence\n"}, {}),
        "empty": ({"README.md": card("[]")}, {}),
        "other": ({"README.md": card("other")}, {}),
        "private": ({"README.md": card("mit")}, {"private": True}),
        "gated": ({"README.md": card("mit")}, {"gated": True}),
        "aihub": ({"README.md": card("mit"), "report.json": b'{"corpus": "aihub-86"}'}, {}),
    }
    for name, (files, how) in cards.items():
        hub.create(f"alice/{name}", "dataset", files=files, **how)
    names = [f"alice/{name}" for name in (*cards, "missing")]
    done = run([sys.executable, "-c", ASK, *names], env=hub.env("alice"), script=True)
    assert done.stdout.split() == ["True", *["False"] * 7], done.stderr


def test_addresses_are_recorded_without_secrets():
    assert without_secrets("https://me:word@HOST.example:81/v1?key=1#x") == (
        "https://host.example:81/v1"
    )
