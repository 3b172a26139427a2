"""TensorRT in a process of its own: the worker, its protocol, the engines that are kept, and the backend that falls back."""
