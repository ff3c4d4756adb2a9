"""Repositories as the real client sees them: who may see, make, change and remove what."""

import pytest
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

CARD = b"---\nlicense: mit\nlanguage: [ko]\nbase_model: org/base\n---\n# Hello\n"


def status(error) -> int:
    return error.value.response.status_code


def test_whoami_names_user_organisation_and_role(hub):
    alice = hub.api().whoami()
    assert alice["name"] == "alice"
    assert [(org["name"], org["roleInOrg"]) for org in alice["orgs"]] == [("kosent", "write")]
    assert alice["auth"]["accessToken"]["role"] == "write"
    reader = hub.api(read_only=True).whoami()
    assert reader["auth"]["accessToken"]["role"] == "read"
    assert hub.api("bob").whoami()["orgs"] == []


def test_wrong_and_expired_tokens_are_refused_even_for_public_repos(hub):
    hub.create("alice/m")
    api = hub.api()
    hub.expire(api.token)
    for token, said in ((api.token, "is expired"), ("hf_no", "Invalid credentials")):
        with pytest.raises(HfHubHTTPError, match=said) as error:
            api.model_info("alice/m", token=token)
        assert status(error) == 401


def test_create_is_private_when_asked_and_409_the_second_time(hub):
    api = hub.api()
    assert str(api.create_repo("kosent/m", private=True)) == f"{hub.endpoint}/kosent/m"
    assert hub.is_private("kosent/m")
    with pytest.raises(HfHubHTTPError) as error:
        api.create_repo("kosent/m")
    assert status(error) == 409
    api.create_repo("kosent/m", exist_ok=True)
    assert hub.is_private("kosent/m")
    assert api.create_repo("mine").repo_id == "alice/mine"


def test_create_where_one_may_not_write(hub):
    for api in (hub.api("bob"), hub.api("carol"), hub.api(read_only=True)):
        with pytest.raises(HfHubHTTPError, match="You don't have the rights") as error:
            api.create_repo("kosent/m")
        assert status(error) == 403
    with pytest.raises(HfHubHTTPError) as error:
        hub.api(None).create_repo("kosent/m")
    assert status(error) == 401


def test_private_repo_does_not_exist_for_strangers(hub):
    hub.create("kosent/m", private=True)
    assert hub.api("carol").model_info("kosent/m").private is True
    for user, code in (("bob", 404), (None, 401)):
        with pytest.raises(RepositoryNotFoundError) as error:
            hub.api(user).model_info("kosent/m")
        assert status(error) == code
        with pytest.raises(RepositoryNotFoundError):
            hub.api(user).hf_hub_download("kosent/m", ".gitattributes")
        with pytest.raises(RepositoryNotFoundError):
            hub.api(user).model_info("kosent/there-is-none")


def test_repo_types_are_apart(hub):
    hub.create("kosent/x", "dataset")
    with pytest.raises(RepositoryNotFoundError):
        hub.api().model_info("kosent/x")
    assert hub.api().dataset_info("kosent/x").id == "kosent/x"
    assert [d.id for d in hub.api().list_datasets(author="kosent")] == ["kosent/x"]
    assert list(hub.api().list_models(author="kosent")) == []


def test_info_of_a_revision(hub):
    old = hub.create("alice/m", files={"README.md": CARD})
    new = hub.land("alice/m", {"w.safetensors": b"\0" * 9})
    info = hub.api().model_info("alice/m", files_metadata=True)
    assert (info.sha, info.private, info.gated) == (new, False, False)
    assert info.card_data.to_dict()["base_model"] == "org/base"
    assert {"ko", "license:mit", "base_model:org/base"} <= set(info.tags)
    assert [s.rfilename for s in info.siblings] == [".gitattributes", "README.md", "w.safetensors"]
    assert info.siblings[1].lfs is None
    assert (info.siblings[2].size, info.siblings[2].lfs.size) == (9, 9)
    assert hub.api().model_info("alice/m", revision=old).sha == old
    assert hub.api().model_info("alice/m", revision=old[:8]).sha == old
    with pytest.raises(RevisionNotFoundError):
        hub.api().model_info("alice/m", revision="nowhere")


