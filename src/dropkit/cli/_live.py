"""A study as it runs, in the terminal."""

from statistics import fmean

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.table import Table

from dropkit.studies.result import StudyResult, TrialRecord, Verdict
from dropkit.studies.study import Study

#: Replicates that a terminal has room for; the latest are shown.
_MOST_COLUMNS = 10


def run_live(study: Study, console: Console, *, retry_failed: bool = False) -> StudyResult:
    """Run `study` under a live table of arms and replicates; outside a terminal, under lines."""
    progress = _Progress(study, console)
    with Live(progress.view(), console=console, transient=True, refresh_per_second=2) as live:

        def add(record: TrialRecord) -> None:
            progress.add(record)
            live.update(progress.view())

        def judge(verdict: Verdict) -> None:
            progress.judge(verdict)
            live.update(progress.view())

        return study.run(add, judge, retry_failed=retry_failed)


class _Progress:
    """Arms by replicates as they finish, the time that is left, and the verdict so far."""

    def __init__(self, study: Study, console: Console) -> None:
        self._study = study
        self._is_quiet = not console.is_terminal
        self._console = console
        self._records: dict[tuple[str, int], TrialRecord] = {}
        self._n_trials = len(study.arms) * study.terms.replicates
        self._verdict: Verdict | None = None

    def add(self, record: TrialRecord) -> None:
        """Take in one more record; outside a terminal, say so in a line a replicate."""
        self._records[record.arm, record.replicate] = record
        if self._is_quiet and len(self._records) % len(self._study.arms) == 0:
            self._console.print(f"{len(self._records)} of {self._n_trials} trials done")

    def judge(self, verdict: Verdict) -> None:
        """Take in the verdict so far."""
        self._verdict = verdict
        if self._is_quiet:
            self._console.print(f"so far: {escape(verdict.sentence)}", soft_wrap=True)

    def view(self) -> RenderableType:
        """What is done so far."""
        if self._verdict is None:
            return self._table()
        return Group(self._table(), "", f"So far: {escape(self._verdict.sentence)}")

    def _table(self) -> Table:
        table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), title_justify="left")
        metric = self._study.terms.metric.replace("_", " ")
        table.title = f"{escape(metric)}, by replicate - {self._left()}"
        table.add_column("arm", no_wrap=True)
        latest = max((replicate for _, replicate in self._records), default=0)
        most = self._study.terms.replicates
        first = max(0, min(latest + 2, most) - _MOST_COLUMNS)
        shown = range(first, min(first + _MOST_COLUMNS, most))
        for replicate in shown:
            table.add_column(str(replicate + 1), justify="right", min_width=5)
        for arm in self._study.arms:
            table.add_row(escape(arm.name), *(self._cell(arm.name, k) for k in shown))
        return table

    def _cell(self, arm: str, replicate: int) -> str:
        record = self._records.get((arm, replicate))
        if record is None:
            return "[dim].[/]"
        if record.error is not None:
            return "[red]failed[/]"
        return f"{record.metrics[self._study.terms.metric]:.3f}"

    def _left(self) -> str:
        done = len(self._records)
        if not done:
            return "starting"
        each = fmean(record.wall_s for record in self._records.values())
        left = each * (self._n_trials - done) / max(1, self._study.workers)
        most = "at most " if self._study.terms.until == "decided" else ""
        return (
            f"{done} of {most}{self._n_trials} trials, {most}about {left:.0f} s left (Ctrl-C stops)"
        )
