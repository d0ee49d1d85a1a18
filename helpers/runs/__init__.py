"""One run, one folder: every notebook reads and writes a run directory, and nothing else.

directory  RunDir: where each file of a run lies, its settings, and what a step needs
identity   what must not change under a training; the fork that it would be
lock       one process at a time
paid       what a training cost
state      how far a run is, in a line
forks      a run like another one but for some settings; the run that notebooks open next

.venv/bin/python -m helpers.runs choose NAME                 the run that notebooks opened from now on work on
.venv/bin/python -m helpers.runs fork OLD NEW lora_r=2 ...   a new run like OLD but for these settings, and choose it
"""

from helpers.runs.directory import RunDir
from helpers.runs.forks import choose, fork

__all__ = ["RunDir", "choose", "fork"]
