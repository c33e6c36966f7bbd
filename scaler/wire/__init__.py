"""Bytes to messages and back: framing, codec, handshake. Without I/O; the only importer of capnp."""
