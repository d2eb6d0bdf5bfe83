"""Where the client's settings come from, and what is refused."""

from pathlib import Path
from typing import Any

import pytest

from jobengine.client import AsyncJobEngine, BadSettings, JobEngine, Secret
from jobengine.client.settings import Settings, load, profile_path, read_key_file

_PROFILES = """
[default]
url = "http://one:1"

[work]
url = "https://work.example"
access_key = "of the profile"
admin_key_file = "admin.key"

[work.keys]
mail = "of mail"
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "config.toml"
    path.write_text(_PROFILES)
    path.chmod(0o600)
    (tmp_path / "admin.key").write_text("of the admin\n")
    (tmp_path / "admin.key").chmod(0o600)
    return path


def _shown(settings: Settings) -> tuple[Any, ...]:
    keys = [key and key.reveal() for key in (settings.access_key, settings.admin_key)]
    return (settings.address.url, *keys, {name: key.reveal() for name, key in settings.keys.items()})


@pytest.mark.parametrize("name", ["timeout", "retry_for", "max_pending"])
def test_the_error_for_a_limit_that_is_not_a_number_names_the_limit(name: str) -> None:
    wrong: dict[str, Any] = {name: "5"}
    with pytest.raises(TypeError, match=f"^{name} must be a number, not str$"):
        JobEngine("http://e:2", **wrong)
    if name != "max_pending":
        with pytest.raises(TypeError, match=f"^{name} must be a number, not str$"):
            JobEngine("http://e:2").queue("q", **wrong)


@pytest.mark.parametrize("client", [AsyncJobEngine, JobEngine])
def test_the_error_for_a_mistyped_argument_of_a_client_suggests_the_right_name(client: Any) -> None:
    with pytest.raises(TypeError, match=r"^'time_out' is not known; did you mean 'timeout'\?$"):
        client("http://e:2", time_out=5)
    with pytest.raises(TypeError, match=r"^'x' is not known; known are access_key, .*, url$"):
        client("http://e:2", x=5)


def test_without_settings_the_client_uses_the_local_server_and_no_key() -> None:
    assert _shown(load(environment={})) == ("http://127.0.0.1:6006", None, None, {})


def test_settings_come_from_the_environment_or_a_profile(path: Path) -> None:
    environment = {"JOBENGINE_URL": "http://e:2", "JOBENGINE_ACCESS_KEY": "a", "JOBENGINE_ADMIN_KEY": "b"}
    assert _shown(load(environment=environment)) == ("http://e:2", "a", "b", {})
    expected = ("https://work.example", "of the profile", "of the admin", {"mail": "of mail"})
    assert _shown(load(profile="work", environment={}, path=path)) == expected
    assert _shown(load(environment={"JOBENGINE_PROFILE": "work"}, path=path)) == expected


def test_settings_come_from_arguments_or_else_a_chosen_profile_or_else_the_environment(path: Path) -> None:
    environment = {"JOBENGINE_URL": "http://e:2", "JOBENGINE_ACCESS_KEY": "a", "JOBENGINE_PROFILE": "default"}
    assert _shown(load(environment=environment, path=path))[:3] == ("http://e:2", "a", None)
    work = ("https://work.example", "of the profile")
    assert _shown(load(profile="work", environment=environment, path=path))[:2] == work
    assert _shown(load("http://x", profile="default", environment=environment, path=path))[0] == "http://x"
    environment = {"JOBENGINE_ACCESS_KEY": "a", "JOBENGINE_PROFILE": "work"}
    assert _shown(load(environment=environment, path=path))[1:3] == ("a", "of the admin")
    assert _shown(load(keys={"mail": "mine"}, profile="work", environment={}, path=path))[3] == {"mail": "mine"}


@pytest.mark.parametrize(
    ("key", "url", "says"),
    [
        ("access_key", "https://x", r"^The argument url is https://x, but .*'p' has keys for http://own"),
        ("access_key", None, r"^JOBENGINE_URL is http://e:2, .*else: unset JOBENGINE_URL, or use no profile\.$"),
        ("admin_key", None, r"keys for http://own, which are sent nowhere else"),
        ("keys.mail", None, r"keys for http://own, which are sent nowhere else"),
    ],
)
def test_the_keys_of_a_profile_are_sent_only_to_the_url_of_that_profile(
    path: Path, key: str, url: str | None, says: str
) -> None:
    path.write_text(f'[p]\nurl = "http://own"\n{key} = "k"\n')
    environment = {"JOBENGINE_URL": "http://e:2", "JOBENGINE_PROFILE": "p"}
    with pytest.raises(BadSettings, match=says):
        load(url, environment=environment, path=path)
    if url:
        with pytest.raises(BadSettings, match=says):
            load(url, profile="p", environment={}, path=path)
    for same in ("http://own:80", "http://OWN/"):
        assert load(same, environment=environment, path=path).address.host == "own"


def test_keys_of_a_profile_without_a_url_are_for_the_server_on_this_machine(path: Path) -> None:
    path.write_text('[p]\naccess_key = "k"\n')
    for profile in ("p", None):
        environment = {"JOBENGINE_URL": "http://e:2", "JOBENGINE_PROFILE": "p"}
        with pytest.raises(BadSettings, match=r"for http://127.0.0.1:6006 .*add url = \"http://e:2\" to the profile"):
            load(profile=profile, environment=environment, path=path)
    assert _shown(load(profile="p", environment={}, path=path))[:2] == ("http://127.0.0.1:6006", "k")


def test_a_queue_uses_its_own_key_or_else_the_default_key(path: Path) -> None:
    settings = load(profile="work", environment={}, path=path)
    keys = [settings.key_for(queue) for queue in ("mail", "other")]
    assert [key and key.reveal() for key in keys] == ["of mail", "of the profile"]


@pytest.mark.parametrize("mode", [0o640, 0o604])
@pytest.mark.parametrize("text", [_PROFILES, 'access_key = "in no profile"\n[default]\n'])
def test_a_settings_file_with_keys_is_refused_if_other_users_can_read_it(path: Path, text: str, mode: int) -> None:
    path.write_text(text)
    path.chmod(mode)
    with pytest.raises(BadSettings, match=r"^Other users may read .*chmod 600"):
        load(profile="default", environment={}, path=path)
    path.write_text('[default]\nurl = "http://one:1"\n')
    assert _shown(load(profile="default", environment={}, path=path))[0] == "http://one:1"


def test_a_settings_file_that_other_users_can_write_is_refused_even_without_keys(path: Path) -> None:
    path.write_text('[default]\nurl = "http://one:1"\n')
    for mode in (0o620, 0o602, 0o664):
        path.chmod(mode)
        with pytest.raises(BadSettings, match=r"^Other users may write .*chmod 600"):
            load(profile="default", environment={}, path=path)
    path.chmod(0o644)
    assert _shown(load(profile="default", environment={}, path=path))[0] == "http://one:1"


def test_a_key_file_that_other_users_can_read_is_refused(path: Path) -> None:
    (path.parent / "admin.key").chmod(0o644)
    with pytest.raises(BadSettings, match=r"admin\.key.*chmod 600"):
        load(profile="work", environment={}, path=path)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[p\n", "not TOML"),
        ('url = "http://a"\n[other]\nurl = "http://a"', r"no profile 'p'; it has other\."),
        ('[p]\nurls = "http://a"', "profile 'p': 'urls' is not known; did you mean 'url'?"),
        ("[p]\nurl = 1", "url must be text"),
        ('[p]\naccess_key = "a"\naccess_key_file = "b"', "not both"),
        ('[p]\naccess_key_file = "gone"', "gone, can't be read"),
        ('[p]\nkeys = "a"', "a table with a key for each queue"),
        ("[p.keys]\nmail = 1", "mail must be text"),
        ('[p]\naccess_key = " a"', "must not begin or end with a space"),
    ],
)
def test_the_error_for_an_unusable_profile_has_the_reason(path: Path, text: str, says: str) -> None:
    path.write_text(text)
    with pytest.raises(BadSettings, match=says):
        load(profile="p", environment={}, path=path)


def test_the_error_for_a_missing_settings_file_has_its_path(tmp_path: Path) -> None:
    with pytest.raises(BadSettings, match=r"config\.toml, does not exist"):
        load(profile="p", environment={}, path=tmp_path / "config.toml")


def test_the_settings_file_is_in_the_users_configuration_directory(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert profile_path() == tmp_path / "jobengine" / "config.toml"


def test_both_clients_read_the_users_settings_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, path: Path) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    (tmp_path / "jobengine").mkdir()
    for name in ("config.toml", "admin.key"):
        (tmp_path / name).rename(tmp_path / "jobengine" / name)
    for kind in (JobEngine, AsyncJobEngine):
        assert kind(profile="work")._settings.address.url == "https://work.example"


def test_one_line_end_after_the_key_in_a_key_file_is_ignored(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.touch(0o600)
    for text in ("a key", "a key\n", "a key\r\n"):
        path.write_bytes(text.encode())
        assert read_key_file(path).reveal() == "a key"
    path.write_bytes(b"a key\n\n")
    with pytest.raises(BadSettings):
        read_key_file(path)


@pytest.mark.parametrize(
    ("key", "error"),
    [
        (b"key", r"^A key must be a str, not bytes; decode it first, as by key\.decode\(\)\.$"),
        (7, r"^A key must be a str, not int\.$"),
    ],
)
def test_a_key_that_is_no_text_is_refused_with_its_type(key: Any, error: str) -> None:
    for arguments in ({"access_key": key}, {"admin_key": key}, {"keys": {"mail": key}}):
        with pytest.raises(TypeError, match=error):
            JobEngine(**arguments)
    engine = JobEngine()
    for use in (
        lambda: engine.queue("mail", access_key=key),
        lambda: engine.queue("mail").create(access_key=key),
        lambda: engine.queue("mail").configure(new_access_key=key),
        lambda: Secret(key),
    ):
        with pytest.raises(TypeError, match=error):
            use()
