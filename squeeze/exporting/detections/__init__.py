"""ONNX files that end at boxes: decoding and suppression behind a finished graph."""
