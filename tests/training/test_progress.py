"""``verbose``: lines through the logger "skswae", to stderr if nobody has set it up, or a bar."""

import io
import logging
import multiprocessing
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
import rich
from rich.console import Console
from rich.progress import Progress

from skswae import _fit
from skswae.training import _progress
from skswae.training._callbacks import Callback

from ..estimators import cheap, swae

LOGGER = logging.getLogger("skswae")
STARTS = [f"[SWAETransformer] Epoch {i}" for i in (1, 2, 3)]


def starts(text):
    return [line.split(",")[0] for line in text.splitlines()]


@pytest.fixture
def unset(monkeypatch):
    """A logger as nobody has set one up; pytest has, on the root."""
    logger = logging.Logger("skswae")
    monkeypatch.setattr(_progress, "LOGGER", logger)
    return logger


class Screen(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def screen(unset, monkeypatch):
    """A terminal that rich draws on."""
    console = Console(file=Screen(), force_terminal=True, force_jupyter=False, width=120, _environ={})
    monkeypatch.setattr(rich, "get_console", lambda: console)
    return console


@pytest.mark.parametrize("level", [logging.NOTSET, logging.DEBUG])
def test_lines_go_to_the_handlers_that_there_are_once(level, iris, caplog, capsys, monkeypatch):
    """Whatever the root's level: ``verbose`` has asked for them."""
    monkeypatch.setattr(LOGGER, "level", level)
    assert logging.root.level == logging.WARNING
    estimator = swae(verbose=1, early_stopping=True).fit(iris)
    assert starts("\n".join(caplog.messages)) == STARTS
    assert all(r.name == "skswae" and r.levelno == logging.INFO for r in caplog.records)
    assert tuple(capsys.readouterr()) == ("", "")
    for epoch, record in enumerate(caplog.records):
        assert (record.estimator_name, record.epoch) == ("SWAETransformer", epoch + 1)
        assert record.terms == {name: values[epoch] for name, values in estimator.history_.items()}
        assert "validation_loss" in record.terms
        assert record.seconds > 0


def test_lines_go_to_stderr_without_handlers(unset, iris, capsys):
    swae(verbose=1).fit(iris)
    out, err = capsys.readouterr()
    assert out == ""
    assert starts(err) == STARTS
    assert not unset.hasHandlers()  # those who set up logging later see no line twice


def test_silent(unset, iris, caplog, capsys, monkeypatch):
    """Without ``verbose``, or where somebody has said so."""
    caplog.set_level(logging.DEBUG)
    swae().fit(iris)
    unset.setLevel(logging.WARNING)
    swae(verbose=1).fit(iris)
    monkeypatch.setattr(_progress, "LOGGER", LOGGER)
    monkeypatch.setattr(LOGGER, "level", logging.WARNING)
    swae(verbose=1).fit(iris)
    monkeypatch.setattr(LOGGER, "level", logging.NOTSET)
    monkeypatch.setattr(logging.root.manager, "disable", logging.INFO)
    swae(verbose=1).fit(iris)
    assert tuple(capsys.readouterr()) == ("", "")
    assert caplog.records == []


def test_a_bar_on_a_screen(screen, iris, capsys):
    model = swae(verbose=1, early_stopping=True, warm_start=True).fit(iris)
    shown = screen.file.getvalue()
    assert "SWAETransformer" in shown
    assert "epoch 3/3" in shown
    assert f"loss {model.loss_curve_[-1]:.4g}, validation_loss" in shown
    model.fit(iris)
    assert "epoch 6/6" in screen.file.getvalue()
    assert tuple(capsys.readouterr()) == ("", "")


def test_a_bar_ends_with_a_fit_that_stops_or_fails(screen, iris):
    swae(verbose=1, max_iter=9, early_stopping=True, n_iter_no_change=1, tol=1e9).fit(iris)
    shown = screen.file.getvalue()
    assert "epoch 2/9" in shown
    assert "-:--:--" not in shown.splitlines()[-1]  # the time that it took
    with pytest.raises(ValueError, match="diverged"):
        swae(verbose=1, learning_rate_init=1e9).fit(iris)
    assert screen.file.getvalue().rstrip().endswith("\x1b[?25h")  # the cursor is back
    swae(verbose=1).fit(iris)  # and there is room for the next


def test_a_bar_begins_where_a_checkpoint_does(screen, iris, tmp_path):
    path = tmp_path / "fit.ckpt"

    class Dies(Callback):
        def on_epoch_begin(self, run):
            if run.epoch == 2:
                raise RuntimeError

    model = swae(verbose=1, max_iter=4)
    with pytest.raises(RuntimeError):
        _fit.fit(model, iris, checkpoint=path, checkpoint_seconds=0, callbacks=[Dies()])
    screen.file.truncate(0)
    assert model.fit(iris, checkpoint=path).n_iter_ == 4
    shown = screen.file.getvalue()
    assert "epoch 2/4" in shown
    assert "epoch 4/4" in shown
    assert "epoch 0/4" not in shown


def lines_alone(screen, capsys):
    return screen.file.getvalue() == "" and starts(capsys.readouterr().err) == STARTS


def test_lines_where_a_bar_would_be_garbled(screen, iris, capsys, monkeypatch):
    with ThreadPoolExecutor() as pool:
        pool.submit(swae(verbose=1).fit, iris).result()
    assert lines_alone(screen, capsys)
    monkeypatch.setattr(multiprocessing, "parent_process", lambda: "another process")
    swae(verbose=1).fit(iris)
    assert lines_alone(screen, capsys)


def test_lines_where_no_bar_can_be_drawn(screen, iris, capsys, monkeypatch):
    screen.file.isatty = lambda: False  # in a file, though FORCE_COLOR says that it is a terminal
    swae(verbose=1).fit(iris)
    assert lines_alone(screen, capsys)
    screen.file.isatty = lambda: True
    screen.is_jupyter = True
    monkeypatch.setattr(_progress.importlib.util, "find_spec", lambda name: None)  # no ipywidgets
    swae(verbose=1).fit(iris)
    assert lines_alone(screen, capsys)
    screen.is_jupyter = False
    monkeypatch.setitem(sys.modules, "rich", None)
    swae(verbose=1).fit(iris)
    assert lines_alone(screen, capsys)


def test_another_bar_on_the_screen(screen, iris, capsys):
    """rich has room for both from 14.1 on; before, there are lines."""
    with Progress(console=screen):
        assert swae(verbose=1).fit(iris).n_iter_ == 3
    assert "epoch 3/3" in screen.file.getvalue() or STARTS[2] in screen.file.getvalue()


def test_a_subclass_is_called_by_its_name(iris, caplog):
    class Mine(type(swae())):
        pass

    cheap(Mine, verbose=True, max_iter=1).fit(iris)
    assert caplog.messages[0].startswith("[Mine] Epoch 1, loss = ")
