"""What every test relies on."""

from __future__ import annotations

import signal

# A shell starts background jobs with SIGINT ignored, which their children inherit: nothing could be interrupted.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
