"""One writer for each PostgreSQL node, all the time: which of them take a write, and when.

`postgres_writers.py PORT,PORT,PORT`, run by the interpreter of .clients/python. Each line that it prints is a write
that was acknowledged: node, when it was begun and acknowledged (the monotonic clock, in seconds), and its number.
"""

from __future__ import annotations

import itertools
import os
import sys
import threading
import time

import psycopg2

PAUSE_S = 0.02
CONNECTING_S = 2
_printing = threading.Lock()
_numbers = itertools.count(1)


def write(node: int, port: int) -> None:
    """Insert rows for as long as the node takes them; try again when it takes them no more."""
    while True:
        try:
            connection = psycopg2.connect(
                host="127.0.0.1",
                port=port,
                user="postgres",
                password="example",
                dbname="postgres",
                connect_timeout=CONNECTING_S,
            )
            try:
                connection.autocommit = True
                cursor = connection.cursor()
                cursor.execute("CREATE TABLE IF NOT EXISTS written (number bigint)")
                while True:
                    _insert(node, cursor)
                    time.sleep(PAUSE_S)
            finally:
                connection.close()
        except psycopg2.Error:
            time.sleep(PAUSE_S)


def _insert(node: int, cursor: psycopg2.extensions.cursor) -> None:
    number = next(_numbers)
    begun = time.monotonic()
    cursor.execute("INSERT INTO written VALUES (%s)", (number,))
    line = f"{node} {begun} {time.monotonic()} {number}\n"
    with _printing:
        os.write(sys.stdout.fileno(), line.encode())


if __name__ == "__main__":
    for node, port in enumerate(sys.argv[1].split(",")):
        threading.Thread(target=write, args=(node, int(port)), daemon=True).start()
    sys.stdin.readline()
