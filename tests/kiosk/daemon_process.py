"""The real daemon as a process of its own, as `make run` starts it, for as long as a test needs it."""

import contextlib
import os
import queue
import signal
import subprocess
import sys
import threading

START_DEADLINE_S = 60.0  # a machine with two busy cores; a second start takes under 5 s alone
STOP_DEADLINE_S = 15.0


class DaemonProcess:
    """`address` is the page's, "http://127.0.0.1:PORT/"."""

    def __init__(self, camera, folder, port=0):
        self.camera, self.folder, self.port = camera, folder, port
        self.address = ""

    def __enter__(self):
        command = [sys.executable, "-m", "runtime.cli", "run", "--camera", self.camera, "--port", str(self.port)]
        command += ["--state", str(self.folder)]
        quiet = {**os.environ, "PYTHONUNBUFFERED": "1", "OMP_NUM_THREADS": "1"}
        self._log = (self.folder.parent / "daemon.log").open("a+")
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=self._log, text=True, env=quiet)
        try:
            self.address = self._announced()
        except BaseException:
            self.__exit__()
            raise
        self.port = int(self.address.rstrip("/").rpartition(":")[2])
        return self

    def _announced(self):
        """The address from the daemon's standard output, which is then read to its end so that it never blocks."""
        lines = queue.Queue(100)
        self._reader = threading.Thread(target=self._read, args=(lines,), name="daemon-output")
        self._reader.start()
        while True:
            try:
                line = lines.get(timeout=START_DEADLINE_S)
            except queue.Empty:
                line = None
            if line is None:
                self._log.seek(0)
                raise AssertionError(f"the daemon told no address within {START_DEADLINE_S} s: {self._log.read()[-2000:]}")
            if "http://" in line:
                return line[line.index("http://") :].strip()

    def _read(self, lines):
        for line in self._process.stdout:
            with contextlib.suppress(queue.Full):
                lines.put_nowait(line)
        with contextlib.suppress(queue.Full):
            lines.put_nowait(None)

    def __exit__(self, *_):
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(STOP_DEADLINE_S)
        finally:
            self._process.kill()
            self._process.wait()
            self._reader.join()
            self._process.stdout.close()
            self._log.close()
