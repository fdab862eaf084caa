"""Post-training quantization of exported files."""
