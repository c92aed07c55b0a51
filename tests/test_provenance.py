"""A result says of which source it is."""

import subprocess

from fedmem import provenance


def test_the_commit_is_that_of_the_source(tmp_path, monkeypatch):
    def git(*words: str) -> str:
        names = ("-c", "user.name=A", "-c", "user.email=a@example.org")
        return subprocess.run(["git", *names, *words], cwd=tmp_path, capture_output=True, text=True, check=True).stdout

    source = tmp_path / "provenance.py"
    source.write_text("1\n", encoding="utf-8")
    monkeypatch.setattr(provenance, "__file__", str(source))
    assert provenance.source_commit() is None  # no checkout
    git("init")
    git("commit", "--allow-empty", "-m", "another project's")
    assert provenance.source_commit() is None  # a checkout of something else, in which the source is untracked
    git("add", "provenance.py")
    git("commit", "-m", "ours")
    commit = git("rev-parse", "HEAD").strip()
    assert provenance.source_commit() == commit
    source.write_text("2\n", encoding="utf-8")
    assert provenance.source_commit() == f"{commit}+changes"
    monkeypatch.setenv("PATH", str(tmp_path))
    assert provenance.source_commit() is None  # no git
