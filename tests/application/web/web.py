"""The middle of the shop: takes orders into the queue, and tells how many the database has."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import psycopg2
import redis

# How long a pod that ends still serves: nobody knows at once that it does.
FAREWELL_SECONDS = 5.0
queue = redis.Redis(host="queue", socket_timeout=10)


class Handler(BaseHTTPRequestHandler):
    """`POST /orders`, `GET /orders`, `GET /version`."""

    def do_POST(self) -> None:
        """Take an order: any JSON object with an `id`."""
        order = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        queue.lpush("orders", json.dumps(order))
        self.answer(202, {"id": order["id"]})

    def do_GET(self) -> None:
        """Tell what there is."""
        if self.path == "/version":
            self.answer(200, {"version": os.environ["VERSION"]})
        elif self.path == "/orders":
            # DATABASE is a connection string; the password comes in PGPASSWORD.
            with psycopg2.connect(os.environ["DATABASE"]) as database, database.cursor() as cursor:
                cursor.execute("select count(*) from orders")
                self.answer(200, {"orders": cursor.fetchone()[0]})
        else:
            self.answer(404, {})

    def answer(self, status: int, content: dict[str, object]) -> None:
        """Answer with JSON."""
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class Server(ThreadingHTTPServer):
    """Many orders may come at once."""

    request_queue_size = 128


def main() -> None:
    """Serve until SIGTERM, and a little longer."""
    server = Server(("", 8080), Handler)

    def end() -> None:
        time.sleep(FAREWELL_SECONDS)
        server.shutdown()

    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=end).start())
    server.serve_forever()


main()
