"""Reckon tells a team what its OpenRouter money buys, the same day.

Start at `reckon.core`, whose docstring is the glossary; then `jobs/poll.py`, `core/plans.py` and `store/store.py`
read in that order are one poll from top to bottom.
"""

__version__ = "0.1.0"
