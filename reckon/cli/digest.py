"""`reckon digest`: a digest now, for whoever asks; the calendar goes on as if nobody had."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

if TYPE_CHECKING:
    from reckon.config import Settings
    from reckon.core.digest_calendar import DigestKind
    from reckon.core.outbox import Delivery


def add_to(app: typer.Typer) -> None:
    """Add this family's commands."""
    app.command("digest")(digest)


def digest(
    context: typer.Context,
    kind: Annotated[Literal["daily", "weekly", "monthly"], typer.Argument(help="Which one.")],
    send: Annotated[bool, typer.Option("--send", help="Deliver it to where digests go, and not here.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """The last whole day, week or month, by owner.

    With --send it exits with 69 if it was not delivered, or while a daemon holds the SQLite file.
    """
    import asyncio
    import os

    from reckon.app import open_app
    from reckon.cli.printing import print_json
    from reckon.config import digest_policy, load, people
    from reckon.core.digest_calendar import DigestKind
    from reckon.core.digest_messages import compose, document
    from reckon.jobs.digest import rendered
    from reckon.sinks.console import render

    settings = load(context.obj, os.environ)
    which = DigestKind(kind)
    with open_app(settings) as app:  # before --send too: it would make a ledger where there is none
        found = rendered(app.store, digest_policy(settings), which, app.clock())
    told = document(found, people(settings))
    if not send:
        if as_json:
            print_json(told)
        else:
            print(render(compose(found, people(settings))))
        return
    sent = asyncio.run(_send(settings, which))
    if as_json:
        print_json({**told, "delivery": sent.document})
    else:
        print(sent.text)
    if not sent.is_well:
        raise typer.Exit(69)


@dataclass(frozen=True, slots=True)
class _Sent:
    """What became of a digest that was to be sent."""

    sink: str
    delivery: "Delivery | None"
    """None if another replica delivers, and has not yet."""

    @property
    def is_well(self) -> bool:
        """Whether there is nothing left to do for whoever asked."""
        from reckon.core.outbox import DeliveryState

        return self.delivery is None or self.delivery.state is DeliveryState.DELIVERED

    @property
    def text(self) -> str:
        """One line for a person."""
        from reckon.cli.printing import clean
        from reckon.core.outbox import DeliveryState

        if self.delivery is None:
            return f"Queued; the Reckon that delivers to {self.sink} sends it."
        if self.delivery.state is DeliveryState.DELIVERED:
            return f"Delivered to {self.sink}."
        ends = "will not be tried again" if self.delivery.state is DeliveryState.DEAD else "will be tried again"
        return clean(f"It did not get to {self.sink} and {ends}: {self.delivery.trouble}", 300)

    @property
    def document(self) -> dict[str, Any]:
        """The same for a program."""
        state = "waiting" if self.delivery is None else self.delivery.state.value
        return {"sink": self.sink, "state": state, "trouble": self.delivery.trouble if self.delivery else None}


async def _send(settings: "Settings", which: "DigestKind") -> _Sent:
    """Queue the digest and deliver what the outbox then holds."""
    import os

    from reckon.config import digest_policy
    from reckon.jobs.digest import digest_asked_for
    from reckon.watch import open_watcher

    async with open_watcher(settings, os.environ) as watcher:
        app = watcher.app
        plan = await digest_asked_for(app.store, digest_policy(settings), which, app.clock())
        intents = {outgoing.intent for outgoing in plan.outgoing}
        attempted = [delivery for delivery in await watcher.deliver() if delivery.intent in intents]
        return _Sent(watcher.deliverer.sink.name, attempted[-1] if attempted else None)
