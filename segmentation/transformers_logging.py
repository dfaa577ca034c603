"""What transformers writes on the terminal while it loads a network."""

import contextlib
from collections.abc import Iterator


@contextlib.contextmanager
def silenced() -> Iterator[None]:
    """transformers without its progress bars and reports; afterwards it speaks as before."""
    from transformers.utils import logging

    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity(logging.CRITICAL)
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()
