"""Progress for ``verbose``: a line for each epoch through the logger "skswae", or a progress bar."""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import multiprocessing
import threading
from collections.abc import Iterator
from typing import Any

from skswae._processes import active
from skswae.training._callbacks import Callback, Run

LOGGER = logging.getLogger("skswae")


class EpochLines(Callback):
    """Log a line after each epoch, which begins with a name.

    The record of the line has the numbers too: ``estimator_name``, ``epoch`` from 1 on, ``terms`` and
    ``seconds``.
    """

    def __init__(self, name: str):
        self.name = name

    def on_epoch_end(self, run: Run) -> None:
        terms, seconds = dict(run.history[-1]), run.seconds
        text = ", ".join(f"{name} = {value:.6g}" for name, value in terms.items())
        _log(
            f"[{self.name}] Epoch {run.epoch + 1}, {text}, {seconds:.2f} s",
            {"estimator_name": self.name, "epoch": run.epoch + 1, "terms": terms, "seconds": seconds},
        )


class EpochBar(Callback):
    """Advance a bar of rich's after each epoch, with the losses."""

    def __init__(self, bars: Any, name: str, n_epochs: int):
        self.bars = bars
        self.name = name
        self.n_epochs = n_epochs
        self.bar: Any = None

    def on_epoch_begin(self, run: Run) -> None:
        if self.bar is None:  # now a checkpoint's epochs are known
            last = run.epoch - len(run.history) + self.n_epochs
            fields = {"epoch": run.epoch, "last": last, "losses": ""}
            self.bar = self.bars.add_task(
                self.name, total=self.n_epochs, completed=len(run.history), **fields
            )

    def on_epoch_end(self, run: Run) -> None:
        terms = run.history[-1]
        shown = [f"{name} {terms[name]:.4g}" for name in ("loss", "validation_loss") if name in terms]
        self.bars.update(self.bar, completed=len(run.history), epoch=run.epoch + 1, losses=", ".join(shown))

    def on_fit_end(self, run: Run) -> None:
        if self.bar is not None:
            # it may have ended before its last epoch: the time that it took takes the place of the time left
            self.bars.update(self.bar, total=len(run.history), completed=len(run.history))


@contextlib.contextmanager
def progress(estimator: Any, n_epochs: int) -> Iterator[Callback | None]:
    """Give what shows the training of the block, with ``verbose``: a bar on a screen, else lines.

    Of several processes that share a fit the first one shows it.
    """
    name, group = type(estimator).__name__, active()
    if group is not None and group.rank > 0:
        yield None
        return
    bars = _started_bars() if estimator.verbose else None
    if bars is None:
        yield EpochLines(name) if estimator.verbose else None
        return
    try:
        yield EpochBar(bars, name, n_epochs)
    finally:
        bars.stop()


def _started_bars() -> Any | None:
    """Return rich's display of bars; None without rich, or unless this thread alone writes to a screen."""
    if LOGGER.hasHandlers() or not _is_wanted():  # somebody has said what becomes of the lines
        return None
    alone = multiprocessing.parent_process() is None
    if not alone or threading.current_thread() is not threading.main_thread():
        return None
    try:
        import rich
        from rich.errors import LiveError
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
    except ImportError:
        return None
    console = rich.get_console()
    if console.is_jupyter:
        watched = importlib.util.find_spec("ipywidgets") is not None  # by which rich draws in a notebook
    else:  # rich takes a file for a terminal where FORCE_COLOR is set
        watched = console.is_interactive and getattr(console.file, "isatty", bool)()
    if not watched:
        return None
    bars = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("epoch {task.fields[epoch]}/{task.fields[last]}"),
        TextColumn("{task.fields[losses]}"),
        TimeRemainingColumn(elapsed_when_finished=True),
        console=console,
    )
    try:
        bars.start()
    except LiveError:  # another bar is on the screen, and rich before 14.1 has room for one
        return None
    return bars


def _is_wanted() -> bool:
    """Tell whether the logger lets lines pass: ``verbose`` asks for them where nobody has set a level."""
    return LOGGER.level <= logging.INFO and LOGGER.manager.disable < logging.INFO


def _log(text: str, values: dict[str, Any]) -> None:
    """Hand a line to the logger's handlers, or to stderr where there are none."""
    if not _is_wanted():
        return
    record = LOGGER.makeRecord(LOGGER.name, logging.INFO, __file__, 0, text, (), None, extra=values)
    if LOGGER.hasHandlers():
        LOGGER.handle(record)
    else:
        logging.StreamHandler().handle(record)
