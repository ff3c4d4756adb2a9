"""`kosent-card preview` over HTTP: what is served, to whom, and what a hostile card can do."""

from __future__ import annotations

import http.client
import re
from urllib.parse import urlsplit

import pytest

from model_card.preview.html import card_html


def get(address, path="", headers=None, method="GET"):
    parts = urlsplit(address)
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=10)
    connection.request(method, parts.path + path, headers=headers or {})
    answer = connection.getresponse()
    return answer.status, dict(answer.getheaders()), answer.read()


def test_the_card_its_pictures_and_its_records_are_served(preview, folder):
    address = preview(folder)
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/[\w-]{22}/", address)
    status, headers, page = get(address)
    assert status == 200
    assert '<h2 id="학습">학습</h2>' in page.decode()
    assert '<img src="files/kosent/plots/loss.png"' in page.decode()
    assert get(address, "files/kosent/plots/loss.png")[2][:8] == b"\x89PNG\r\n\x1a\n"
    status, headers, record = get(address, "files/kosent/run.json")
    assert headers["Content-Type"] == "text/plain; charset=utf-8"
    assert record == (folder / "kosent" / "run.json").read_bytes()
    assert not (folder / "README.md").exists()  # a preview writes nothing


def test_nobody_without_the_token_or_from_another_name_gets_anything(preview, folder):
    address = preview(folder)
    parts = urlsplit(address)
    outside = f"{parts.scheme}://{parts.netloc}/"
    for path in ("", "version", "x" * 22 + "/", "files/kosent/run.json"):
        assert get(outside, path)[0] == 404
    assert get(address, headers={"Host": f"evil.example:{parts.port}"})[0] == 404
    assert get(address, headers={"Host": f"localhost:{parts.port}"})[0] == 200
    assert get(address, method="POST")[0] == 501


def test_files_outside_the_folder_are_not_served(preview, folder):
    (folder.parent / "secret.txt").write_text("secret")
    (folder / "link.txt").symlink_to(folder.parent / "secret.txt")
    address = preview(folder)
    for path in ("../secret.txt", "%2e%2e/secret.txt", "link.txt", "/etc/passwd", "%00"):
        assert get(address, f"files/{path}")[0] == 404


def test_the_content_policy_lets_nothing_in(preview, folder):
    address = preview(folder)
    _, headers, _ = get(address)
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy and "script-src 'self'" in policy
    assert "unsafe" not in policy and "http" not in policy
    _, headers, _ = get(address, "files/kosent/run.json")
    assert headers["Content-Security-Policy"] == "default-src 'none'; sandbox"
    assert headers["X-Content-Type-Options"] == "nosniff"


def test_the_version_changes_with_the_records_and_the_page_with_it(preview, folder):
    address = preview(folder)
    before = get(address, "version")[2]
    assert get(address, "version")[2] == before
    record = folder / "kosent" / "run.json"
    text = record.read_text(encoding="utf-8").replace("AMD EPYC 7B13 (2 cores)", "a new machine")
    record.write_text(text, encoding="utf-8")
    assert get(address, "version")[2] != before
    assert "a new machine" in get(address)[2].decode()


def test_a_record_damaged_meanwhile_is_shown_as_a_line(preview, folder):
    address = preview(folder)
    (folder / "kosent" / "run.json").write_text("{")
    status, _, page = get(address)
    assert status == 200
    assert "kosent/run.json: not JSON" in page.decode()


def test_the_difference_to_the_hub_is_shown(preview, folder, hub):
    env = hub.env()
    hub.create("alice/model", files={"README.md": b"---\nlicense: mit\n---\n# By hand\n"})
    address = preview(folder, "--repo-id", "alice/model", env=env)
    page = get(address, "diff")[2].decode()
    assert '<div class="removed">-license: mit</div>' in page
    assert '<div class="added">+license: apache-2.0</div>' in page
    assert '<div class="added">+## 써 보기</div>' in page
    assert "# By hand" in get(address)[2].decode() or "By hand</h1>" in get(address)[2].decode()


