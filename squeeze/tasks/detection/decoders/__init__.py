"""Decoders: from a detector's raw outputs to candidate boxes, one file per rule.

A decoder is a module with the functions of ``base.Decoder``. Its name is ``DetectorSpec.decoder``.
"""
