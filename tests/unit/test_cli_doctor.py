"""`unremember config` and `unremember doctor`."""

from __future__ import annotations

import json
import socket
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import SecretStr

from server.cli import checks, context, doctor
from server.cli.checks import Grade
from server.cli.config import MASK, effective, printable
from server.cli.errors import CliError
from server.settings import load_settings

if TYPE_CHECKING:
    from pathlib import Path

    from server.settings import Settings

PROFILE: dict[str, Any] = {"model": "smollm2", "kind": "gaussian", "strength": 4.0}
HEALTHY: dict[str, Any] = {
    "ready": True,
    "paused": False,
    "epoch": 4,
    "registry_epoch": 4,
    "requests": {"active": 2},
    "index_vectors": 10,
    "upstream": {"corrupt": True, "restrict": True, "reasons": {}},
    "corruption_profiles": [{**PROFILE, "curve": {"method": "leakage", "leaks": False}}],
    "decisions_dropped": 0,
}


def test_effective_settings_say_where_they_come_from(
    clean_environment: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "u.toml").write_text('host = "0.0.0.0"\nport = 9000\n')
    monkeypatch.setenv("UNREMEMBER_CONFIG", str(tmp_path / "u.toml"))
    monkeypatch.setenv("UNREMEMBER_PORT", "9001")
    monkeypatch.setenv("UNREMEMBER_ADMIN_KEY", "hunter2")
    monkeypatch.setenv("UNREMEMBER_API_KEYS", "hunter3,hunter4")
    monkeypatch.setenv("UNREMEMBER_DATABASE_URL", "postgresql://me:hunter5@db/unremember")
    rows = {name: (value, source) for name, value, source in effective(load_settings())}
    assert rows["port"] == (9001, "environment, UNREMEMBER_PORT")
    assert rows["host"] == ("0.0.0.0", f"file, {tmp_path / 'u.toml'}")
    assert rows["model"] == ("smollm2", "default")
    assert rows["admin_key"][0] == MASK
    assert rows["api_keys"][0] == f"{MASK}, {MASK}"
    assert rows["database_url"][0] == f"postgresql://me:{MASK}@db/unremember"
    assert "hunter" not in json.dumps(rows)


@pytest.mark.parametrize("url", ["http://10.0.0.7:8000", "postgresql://me@db/u?sslmode=require&application_name=u"])
def test_urls_without_a_password_are_shown_whole(url: str) -> None:
    assert printable(url) == url


def test_a_password_among_a_urls_parameters_is_masked() -> None:
    url = "postgresql://me@db/u?sslmode=require&password=hunter2&sslPassword=hunter3&user=me"
    assert printable(url) == f"postgresql://me@db/u?sslmode=require&password={MASK}&sslPassword={MASK}&user=me"


@given(st.text(), st.sampled_from(["me", "me@tenant", ""]), st.sampled_from(["@db/u", "@[::1]:5432/u?sslmode=require"]))
@example("p@ss", "me", "@db/u")
@example("p@ss:w/rd#1?x=@", "me", "@db/u")
@example("a?key=b", "me", "@db/u")
def test_nothing_of_a_password_is_shown_however_it_is_typed(password: str, user: str, rest: str) -> None:
    before = f"postgresql://{user}:"
    shown = printable(f"{before}{password}{rest}")
    assert shown.startswith(before + MASK)
    assert rest.endswith(shown.removeprefix(before + MASK))


@given(st.text().filter(lambda text: "&" not in text))
@example("hunter@2")
@example("@")
def test_nothing_of_a_password_among_the_parameters_is_shown(password: str) -> None:
    shown = printable(f"postgresql://me:hunter3@db/u?password={password}&user=me")
    assert shown in (f"postgresql://me:{MASK}@db/u?password={MASK}&user=me", f"postgresql://me:{MASK}&user=me")


def grades(findings: Any) -> dict[str, Grade]:
    return {finding.what: finding.grade for finding in findings}


