"""Where images cannot be built, the build says why and does not fail; with a name that is none it does."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from clarion_kit import mesh

BUILD = Path(__file__).resolve().parents[2] / "docker" / "build.py"


@pytest.fixture
def build() -> ModuleType:
    spec = importlib.util.spec_from_file_location("clarion_build", BUILD)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_machine_that_cannot_build_is_skipped_by_name(
    build: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(build.os, "geteuid", lambda: 1000)

    assert build.main(["planner"]) == 0
    assert capsys.readouterr().err == "skipped: image of planner (missing: buildah, debootstrap, root)\n"


def test_root_that_may_not_mount_is_skipped_by_name(
    build: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Root of a container without the right to mount."""
    for tool, status in (("buildah", 0), ("debootstrap", 0), ("unshare", 1)):
        (tmp_path / tool).write_text(f"#!/bin/sh\nexit {status}\n")
        (tmp_path / tool).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(build.os, "geteuid", lambda: 0)

    assert build.lacking() == ["the right to mount"]


@pytest.mark.parametrize("wanted", [[], ["gatway"], ["planner", "all"]])
def test_image_that_does_not_exist_is_refused(
    build: ModuleType, wanted: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert build.main(wanted) == 2
    shown = capsys.readouterr().err
    assert all(image in shown for image in ("dispatcher_sms", "sandbox"))


def test_all_means_every_daemon_and_tool(build: ModuleType) -> None:
    assert set(build.IMAGES) == {*mesh.DAEMONS, "cli", "sandbox"}