def test_info_expand_gives_only_what_was_asked(hub):
    hub.create("alice/m", files={"README.md": CARD})
    info = hub.api().model_info("alice/m", expand=["sha", "cardData", "evalResults"])
    assert info.sha == hub.head("alice/m")
    assert info.card_data.license == "mit"
    assert info.siblings is None
    with pytest.raises(HfHubHTTPError) as error:
        hub.api().model_info("alice/m", expand=["nonsense"])
    assert status(error) == 400


def test_gated_shows_its_page_but_not_its_files(hub):
    hub.create("kosent/m", gated=True, files={"config.json": b"{}"})
    assert hub.api("bob").model_info("kosent/m").gated == "auto"
    with pytest.raises(GatedRepoError, match="not in the authorized list") as error:
        hub.api("bob").hf_hub_download("kosent/m", "config.json")
    assert status(error) == 403
    with pytest.raises(GatedRepoError) as error:
        hub.api(None).hf_hub_download("kosent/m", "config.json")
    assert status(error) == 401
    with pytest.raises(GatedRepoError):
        hub.api("bob").auth_check("kosent/m")
    hub.admit("kosent/m", "bob")
    hub.api("bob").auth_check("kosent/m")
    hub.api("bob").hf_hub_download("kosent/m", "config.json")


def test_settings_and_delete(hub):
    hub.create("kosent/m")
    with pytest.raises(HfHubHTTPError) as error:
        hub.api("bob").update_repo_settings("kosent/m", private=True)
    assert status(error) == 403
    hub.api().update_repo_settings("kosent/m", private=True, gated="manual")
    assert hub.api().model_info("kosent/m").gated == "manual"
    assert hub.is_private("kosent/m")
    hub.api().delete_repo("kosent/m")
    assert not hub.exists("kosent/m")
    with pytest.raises(RepositoryNotFoundError):
        hub.api().delete_repo("kosent/m")


def test_branches_tags_and_commits(hub):
    first = hub.create("alice/m", files={"a.txt": b"1"})
    api = hub.api()
    api.create_branch("alice/m", branch="dev")
    api.create_tag("alice/m", tag="v1")
    with pytest.raises(HfHubHTTPError) as error:
        api.create_tag("alice/m", tag="v1")
    assert status(error) == 409
    second = hub.land("alice/m", {"a.txt": b"2"}, title="Two")
    refs = api.list_repo_refs("alice/m", include_pull_requests=True)
    assert {b.name: b.target_commit for b in refs.branches} == {"dev": first, "main": second}
    assert [(t.ref, t.target_commit) for t in refs.tags] == [("refs/tags/v1", first)]
    assert refs.pull_requests == []
    listed = api.list_repo_commits("alice/m")
    assert [(c.title, c.authors) for c in listed] == [
        ("Two", ["bob"]),
        ("Upload files", ["alice"]),
        ("initial commit", ["alice"]),
    ]
    assert len(api.list_repo_commits("alice/m", revision="v1")) == 2
    api.delete_branch("alice/m", branch="dev")
    api.delete_tag("alice/m", tag="v1")
    with pytest.raises(RevisionNotFoundError):
        api.model_info("alice/m", revision="dev")


def test_tree_in_pages_and_paths_info(hub):
    hub.create("alice/m", files={f"data/{n:02}.txt": str(n) for n in range(12)} | {"a.txt": b"a"})
    hub.page_size = 5
    api = hub.api()
    files = [f.path for f in api.list_repo_tree("alice/m", recursive=True)]
    assert files == [".gitattributes", "a.txt", "data", *(f"data/{n:02}.txt" for n in range(12))]
    assert [e.line for e in hub.journal] == ["GET /api/models/alice/m/tree/main 200"] * 3
    assert [f.path for f in api.list_repo_tree("alice/m")] == [".gitattributes", "a.txt", "data"]
    assert len(list(api.list_repo_tree("alice/m", "data"))) == 12
    found = api.get_paths_info("alice/m", ["a.txt", "data", "none"], expand=True)
    assert [f.path for f in found] == ["a.txt", "data"]
    assert found[0].last_commit.oid == hub.head("alice/m")
