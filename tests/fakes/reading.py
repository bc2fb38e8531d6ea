"""How these tests let the official SDK read the fake: over a socket, and through its own models."""

from contextlib import ExitStack, contextmanager

from openrouter import OpenRouter

from reckon.fakes.openrouter import app
from tests.serving import serve


@contextmanager
def sdks(world):
    """Yield a function from a key to the SDK that asks a served *world* with it."""
    with serve(app(world)) as url, ExitStack() as clients:

        def sdk_of(key):
            return clients.enter_context(
                OpenRouter(api_key=key.secret, server_url=f"{url}/api/v1", retry_config=None, timeout_ms=10_000)
            )

        yield sdk_of
