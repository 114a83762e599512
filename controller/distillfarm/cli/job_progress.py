"""A job's progress: a bar on a terminal, its changes as lines elsewhere."""

from rich.progress import BarColumn, Progress, TextColumn

from distillfarm.cli.console import harmless, messages, say
from distillfarm.domain.job import Job


class JobProgress(Progress):
    """Shown while the block lasts."""

    def __init__(self) -> None:
        console = messages()
        super().__init__(
            BarColumn(bar_width=24),
            TextColumn("{task.description}", markup=False),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._job = self.add_task("waiting for a device", total=1.0)
        self._line = ""

    def show(self, job: Job) -> None:
        """The job has changed."""
        line = harmless(job.progress or job.state.value)
        self.update(self._job, completed=job.fraction, description=line)
        if self.disable and line != self._line:
            say(line)
        self._line = line