def test_a_healthy_gateway_has_nothing_wrong() -> None:
    assert set(grades(doctor.status(HEALTHY)).values()) == {Grade.FINE}


@pytest.mark.parametrize(
    ("told", "what", "grade"),
    [
        ({"paused": True}, "enforcement", Grade.WRONG),
        ({"registry_epoch": 6}, "registry", Grade.NOTE),
        ({"requests": {"active": 1, "error": 1}}, "forget requests", Grade.WRONG),
        (
            {"upstream": {"corrupt": False, "restrict": True, "reasons": {"corrupt": "no plug-in"}}},
            "plug-in, proven",
            Grade.WRONG,
        ),
        (
            {"upstream": {"corrupt": True, "restrict": False, "reasons": {"restrict": "no key"}}},
            "restriction, proven",
            Grade.WRONG,
        ),
        ({"corruption_profiles": []}, "corruption", Grade.NOTE),
        (
            {"corruption_profiles": [{**PROFILE, "curve": {"method": "leakage", "leaks": True}}]},
            "corruption",
            Grade.WRONG,
        ),
        (
            {"corruption_profiles": [{**PROFILE, "curve": {"method": "difference", "leaks": False}}]},
            "corruption",
            Grade.NOTE,
        ),
        ({"decisions_dropped": 3}, "decisions", Grade.NOTE),
    ],
)
def test_what_is_wrong_comes_with_a_remedy(told: dict[str, Any], what: str, grade: Grade) -> None:
    found = {finding.what: finding for finding in doctor.status({**HEALTHY, **told})}
    assert found[what].grade is grade
    assert found[what].remedy


