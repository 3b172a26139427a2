"""The handpiece on a serial port: range, light and button in the sentences of PROTOCOL.md, and range sensors off the shelf."""
