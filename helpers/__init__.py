"""Helpers for the notebooks: a folder for each notebook, one idea per module, heavy imports only where they are used.

workshop           exercises, labs, the class
machine · compare  01, 02 · 08     ↓ a module imports from its own floor's folder or from floors below
plan               00
merge · serve      05 · 07
train              04
evaluate · data    06 · 03
model              the base model, its quantisation, its template, its files
config · files · place · runs · report · series     the ground
"""

import logging
import warnings

# Two messages of the pinned libraries about themselves, which a reader could only be puzzled by:
# bitsandbytes did not find an optional CPU kernel on the hub; transformers calls its own old name.
logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)
warnings.filterwarnings("ignore", message=".*gradient_checkpointing` is deprecated", category=FutureWarning)
