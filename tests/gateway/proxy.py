"""A proxy in front of a data plane that cuts, or politely ends, what the gateway sends."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable
from contextlib import suppress

FRAME_HEAD = 9
DATA, HEADERS = 0, 1
END_STREAM, END_HEADERS = 1, 4
# ``grpc-status: 0`` as a literal of HPACK: all is well, and this was all.
POLITE = b"\x00\x0bgrpc-status\x010"

Frame = tuple[int, int, bytes]
# Told of each frame of the gateway: its place and its type. ``cut`` ends the connection before it,
# ``end`` lets it through as if the call had ended well there.
Judge = Callable[[int, int], str]


class Proxy:
    """Passes frames of HTTP/2 on until a judge says otherwise.

    Attributes:
        frames: The types of the frames that the gateway has sent, one list for each connection.
    """

    def __init__(self, port: int, judge: Judge = lambda place, kind: "") -> None:
        self.target = port
        self.judge = judge
        self.frames: list[list[int]] = []
        self.links: list[socket.socket] = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.threads: list[threading.Thread] = []
        self.start(self.accept)

    def start(self, work, *arguments):
        thread = threading.Thread(target=work, args=arguments, daemon=True)
        self.threads.append(thread)
        thread.start()

    def accept(self):
        with suppress(OSError):
            while True:
                near, _ = self.listener.accept()
                far = socket.create_connection(("127.0.0.1", self.target))
                self.links += [near, far]
                self.start(self.upwards, near, far)
                self.start(self.downwards, far, near)

    def upwards(self, near, far):
        with suppress(OSError):
            while data := near.recv(65_536):
                far.sendall(data)
        end(far)

    def downwards(self, far, near):
        seen: list[int] = []
        self.frames.append(seen)
        stream = far.makefile("rb")
        with suppress(OSError, ValueError):
            while head := stream.read(FRAME_HEAD):
                size, kind, number = int.from_bytes(head[:3], "big"), head[3], head[5:9]
                body = stream.read(size)
                verdict = self.judge(len(seen), kind)
                seen.append(kind)
                if verdict == "cut":
                    break
                near.sendall(head + body)
                if verdict == "end":
                    flags = bytes([HEADERS, END_STREAM | END_HEADERS])
                    near.sendall(len(POLITE).to_bytes(3, "big") + flags + number + POLITE)
                    break
        with suppress(OSError, ValueError):
            stream.close()
        if self.frames[-1] is seen and seen and verdict == "end":
            return  # Nothing more is said, and the connection stays.
        end(near)
        end(far)

    def close(self):
        # Shut first: a thread that waits in accept is not woken by closing.
        for one in (self.listener, *self.links):
            end(one)
            one.close()
        for thread in self.threads:
            thread.join(5)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def end(link):
    """Break a connection off, as a network that fails does."""
    with suppress(OSError):
        link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    with suppress(OSError):
        link.shutdown(socket.SHUT_RDWR)
