"""Helpers for the notebooks: a folder for each notebook, one idea per module, heavy imports only where they are used.

workshop           exercises, labs, the class
machine · compare  01, 02 · 08     ↓ a module imports from its own floor's folder or from floors below
plan               00
merge · serve      05 · 07
train              04
evaluate · data    06 · 03
model              the base model, its quantisation, its template, its files
config · files · place · progress · picture · page · runs · report · series · translate · language     the ground
"""

import logging
import os
import sys
import warnings

# Two messages of the pinned libraries about each other, which a reader could only be puzzled by: bitsandbytes did not find
# an optional CPU kernel on the hub; peft asks a model by a name that transformers has changed.
logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)
warnings.filterwarnings("ignore", message=r"`is_gradient_checkpointing` is deprecated", category=FutureWarning)

if "ipykernel" in sys.modules:  # a script is spared the import
    from helpers.progress import bars_without_widgets

    bars_without_widgets()

if os.environ.get("QLORA_LANG"):  # set by the first cell of a translated notebook
    from helpers.language import speak

    speak()
