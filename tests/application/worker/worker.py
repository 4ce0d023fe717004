"""The back of the shop: brings each order from the queue into the database, once."""

from __future__ import annotations

import json
import os
import time

import psycopg2
import redis

# An order is in one of the two lists until the database has it.
WAITING, TAKEN = "orders", "taken"
POLL_SECONDS = 5


def work(queue: redis.Redis) -> None:
    """Until the queue or the database is gone."""
    # DATABASE is a connection string; the password comes in PGPASSWORD.
    database = psycopg2.connect(os.environ["DATABASE"])
    database.autocommit = True
    with database.cursor() as cursor:
        cursor.execute("create table if not exists orders (id text primary key)")
        # What one before us had taken and not finished.
        while queue.rpoplpush(TAKEN, WAITING):
            pass
        while True:
            order = queue.brpoplpush(WAITING, TAKEN, timeout=POLL_SECONDS)
            if order is not None:
                cursor.execute("insert into orders values (%s) on conflict do nothing", [json.loads(order)["id"]])
                queue.lrem(TAKEN, 1, order)


def main() -> None:
    """Begin again whenever one of them was gone."""
    while True:
        try:
            work(redis.Redis(host="queue", socket_timeout=2 * POLL_SECONDS))
        except (psycopg2.OperationalError, redis.RedisError) as error:
            print(f"again: {error}")
            time.sleep(1)


main()
