"""`reckon run`: the daemon, until it is told to stop."""

import typer


def add_to(app: typer.Typer) -> None:
    """Add this family's commands."""
    app.command("run")(run)


def run(context: typer.Context) -> None:
    """Watch, judge and tell, until told to stop.

    SIGTERM and SIGINT end it in order. SIGHUP reads the configuration again; a bad one leaves the old one in force and
    says so.
    """
    import asyncio
    import os

    from reckon.config import load
    from reckon.daemon import Daemon

    async def watch() -> None:
        daemon = Daemon(lambda: load(context.obj, os.environ), os.environ, end_within=_end_within)
        await daemon.run()

    asyncio.run(watch())


def _end_within(code: int, seconds: float) -> None:
    """End this process in so many seconds even if something in it hangs.

    A name server that never answers holds a thread that nobody can end. Whatever was under way is a transaction, so
    there is nothing half done to lose.
    """
    import os
    import threading

    timer = threading.Timer(seconds, os._exit, (code,))
    timer.daemon = True
    timer.start()
