"""The outside world, invented: what tests and `reckon demo` talk to instead of OpenRouter.

Written from the API's documents alone. Nothing here imports the rest of Reckon, so a mistake in how Reckon reads an
answer cannot also be a mistake in how the answer was made. A `World` holds the truth and a clock of its own; an ASGI
app shows it as OpenRouter would, or, when told to, wrongly.
"""
