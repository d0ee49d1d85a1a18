"""Helpers for the notebooks: one idea per module, heavy imports only where they are used."""

import logging
import warnings

# Two messages of the pinned libraries about themselves, which a reader could only be puzzled by:
# bitsandbytes did not find an optional CPU kernel on the hub; transformers calls its own old name.
logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)
warnings.filterwarnings("ignore", message=".*gradient_checkpointing` is deprecated", category=FutureWarning)
