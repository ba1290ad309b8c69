"""Which revision of the policy rules: what git says, and nothing where it says nothing."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from nbgov.backends.files import FilePolicySource
from nbgov.backends.files.revision import Revisions
from nbgov.errors import ConfigInvalid

needs_git = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")


def git(folder, *words):
    settings = ["-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "init.defaultBranch=m"]
    done = subprocess.run(
        ["git", *settings, *words], cwd=folder, check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


@pytest.fixture
def policy(tmp_path):
    path = tmp_path / "rules" / "policy.yaml"
    path.parent.mkdir()
    path.write_text("version: 1\n")
    return path


@pytest.fixture
def committed(policy):
    git(policy.parents[1], "init", "-q")
    git(policy.parents[1], "add", ".")
    git(policy.parents[1], "commit", "-q", "-m", "one")
    return policy


@needs_git
def test_a_committed_policy_has_the_revision_of_its_commit(committed):
    """The commit that last changed the file counts, not the newest one."""
    head = git(committed.parent, "rev-parse", "HEAD")
    source = FilePolicySource(committed)
    assert source.revision() == head
    (committed.parents[1] / "other").write_text("x")
    git(committed.parents[1], "add", ".")
    git(committed.parents[1], "commit", "-q", "-m", "two")
    assert source.revision() == head


@needs_git
def test_a_changed_policy_is_dirty_until_it_is_committed(committed):
    """A change shows at once, and so does its commit."""
    source = FilePolicySource(committed)
    first = source.revision()
    committed.write_text("version: 1 # changed\n")
    assert source.revision() == f"{first}-dirty"
    git(committed.parents[1], "commit", "-q", "-a", "-m", "two")
    assert source.revision() == git(committed.parent, "rev-parse", "HEAD") != first


@needs_git
def test_git_is_not_asked_twice_for_nothing(committed, monkeypatch):
    """While neither file nor repository changes, the revision is remembered."""
    revisions = Revisions(committed)
    first = revisions.current()
    monkeypatch.setenv("PATH", "")
    assert revisions.current() == first
    committed.write_text("version: 1 # longer\n")
    assert revisions.current() == ""


def test_without_a_repository_there_is_no_revision(policy, monkeypatch):
    """No repository, no git and no file are no error."""
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(policy.parents[2]))
    assert Revisions(policy).current() == ""
    assert Revisions(policy.parent / "gone.yaml").current() == ""
    assert Revisions(policy.parent / "gone" / "policy.yaml").current() == ""


@needs_git
def test_a_file_that_was_never_committed_has_no_revision(policy):
    """An untracked policy has none, even within a repository."""
    git(policy.parent, "init", "-q")
    assert Revisions(policy).current() == ""


@needs_git
def test_the_text_of_another_revision(committed):
    """A commit gives the text that it holds; what git does not know is an error."""
    committed.write_text("version: 1 # now\n")
    assert Revisions(committed).text_at("HEAD") == "version: 1\n"
    for name in ("HEAD~5", "--help", "nothing"):
        with pytest.raises(ConfigInvalid) as caught:
            Revisions(committed).text_at(name)
        assert caught.value.code == "policy-missing"


@needs_git
def test_a_repository_cannot_run_a_program(committed, tmp_path):
    """A monitor that the repository's own settings name is not started."""
    trap = tmp_path / "trap.sh"
    trap.write_text(f"#!/bin/sh\ntouch {tmp_path}/sprung\n")
    trap.chmod(0o700)
    git(committed.parent, "config", "core.fsmonitor", str(trap))
    committed.write_text("version: 1 # changed\n")
    assert Revisions(committed).current().endswith("-dirty")
    assert not (tmp_path / "sprung").exists()
