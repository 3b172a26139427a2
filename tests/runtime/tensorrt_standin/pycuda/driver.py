"""Stands in for pycuda.driver: memory that is numpy's, streams that do at once what they are given, unless they are captured."""

import itertools

import numpy as np

MEMORY = {}
STREAMS = {}
_addresses = itertools.count(0x1000, 0x1000)


def init(flags=0):
    pass


class _Context:
    def push(self):
        pass


class Device:
    def __init__(self, number):
        assert number == 0

    def retain_primary_context(self):
        return _Context()


class Stream:
    def __init__(self, flags=0):
        self.handle = next(_addresses)
        self.captured = None
        STREAMS[self.handle] = self

    def synchronize(self):
        assert self.captured is None, "a stream that is captured must not be waited for"


class _Allocation:
    def __init__(self, size):
        self.bytes = np.zeros(size, np.uint8)
        self.address = next(_addresses)
        MEMORY[self.address] = self.bytes

    def __int__(self):
        return self.address


def mem_alloc(size):
    return _Allocation(size)


def pagelocked_empty(shape, dtype, order="C", mem_flags=0):
    return np.full(shape, 77, dtype)


def memcpy_htod_async(dest, src, stream=None):
    assert isinstance(src, np.ndarray) and src.flags.c_contiguous
    dest.bytes[: src.nbytes] = src.view(np.uint8)


def memcpy_dtoh_async(dest, src, stream=None):
    assert isinstance(dest, np.ndarray) and dest.flags.c_contiguous
    dest.view(np.uint8)[:] = src.bytes[: dest.nbytes]


def spoil():
    for content in MEMORY.values():
        content ^= 1
