"""The whole check-up, in the order in which a person would mend things."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from reckon.app import Clock, system_clock
from reckon.checkup import machine, openrouter, slack
from reckon.checkup.records import Check, CheckState
from reckon.config import Secrets, Settings, open_secrets
from reckon.errors import ConfigError
from reckon.observe import configure
from reckon.sources.openrouter import EGRESS


async def examine(
    settings: Settings,
    environ: Mapping[str, str],
    *,
    file: Path | None,
    sample: bool = False,
    clock: Clock = system_clock,
) -> list[Check]:
    """Return what there is to know about everything that Reckon leans on. Raises nothing that a check can say.

    Args:
        settings: the configuration in force.
        environ: where `env:` references look.
        file: the configuration file, if there is one.
        sample: also send a sample alert to whoever is told of real ones.
        clock: this machine's.
    """
    checks = [*machine.configuration(settings, file), *machine.ledger(settings)]
    try:
        secrets = open_secrets(settings, environ)
    except ConfigError as error:
        checks += _locked(error)
    else:
        configure(level=settings.log.level, style=settings.log.format, secrets=secrets.values())
        checks += await openrouter.keys_and_clock(settings, secrets, clock)
        checks += await slack.told(settings, secrets, clock, sample=sample)
        checks += _egress(settings, secrets)
    return checks


def _locked(error: ConfigError) -> Iterator[Check]:
    for line in str(error).splitlines():
        yield Check("secret", CheckState.WRONG, line)
    yield Check(
        "keys, Slack", CheckState.WARNING, "Not looked at, for want of these secrets.", "Mend them, and look again."
    )


def _egress(settings: Settings, secrets: Secrets) -> Iterator[Check]:
    """Yield everything that can leave, by where it goes."""
    asked = [f"{method} {path}" for method, path in sorted(EGRESS)]
    yield _leaves(asked, settings.openrouter.base_url)
    if secrets.slack_bot_token:
        yield _leaves([f"{method} {path}" for method, path in sorted(slack.EGRESS)], settings.slack.api_url)
    elif secrets.slack_webhook_url:
        yield _leaves(["POST"], "the webhook")


def _leaves(requests: list[str], where: str) -> Check:
    return Check("egress", CheckState.OK, f"To {where}: {', '.join(requests)}; nothing else.")
