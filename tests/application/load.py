"""Send orders, several at a time, until the standard input ends, and say how it went: python load.py URL PREFIX.

Prints {"sent": how many were taken, "failed": what went wrong with the others}.
"""

from __future__ import annotations

import json
import sys
import threading
import urllib.request

SENDERS = 4
# Each sender's: the load is there to be noticed by the application, not to fill the machine.
PAUSE_SECONDS = 0.05
LIMIT_SECONDS = 30.0


class Load:
    """What has been sent."""

    def __init__(self, url: str, prefix: str) -> None:
        self._url = url
        self._prefix = prefix
        self._ended = threading.Event()
        self.taken: list[str] = []
        self.failed: list[str] = []

    def run(self) -> None:
        """Send until the standard input ends."""
        senders = [threading.Thread(target=self._send_many, args=(number,)) for number in range(SENDERS)]
        for sender in senders:
            sender.start()
        sys.stdin.read()
        self._ended.set()
        for sender in senders:
            sender.join()

    def _send_many(self, sender: int) -> None:
        number = 0
        while not self._ended.wait(PAUSE_SECONDS):
            self._send(f"{self._prefix}-{sender}-{number}")
            number += 1

    def _send(self, name: str) -> None:
        request = urllib.request.Request(f"{self._url}/orders", json.dumps({"id": name}).encode(), method="POST")
        try:
            with urllib.request.urlopen(request, timeout=LIMIT_SECONDS):
                self.taken.append(name)
        except OSError as error:
            self.failed.append(f"{name}: {error}")


load = Load(*sys.argv[1:])
load.run()
print(json.dumps({"sent": len(load.taken), "failed": load.failed}))