def test_a_repo_on_the_hub_is_shown_as_it_is(preview, hub):
    hub.create(
        "bob/model",
        files={
            "README.md": b"# Bob's\n\n![a](pic.png)\n\n<script>alert(1)</script>\n",
            "pic.png": b"\x89PNG\r\n\x1a\nx",
        },
    )
    address = preview("bob/model", env=hub.env())
    page = get(address)[2].decode()
    assert '<img src="files/pic.png"' in page
    assert "alert(1)" not in page
    assert get(address, "files/pic.png")[2] == b"\x89PNG\r\n\x1a\nx"
    assert "No difference." in get(address, "diff")[2].decode()


@pytest.mark.parametrize(
    ("markdown", "html"),
    [
        ("<script>x</script>a", "a"),
        ("<b onclick=x>a</b>", "<p><b>a</b></p>"),
        ("<a href='javascript:x'>a</a>", '<p><a rel="noopener noreferrer nofollow">a</a></p>'),
        ("[a](javascript:x)", "<p>[a](javascript:x)</p>"),
        ("<iframe src=x></iframe>a", "a"),
        ("<form action=x><input></form>a", "a"),
        ("<p style='position:fixed'>a</p>", "<p>a</p>"),
        ("![a](https://evil.example/t.png)", '<p><img alt="a"></p>'),
        ("![a](//evil.example/t.png)", '<p><img alt="a"></p>'),
        ("![a](data:image/png;base64,AA==)", '<p><img alt="a"></p>'),
        ("![a](./b c.png)", "<p>![a](./b c.png)</p>"),
        ("![a](<b c.png>)", '<p><img src="files/b%20c.png" alt="a"></p>'),
        ("<img src='../../x.png' alt=a>", '<img alt="a">'),
        ("<svg><script>x</script></svg>a", "<p>a</p>"),
        ("<style>*{display:none}</style>a", "a"),
        ("<!-- <script>x</script> -->a", "a"),
        ("[a](data:text/html,x)", "<p>[a](data:text/html,x)</p>"),
        ("<a href='data:text/html,x'>a</a>", '<p><a rel="noopener noreferrer nofollow">a</a></p>'),
        (
            "<a href='jav&#x09;ascript:x'>a</a>",
            '<p><a rel="noopener noreferrer nofollow">a</a></p>',
        ),
        ("<a href='vbscript:x'>a</a>", '<p><a rel="noopener noreferrer nofollow">a</a></p>'),
        ("<img src=a.png srcset='//evil.example/t.png'>", '<img src="files/a.png">'),
        ("<math><style><img src=x onerror=y></style></math>", '<p><img src="files/x"></p>'),
        ("<object data=x></object><embed src=x>a", "<p>a</p>"),
        ("<button formaction='javascript:x'>a</button>", "<p>a</p>"),
        ("<video src='//evil.example/t' autoplay></video>a", "<p>a</p>"),
        ("<meta http-equiv=refresh content='0;url=//evil.example'>a", "<p>a</p>"),
        ("<details ontoggle=x open>a</details>", '<details open="">a</details>'),
        ("<base href='//evil.example'>a", "a"),
        ("# 한국어 제목 (1)", '<h1 id="한국어-제목-1">한국어 제목 (1)</h1>'),
        ("<details><summary>s</summary>t</details>", "<details><summary>s</summary>t</details>"),
    ],
)
def test_other_peoples_markdown_is_made_harmless(markdown, html):
    assert card_html(markdown, "files").strip() == html


def test_a_port_that_is_taken_is_one_line(preview, folder, run):
    port = urlsplit(preview(folder)).port
    done = run(["kosent-card", "preview", folder, "--port", str(port)])
    assert done.returncode == 2
    assert done.stderr.startswith(f"kosent-card: port {port}: ")
