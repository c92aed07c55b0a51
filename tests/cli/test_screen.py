"""What must be read on a screen of 80 columns."""

import io
import sys

import pytest
from rich.console import Console

from cli import screen


def test_the_round_is_readable_beside_long_metrics(monkeypatch):
    stream = io.StringIO()
    monkeypatch.setattr(screen, "notes", Console(file=stream, force_terminal=True, width=80, color_system=None))
    with screen.rounds(400, 0) as advance:
        advance(380, "loss 6.873  validation HR@10 0.0424  NDCG@10 0.0232 (best)")
    assert "round 380/400" in stream.getvalue()
    assert "loss 6.873  validation HR@10 0.0424  NDCG@10 0.0232" in stream.getvalue()


def test_a_number_stands_with_its_noun():
    assert [screen.counted(n, "row") for n in (0, 1, 1000)] == ["0 rows", "1 row", "1,000 rows"]


@pytest.mark.parametrize(("terminal", "printed"), [(True, "job 2 is queued\n"), (False, "2\n")])
def test_a_number_is_a_sentence_on_a_terminal_and_bare_for_a_script(monkeypatch, terminal, printed):
    out = io.StringIO()
    monkeypatch.setattr(out, "isatty", lambda: terminal)
    monkeypatch.setenv("FORCE_COLOR", "1")  # which makes rich take a pipe for a terminal
    monkeypatch.setattr(sys, "stdout", out)
    screen.answer_number(2, "job 2 is queued")
    assert out.getvalue() == printed
