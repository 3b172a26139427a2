"""Stands in for libcuda.so.1: the functions that the worker calls, with the arguments that ctypes would pass.

STANDIN_DRIVER: "none", no GPU answers.
STANDIN_GRAPH: "none", nothing can be captured; "wrong", a graph gives other numbers; "breaks", it runs once.
"""

import os

NO_DEVICE = 100
NOT_SUPPORTED = 801


def _streams():
    import pycuda.driver

    return pycuda.driver


class _Library:
    def __init__(self):
        self._graphs = {}

    def cuInit(self, flags):  # noqa: N802
        return NO_DEVICE if os.environ.get("STANDIN_DRIVER") == "none" else 0

    def cuDeviceGetCount(self, count):  # noqa: N802
        count._obj.value = 1
        os.environ["STANDIN_ASKED"] = "1"
        return 0

    def cuDriverGetVersion(self, version):  # noqa: N802
        version._obj.value = 12060
        return 0

    def cuDeviceGetName(self, name, size, device):  # noqa: N802
        name.value = b"Stand-in GPU"
        return 0

    def cuDeviceGetAttribute(self, value, attribute, device):  # noqa: N802
        value._obj.value = {75: 8, 76: 7}[attribute]
        return 0

    def cuDevicePrimaryCtxSetFlags_v2(self, device, flags):  # noqa: N802
        return 0

    def cuStreamBeginCapture_v2(self, stream, mode):  # noqa: N802
        if os.environ.get("STANDIN_GRAPH") == "none":
            return NOT_SUPPORTED
        _streams().STREAMS[stream.value].captured = []
        return 0

    def cuStreamEndCapture(self, stream, graph):  # noqa: N802
        found = _streams().STREAMS[stream.value]
        self._graphs[len(self._graphs) + 1], found.captured = found.captured, None
        graph._obj.value = len(self._graphs)
        return 0

    def cuGraphInstantiateWithFlags(self, ready, graph, flags):  # noqa: N802
        ready._obj.value = graph.value
        return 0

    def cuGraphDestroy(self, graph):  # noqa: N802
        return 0

    def cuGraphLaunch(self, graph, stream):  # noqa: N802
        if os.environ.get("STANDIN_GRAPH") == "breaks" and os.environ.get("STANDIN_LAUNCHED"):
            return NOT_SUPPORTED
        os.environ["STANDIN_LAUNCHED"] = "1"
        for work in self._graphs[graph.value]:
            work()
            if os.environ.get("STANDIN_GRAPH") == "wrong":
                _streams().spoil()
        return 0

    def cuGraphExecDestroy(self, graph):  # noqa: N802
        del self._graphs[graph.value]
        return 0


LIBRARY = _Library()
