"""Progress: what is shown on a terminal, and nothing elsewhere."""

from __future__ import annotations

import io
import re
import sys

import pytest

import xcnn
from tests.nets import plain, stripes

X, Y = stripes()


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_nothing_is_said_where_stderr_is_no_terminal(capfd):
    plain().fit(X, Y, epochs=2, validation=0.25)
    plain().evaluate(X, Y)
    plain().predict(X)
    assert capfd.readouterr() == ("", "")


def test_nothing_is_said_on_a_terminal_that_is_told_to_be_quiet(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    plain().fit(X, Y, progress=False)
    assert terminal.getvalue() == ""


@pytest.mark.parametrize("progress", [None, True])
def test_a_terminal_sees_epoch_loss_metrics_rate_and_time(monkeypatch, progress):
    pytest.importorskip("rich")
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "200")
    history = plain().fit(X, Y, epochs=2, validation=0.25, progress=progress)
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", terminal.getvalue())
    assert "epoch 1/2" in text
    assert "epoch 2/2" in text
    for name in ("loss", "accuracy", "val_loss", "val_accuracy"):
        assert f"{name} {history[name][-1]:.4f}" in text
    assert re.search(r"[\d,]+ images/s", text)


def test_without_rich_each_epoch_is_a_line(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "rich", None)
    history = plain().fit(X, Y, epochs=2, progress=True)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    want = (
        rf"epoch 2/2  loss {history['loss'][1]:.4f}  accuracy {history['accuracy'][1]:.4f}  [\d,]+ images/s"
        r"  [\d.]+ s"
    )
    assert re.fullmatch(want, lines[1])


def test_the_bar_ends_after_an_error(monkeypatch):
    pytest.importorskip("rich")
    monkeypatch.setattr(sys, "stderr", Terminal())

    def fail(epoch, logs):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        plain().fit(X, Y, callbacks=[fail])
    plain().fit(X, Y)  # a second live display would be refused


def test_standard_output_stays_clean(monkeypatch, capsys):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    plain().fit(X, Y, progress=True)
    assert capsys.readouterr().out == ""
    assert xcnn.History().epochs == 0
