"""A camera that does what a test wrote down: frames, silence, loss, damage. It serves the address `scripted:` in tests.

A script is a list of lives, one for each time the camera is opened (the last one is repeated); a life is a list of steps:
a number n gives n frames, bytes are sent as they are, an exception is raised, "block" blocks until cancelled, a callable is
called and its Frame returned. After its last step a life goes on giving frames.
"""

import threading
import time

import cv2
import numpy as np

from device.camera import Camera, CameraInfo
from device.errors import CameraTimeoutError
from device.frame import Frame

WIDTH, HEIGHT, FPS = 64, 48, 100.0


def jpeg(level=128, size=(WIDTH, HEIGHT)):
    """A JPEG of one grey level."""
    done, data = cv2.imencode(".jpg", np.full((size[1], size[0], 3), level, np.uint8))
    assert done
    return data.tobytes()


PLAIN_JPEG = jpeg()


class ScriptedCamera(Camera):
    """See the module. `script` and `opened` belong to the class, so that a test can set them where a daemon makes the camera."""

    script = ((),)
    opened = 0
    send_jpeg = True
    identity = "scripted"
    period_s = 1 / FPS

    def _open(self):
        cls = type(self)
        life = cls.script[min(cls.opened, len(cls.script) - 1)]
        cls.opened += 1
        self._cancelled = threading.Event()
        if life and isinstance(life[0], Exception) and getattr(life[0], "at_open", False):
            raise life[0]
        self._steps = [step for each in life for step in ([None] * each if isinstance(each, int) else [each])]
        self._sequence = 0

    def _close(self):
        pass

    def cancel(self):
        """Wake a blocked read."""
        if hasattr(self, "_cancelled"):
            self._cancelled.set()

    def _info(self):
        return CameraInfo(driver="scripted", source=str(self.uri), width=WIDTH, height=HEIGHT, fps=FPS, identity=self.identity)

    def _read(self, timeout_s):
        step = self._steps.pop(0) if self._steps else None
        if isinstance(step, Exception):
            raise step
        if step == "block":
            self._cancelled.wait(timeout_s)
            raise CameraTimeoutError(f"{self.uri} sent nothing for {timeout_s:g} s")
        self._sequence += 1
        if callable(step):
            return step(self._sequence)
        time.sleep(self.period_s)
        if isinstance(step, bytes) or self.send_jpeg:
            picture = {"jpeg": step or PLAIN_JPEG}
        else:
            picture = {"image": np.full((HEIGHT, WIDTH, 3), 128, np.uint8)}
        return Frame(sequence=self._sequence, captured_ns=time.monotonic_ns(), source=str(self.uri), **picture)


def at_open(error):
    """The exception, to be raised already when the camera is opened."""
    error.at_open = True
    return error


def scripted(*lives, **attributes):
    """A camera class of its own for one test."""
    return type("ScriptedCameraOfATest", (ScriptedCamera,), {"script": lives or ((),), "opened": 0, **attributes})
