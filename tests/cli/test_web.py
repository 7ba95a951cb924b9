"""`restore web`: the address and the token it prints, and what it refuses before it starts."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from typer.testing import CliRunner

from restore.cli import app, web
from restore.errors import InputError

pytest.importorskip("uvicorn", reason='the page needs pip install ".[web]"')


def run(*words: str) -> None:
    CliRunner().invoke(app, ["web", *words], catch_exceptions=False)


def test_a_taken_port_and_wrong_numbers_are_told_in_a_sentence() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(InputError, match="--port, or 0 for any"):
            run("--port", str(taken.getsockname()[1]))
    for words, told in {
        ("--port", "70000"): "from 0 to 65535",
        ("--max-jobs", "0"): "at least 1",
        ("--max-bytes", "much"): "amount of memory",
        ("--host", "203.0.113.7"): "cannot be listened on",
        ("--device", "abacus"): "not a device",
        ("--token", "short"): "8 to 200 letters",
    }.items():
        with pytest.raises(InputError, match=told):
            run(*words, *(() if "--port" in words else ("--port", "0")))


@pytest.mark.parametrize("package", ["fastapi", "uvicorn", "python_multipart"])
def test_a_missing_package_is_named(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    for name in [name for name in sys.modules if name.startswith("restore.web")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delattr("restore.web", raising=False)
    with pytest.raises(InputError, match="pip install fastapi uvicorn python-multipart"):
        run()


def test_the_dockerfile_starts_this_command_from_files_that_it_gets(root: Path) -> None:
    lines = (root / "Dockerfile").read_text(encoding="utf-8").splitlines()
    copied = [name for line in lines if line.startswith("COPY") for name in line.split()[1:-1]]
    sent = (root / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert "pyproject.toml" in copied and "restore" in copied
    assert all((root / name).exists() and f"!{name}" in sent for name in copied)
    (entry,) = (line for line in lines if line.startswith("ENTRYPOINT"))
    words = json.loads(entry.removeprefix("ENTRYPOINT "))
    assert words[:2] == ["restore", "web"]
    assert CliRunner().invoke(app, [*words[1:], "--help"]).exit_code == 0


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_it_runs_until_it_is_interrupted(root: Path) -> None:
    """Beyond the loopback, with a token that nobody chose."""
    environment = {**os.environ, "PYTHONPATH": str(root), web.TOKEN: ""}
    words = ["-m", "restore", "web", "--host", "0.0.0.0", "--port", "0", "--device", "cpu"]
    started = subprocess.Popen(
        [sys.executable, *words], env=environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        assert started.stdout is not None
        address = started.stdout.readline().strip()
        found = re.fullmatch(r"(http://127\.0\.0\.1:\d+)/\?token=[\w-]{20,}", address)
        assert found is not None, address
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        assert b'"ok"' in opener.open(f"{found[1]}/health", timeout=30).read()
        started.send_signal(signal.SIGINT)
        _, said = started.communicate(timeout=30)
    finally:
        started.kill()
        started.wait()
    assert started.returncode == 0, said
    assert len(said.splitlines()) == 1 and "Ctrl-C" in said
