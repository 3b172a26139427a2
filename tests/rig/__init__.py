"""Our own drivers on the kernel's real ones: a guest under emulation, virtual devices, every fault that they can show. `make rig-test`."""
