"""A TCP proxy on this machine whose line can be cut: connections stay open, and nothing comes through any more."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress


class Proxy:
    """Listens on ``port`` of localhost and passes everything on to another port, until ``cut``."""

    def __init__(self, target: int):
        self.target = target
        self.is_cut = threading.Event()
        self.server = socket.create_server(("localhost", 0))
        self.port: int = self.server.getsockname()[1]
        self.open: list[socket.socket] = [self.server]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self) -> None:
        with suppress(OSError):  # the server was closed
            while True:
                near, _ = self.server.accept()
                self.open.append(near)
                try:
                    far = socket.create_connection(("localhost", self.target))
                except ConnectionRefusedError:  # nobody listens yet: who connects tries again
                    near.close()
                    continue
                self.open.append(far)
                for pair in ((near, far), (far, near)):
                    threading.Thread(target=self.forward, args=pair, daemon=True).start()

    def forward(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while content := source.recv(65536):
                if self.is_cut.is_set():
                    continue
                sink.sendall(content)
            if not self.is_cut.is_set():
                sink.shutdown(socket.SHUT_WR)

    def cut(self) -> None:
        self.is_cut.set()

    def close(self) -> None:
        for connection in self.open:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)  # wakes whoever waits for it
            connection.close()
