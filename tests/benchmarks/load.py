"""Requests at a steady rate, from a process of its own: each is sent when its time has come, and timed from then on.

So a server that stalls is charged with all who would have come meanwhile. Written by hand over plain sockets: what is
measured are fractions of a millisecond. ``python -m benchmarks.load PORT RATE SECONDS CONNECTIONS``, the head of the
request as standard input; prints the latencies in microseconds.
"""

from __future__ import annotations

import json
import socket
import sys
import threading
import time

_PATIENCE = 30.0


def main() -> None:
    """Send, measure, print."""
    port, rate, seconds, connections = (int(word) for word in sys.argv[1:5])
    head = sys.stdin.buffer.read()
    # A thread whose answer is there would else wait up to 5 ms for one that runs, and we would measure that.
    sys.setswitchinterval(1e-5)
    began = time.perf_counter() + 0.2
    found: list[float] = []
    threads = [
        threading.Thread(target=_send, args=(port, head, began + each / rate, connections / rate, seconds, found))
        for each in range(connections)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(json.dumps([round(each * 1e6) for each in found]))


def _send(port: int, head: bytes, due: float, every: float, seconds: int, found: list[float]) -> None:
    end = due + seconds
    with socket.create_connection(("127.0.0.1", port), timeout=_PATIENCE) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while due < end:
            time.sleep(max(0.0, due - time.perf_counter()))
            connection.sendall(head)
            _read_answer(connection)
            found.append(time.perf_counter() - due)
            due += every


def _read_answer(connection: socket.socket) -> None:
    answer = b""
    while b"\r\n\r\n" not in answer:
        answer += connection.recv(65536)
    begin, _, rest = answer.partition(b"\r\n\r\n")
    if not begin.startswith(b"HTTP/1.1 200 "):
        raise RuntimeError(begin.decode())
    length = int(begin.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
    while len(rest) < length:
        rest += connection.recv(65536)


if __name__ == "__main__":
    main()
