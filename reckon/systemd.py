"""Telling the service manager how we are: one datagram to a socket it names, and nothing where it names none."""

import os
import socket
from collections.abc import MutableMapping
from datetime import timedelta


class ServiceManager:
    """systemd, if it started us with `Type=notify`. It takes its variables out of *environ*: they are for us alone."""

    def __init__(self, environ: MutableMapping[str, str]) -> None:
        address = environ.pop("NOTIFY_SOCKET", "")
        # An abstract address is written with an @ where the kernel wants a zero byte.
        self._address = "\0" + address[1:] if address.startswith("@") else address
        period = environ.pop("WATCHDOG_USEC", "")
        meant_for_us = environ.pop("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        self.watchdog: timedelta | None = None
        """How long we may be silent; None where nobody watches."""
        if period.isdecimal() and int(period) and meant_for_us:
            self.watchdog = timedelta(microseconds=int(period))

    def tell(self, **state: str) -> None:
        """Send *state*, as in `tell(READY="1", STATUS="polled 20 keys")`; a manager that is busy is not waited for."""
        if not self._address:
            return
        lines = "\n".join(f"{name}={' '.join(value.split())}" for name, value in state.items())
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC) as out:
                out.sendto(lines.encode(), self._address)
        except OSError:  # no manager any more, a busy one, or no file descriptor left: none is worth our end
            return
