"""What a detector learns from, one file per decoder.

Each has ``loss(outputs, targets, places, spec)``: the outputs as the module returns them, one
``Targets`` per image, and a scalar back. Ignored boxes teach nothing: places that lie on one and
belong to no other box count neither as right nor as wrong.
"""
