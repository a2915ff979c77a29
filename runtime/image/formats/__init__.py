"""The formats of picture files, one module each, and the decoding and encoding of their pixels."""
