"""The guides as an agent skill: valid by the specification, short, whole, and written only where it belongs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from kernelwright.server.skill import NAME, skill_files, skill_home, write_skill
from kernelwright.tools import archs, reference_library
from kernelwright.tools.tool import ToolError


def test_skill_md_is_valid_by_the_specification() -> None:
    import yaml

    _, matter, body = skill_files()["SKILL.md"].split("---\n", 2)
    fields = yaml.safe_load(matter)
    assert fields["name"] == NAME
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", fields["name"])
    assert len(fields["name"]) <= 64
    assert 0 < len(fields["description"]) <= 1024
    assert "Use when" in fields["description"]
    assert "<" not in fields["description"]
    assert set(fields) <= {"name", "description", "license", "compatibility", "metadata", "allowed-tools"}
    assert body.strip()


def test_skill_md_costs_under_550_tokens() -> None:
    import bpe_openai

    assert len(bpe_openai.get_encoding("o200k_base").encode(skill_files()["SKILL.md"])) < 550


def test_every_guide_and_gpu_is_there_whole() -> None:
    files = skill_files()
    for name in reference_library.names():
        for section in reference_library.guide(name).sections.values():
            assert f"## {section.title}" in files[f"references/{name}.md"]
    for arch in archs.all_archs():
        assert arch.name in files[f"references/gpu-{arch.key}.md"]


def test_every_link_leads_to_a_file() -> None:
    files = skill_files()
    for path, text in files.items():
        assert "kernel://references" not in text, path
        assert "kernel://arch" not in text, path
        for linked in re.findall(r"(references/[a-z0-9-]+\.md)", text):
            assert linked in files, f"{path} -> {linked}"
    for name in reference_library.names():
        assert f"(references/{name}.md)" in files["references/index.md"]


def test_write_makes_a_folder_of_the_skills_name(tmp_path: Path) -> None:
    written = write_skill(tmp_path / "skills")
    folder = tmp_path / "skills" / NAME
    assert folder / "SKILL.md" in written
    assert {path.relative_to(folder).as_posix(): path.read_text(encoding="utf-8") for path in written} == skill_files()


def test_writing_again_replaces_an_older_version_and_keeps_the_rest(tmp_path: Path) -> None:
    write_skill(tmp_path)
    folder = tmp_path / NAME
    (folder / "references" / "dropped-guide.md").write_text("old", encoding="utf-8")
    (folder / "references" / "norms.md").write_text("old", encoding="utf-8")
    (folder / "notes.txt").write_text("mine", encoding="utf-8")
    write_skill(tmp_path)
    assert not (folder / "references" / "dropped-guide.md").exists()
    assert (folder / "references" / "norms.md").read_text(encoding="utf-8") == skill_files()["references/norms.md"]
    assert (folder / "notes.txt").read_text(encoding="utf-8") == "mine"


@pytest.mark.parametrize("found", ["other skill", "no skill", "file", "link"])
def test_what_is_not_ours_is_left_alone(found: str, tmp_path: Path) -> None:
    folder = tmp_path / "skills" / NAME
    folder.parent.mkdir()
    kept = tmp_path / "kept"
    kept.mkdir()
    if found == "file":
        folder.write_text("x", encoding="utf-8")
    elif found == "link":
        folder.symlink_to(kept)
    else:
        folder.mkdir()
        text = "---\nname: another\n---\n" if found == "other skill" else "x"
        (folder / ("SKILL.md" if found == "other skill" else "thing.md")).write_text(text, encoding="utf-8")
    with pytest.raises(ToolError) as caught:
        write_skill(tmp_path / "skills")
    assert caught.value.code == "conflict"
    assert list(kept.iterdir()) == []


def test_clients_have_their_places(tmp_path: Path) -> None:
    assert skill_home("claude", tmp_path) == tmp_path / ".claude" / "skills"
    assert skill_home("codex", tmp_path) == tmp_path / ".agents" / "skills"
    with pytest.raises(ToolError) as caught:
        skill_home("emacs", tmp_path)
    assert "cursor" in caught.value.hint
