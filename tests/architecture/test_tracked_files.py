"""No tracked file names a place that exists on one machine only, or calls its users and callers by a pronoun."""

import re
import subprocess
from pathlib import Path

import pytest

MACHINE_PATH = re.compile(r"(?:^|[^.\w])/(?:work|root|opt|tmp|home|Users)/[A-Za-z]")
REGISTRY_HOST = re.compile(r"\b(?:pypi\.org|pythonhosted\.org|download\.pytorch\.org|anaconda\.org)\b")

PRONOUN = re.compile(r"(?<![A-Za-z])(?:some|no|any|every)(?:body|one)(?![A-Za-z])", re.IGNORECASE)
# History stays as it was written, and so do the titles and plots of the demo's invented films.
WITH_PRONOUNS = re.compile(r"CHANGELOG\.md|docs/adr/.*|fedmem/data/demo_words\.py")


def lines_with(pattern: re.Pattern[str], texts: dict[str, str]) -> list[str]:
    return [
        f"{name}:{number}: {line.strip()}"
        for name, text in texts.items()
        for number, line in enumerate(text.splitlines(), start=1)
        if pattern.search(line)
    ]


@pytest.fixture(scope="module")
def tracked_texts(project_root: Path) -> dict[str, str]:
    """Every text file that git tracks or would track, by its path."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    result = subprocess.run(command, cwd=project_root, capture_output=True, check=False)
    if result.returncode != 0:
        pytest.skip("not a git checkout: there is no list of tracked files")
    paths = [project_root / name for name in result.stdout.decode().split("\0") if name]
    contents = {path.relative_to(project_root).as_posix(): path.read_bytes() for path in paths if path.is_file()}
    return {name: content.decode("utf-8") for name, content in contents.items() if b"\0" not in content}


@pytest.mark.parametrize("pattern", [MACHINE_PATH, REGISTRY_HOST], ids=["machine path", "registry host"])
def test_no_file_names_one_machine(tracked_texts, pattern):
    own_name = Path(__file__).name
    assert (
        lines_with(pattern, {name: text for name, text in tracked_texts.items() if not name.endswith(own_name)}) == []
    )


@pytest.mark.parametrize("line", ["data at /" + "home/ada/ratings.csv", "'/" + "tmp/run'", "/" + "opt/wheels"])
def test_a_machine_path_is_recognised(line):
    assert MACHINE_PATH.search(line)


@pytest.mark.parametrize("line", ["docs/work/plan.md", "../tmp/x", "https://example.org/home/ada"])
def test_a_relative_path_or_an_address_is_not_a_machine_path(line):
    assert not MACHINE_PATH.search(line)


def test_users_callers_and_readers_are_called_what_they_are(tracked_texts):
    texts = {name: text for name, text in tracked_texts.items() if not WITH_PRONOUNS.fullmatch(name)}
    assert lines_with(PRONOUN, texts) == []


@pytest.mark.parametrize("line", ["known to no" + "body", "Any" + "one calls it", "test_some" + "body_is_answered"])
def test_a_pronoun_is_noticed_with_file_and_line(line):
    assert lines_with(PRONOUN, {"fedmem/a.py": f"x = 1\n{line}\n"}) == [f"fedmem/a.py:2: {line}"]


def test_constraints_hold_pins_only(tracked_texts):
    pins = [line for line in tracked_texts["constraints.txt"].splitlines() if not line.lstrip().startswith("#")]
    assert "torch==2.13.0" in pins
    assert [pin for pin in pins if not re.match(r"^[a-z0-9._-]+==[0-9][0-9a-z.]*( ;.*)?$", pin)] == []
