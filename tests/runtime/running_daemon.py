"""A whole daemon for a test, in this process, on a free port, with a scripted camera; and a client of its live view."""

import contextlib
import json
import struct
import threading
from dataclasses import dataclass, field

import httpx
from websockets.asyncio.client import connect

from device import camera as device_camera
from runtime.config import load_settings
from runtime.daemon import Daemon
from tests.eventually import DEADLINE_S, eventually
from tests.scripted_camera import scripted


@dataclass
class Running:
    """A running daemon: its address, its camera, and what `Daemon.run` raised at the end."""

    daemon: Daemon
    camera: type
    address: str = ""
    errors: list = field(default_factory=list)

    @property
    def port(self):
        return int(self.address.rstrip("/").rpartition(":")[2])

    @property
    def live(self):
        return f"ws://127.0.0.1:{self.port}/api/live"

    def client(self):
        return httpx.Client(base_url=self.address, timeout=DEADLINE_S)

    def get(self, path):
        with self.client() as client:
            return client.get(path)

    def status(self):
        return self.get("/api/status").json()

    def until(self, check):
        """The first status for which `check(status)` holds."""
        return eventually(lambda: (status := self.status()) and check(status) and status)


@contextlib.contextmanager
def running(folder, *lives, settings=None, **attributes):
    """Run a daemon with its state in `folder`, over a camera that lives `lives`; `settings` are dotted keys."""
    camera = scripted(*lives, **attributes)
    drivers = dict(device_camera.DRIVERS)
    device_camera.DRIVERS["scripted"] = "tests.runtime.running_daemon:_camera"
    _cameras.append(camera)
    overrides = {"camera.uri": "scripted:", "server.port": 0, "store.folder": folder, "store.reserve_mb": 0}
    announced = threading.Event()

    def announce(address):
        run.address = address
        announced.set()

    def body():
        try:
            run.daemon.run()
        except Exception as error:
            run.errors.append(error)
        finally:
            announced.set()

    run = Running(Daemon(load_settings(None, overrides | (settings or {})), announce=announce), camera)
    thread = threading.Thread(target=body, name="daemon")
    thread.start()
    try:
        assert announced.wait(DEADLINE_S)
        if not run.address:
            raise run.errors[0]
        yield run
    finally:
        run.daemon.stop()
        thread.join(DEADLINE_S)
        _cameras.remove(camera)
        device_camera.DRIVERS.clear()
        device_camera.DRIVERS.update(drivers)
        assert not thread.is_alive()


_cameras: list = []


def _camera(uri):
    return _cameras[-1](uri)


class LiveClient:
    """A client of the live view that acknowledges only what a test tells it to."""

    def __init__(self, socket):
        self.socket = socket
        self.states = []

    async def message(self):
        """The next message: (kind, content); kind is "frame" (header, jpeg), "result" or "state"."""
        data = await self.socket.recv()
        if isinstance(data, bytes):
            size = struct.unpack(">I", data[:4])[0]
            return "frame", (json.loads(data[4 : 4 + size]), data[4 + size :])
        content = json.loads(data)
        if content["type"] == "state":
            self.states.append(content)
        return content["type"], content

    async def next(self, wanted, check=lambda content: True):
        """The next message of a kind; the others on the way are left unanswered."""
        while True:
            kind, content = await self.message()
            if kind == wanted and check(content):
                return content

    async def ack(self, number):
        await self.socket.send(json.dumps({"type": "ack", "number": number}))

    async def ack_result(self, sequence):
        await self.socket.send(json.dumps({"type": "ack_result", "sequence": sequence}))


@contextlib.asynccontextmanager
async def live_client(run, host=None, **options):
    """Connect to the live view of a running daemon, where wanted under another host name."""
    address = run.live if host is None else f"ws://{host}/api/live"
    async with connect(address, host="127.0.0.1", port=run.port, compression=None, max_size=None, **options) as socket:
        yield LiveClient(socket)