def test_a_gateway_that_is_not_ready_is_wrong(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_key() -> None:
        raise CliError("There is no key.")

    monkeypatch.setattr(context, "admin", no_key)
    unready = httpx.Response(503, json={"ready": False, "waiting_for": "no upstream is healthy"})
    found = list(doctor.gateway(settings, unready))
    assert [(finding.what, finding.grade) for finding in found] == [
        ("gateway", Grade.WRONG),
        ("admin API", Grade.WRONG),
    ]
    assert "no upstream is healthy" in found[0].found
    assert grades(doctor.gateway(settings, None)) == {"gateway": Grade.NOTE}


def test_open_key_files_are_found(settings: Settings) -> None:
    settings.data_dir.mkdir()
    (settings.data_dir / "admin.key").touch(0o644)
    (settings.data_dir / "api.key").touch(0o600)
    (finding,) = checks.keys(settings)
    assert finding.remedy == f"chmod 600 {settings.data_dir / 'admin.key'}"


def test_an_encryption_key_beside_the_database_is_noted(settings: Settings) -> None:
    settings.data_dir.mkdir()
    (settings.data_dir / "encryption.key").touch(0o600)
    (finding,) = checks.keys(settings)
    assert (finding.grade, "UNREMEMBER_ENCRYPTION_KEY" in finding.remedy) == (Grade.NOTE, True)


def test_the_model_is_looked_for(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert checks.model(settings).grade is Grade.NOTE
    converted = settings.cache_dir / "models" / "smollm2"
    converted.mkdir(parents=True)
    (converted / "model.safetensors").touch()
    assert checks.model(settings).grade is Grade.FINE
    mine = settings.model_copy(update={"model": str(tmp_path)})
    assert "config.json" in checks.model(mine).found
    (tmp_path / "config.json").touch()
    (tmp_path / "tokenizer_config.json").touch()
    assert checks.model(mine).grade is Grade.FINE


@pytest.mark.parametrize(
    ("answer", "grade", "words"),
    [
        (httpx.Response(200, json={"data": [{"id": "one"}, {"id": "two"}]}), Grade.FINE, "serves one, two"),
        (httpx.Response(200, json={"data": []}), Grade.WRONG, "answers 200"),
        (httpx.Response(200, json=[]), Grade.WRONG, "no vLLM"),
        (httpx.Response(200, text="<html>"), Grade.WRONG, "no vLLM"),
        (httpx.Response(401, json={"error": "Unauthorized"}), Grade.WRONG, "refuses the key"),
        (httpx.Response(503), Grade.WRONG, "answers 503"),
        (httpx.ConnectError("refused"), Grade.WRONG, "does not answer"),
    ],
)
def test_upstreams_are_asked(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, answer: httpx.Response | Exception, grade: Grade, words: str
) -> None:
    def get(url: str, headers: dict[str, str], timeout: float) -> httpx.Response:
        assert (url, headers) == ("http://10.0.0.7:8000/v1/models", {"authorization": "Bearer hunter2"})
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(httpx, "get", get)
    changes = {"upstreams": ("http://10.0.0.7:8000",), "upstream_api_key": SecretStr("hunter2")}
    (finding,) = checks.upstreams(settings.model_copy(update=changes))
    assert (finding.grade, words in finding.found) == (grade, True)
    assert bool(finding.remedy) == (grade is Grade.WRONG)
    assert "hunter2" not in finding.found + finding.remedy


def test_an_upstream_is_named_without_its_password(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(httpx, "get", lambda *_, **__: httpx.Response(503))
    (finding,) = checks.upstreams(settings.model_copy(update={"upstreams": ("http://me:hun@ter2@10.0.0.7:8000",)}))
    assert finding.found.startswith(f"http://me:{MASK}@10.0.0.7:8000 answers 503")


def test_a_tokenizer_is_looked_for(settings: Settings, tmp_path: Path) -> None:
    assert checks.tokenizer(settings).grade is Grade.NOTE
    given = settings.model_copy(update={"tokenizer": tmp_path})
    assert checks.tokenizer(given).grade is Grade.WRONG
    (tmp_path / "tokenizer_config.json").touch()
    assert checks.tokenizer(given).grade is Grade.FINE


def test_a_missing_encoder_is_wrong(settings: Settings, tmp_path: Path) -> None:
    assert checks.encoder(settings.model_copy(update={"encoder": str(tmp_path)})).grade is Grade.WRONG


def test_a_calibration_is_looked_for(settings: Settings) -> None:
    assert checks.calibration(settings).grade is Grade.NOTE
    (settings.cache_dir / "calibrations").mkdir(parents=True)
    (settings.cache_dir / "calibrations" / "abc.npz").touch()
    assert checks.calibration(settings).grade is Grade.FINE


def test_databases(settings: Settings, tmp_path: Path) -> None:
    assert checks.database(settings).grade is Grade.NOTE
    url = f"sqlite+aiosqlite:///{tmp_path / 'there.db'}"
    assert checks.database(settings.model_copy(update={"database_url": url})).grade is Grade.FINE
    for broken in ("mysql://here/x", f"sqlite:///{tmp_path}", "postgresql://me:hunter2@127.0.0.1:1/x"):
        finding = checks.database(settings.model_copy(update={"database_url": broken}))
        assert finding.grade is Grade.WRONG
        assert "hunter2" not in finding.found


def test_taken_ports_are_wrong(settings: Settings) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        found = list(checks.ports(settings.model_copy(update={"port": port}), alone=True))
    assert [(finding.grade, "UNREMEMBER_PORT" in finding.remedy) for finding in found] == [(Grade.WRONG, True)]


def test_a_full_disk_is_wrong(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    assert checks.disk(settings).grade is Grade.FINE
    monkeypatch.setattr(checks, "LEAST_FREE_GB", 10**9)
    assert checks.disk(settings).grade is Grade.WRONG


def test_versions_are_told_and_a_missing_vllm_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    (alone,) = checks.packages(alone=True)
    assert "torch " in alone.found
    monkeypatch.setattr(checks, "_version", lambda name: "missing" if "vllm" in name else "1.0")
    assert grades(checks.packages(alone=False))["vLLM"] is Grade.WRONG


def test_the_plugin_is_registered() -> None:
    assert checks.plugin().grade is Grade.FINE
