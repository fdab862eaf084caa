"""Which integers the int8 kernels of a target's processor take, and why.

x86: ONNX Runtime fuses unsigned activations only (``QDQIsInt8Allowed`` in
https://github.com/microsoft/onnxruntime/blob/main/onnxruntime/core/optimizer/qdq_transformer/selectors_actions/qdq_selector_action_transformer.h).
Without VNNI its kernels add two products of 8 bits in 16 (``VPMADDUBSW``), as
``MlasPlatformU8S8Overflow`` tells (https://github.com/microsoft/onnxruntime/blob/main/onnxruntime/core/mlas/lib/platform.cpp).

ARM: signed activations are fused too. Both signs have direct convolutions (``ConvSymU8S8Dispatch``,
``ConvSymS8S8Dispatch`` there), but the symmetric matrix product that convolutions and matrix
products fall back to takes signed activations only (``MlasSymmQgemmPackBSize``).
"""

from squeeze.core.cpu import Cpu

FULL, REDUCED = 8, 7


def weight_bits(wanted: str | int, target: Cpu) -> tuple[int, str]:
    """Choose 7- or 8-bit weights for ONNX Runtime, with the reason.

    Args:
        wanted: ``auto``, 7 or 8.
        target: The processor that will run the file.
    """
    if wanted != "auto":
        return int(wanted), f"{wanted}-bit weights: set in the recipe"
    if target.is_x86 and not target.has_vnni:
        return REDUCED, (
            f"7-bit weights: {target.model} has no VNNI, so its kernels add two products of an "
            "unsigned activation and a signed weight in 16 bits, where 2 x 255 x 127 saturates "
            "(at 32767) and 2 x 255 x 64 does not"
        )
    why = "has VNNI, which adds in 32 bits" if target.is_x86 else "adds without saturating"
    return FULL, f"8-bit weights: {target.model} ({target.machine}) {why}"


def signed_activations(target: Cpu) -> tuple[bool, str]:
    """Choose QInt8 (True) or QUInt8 activations for ONNX Runtime, with the reason.

    Args:
        target: The processor that will run the file.
    """
    if target.is_arm:
        return True, "QInt8 activations: the fast matrix products of ARM take signed ones only"
    return False, "QUInt8 activations: ONNX Runtime fuses signed ones into int8 kernels on ARM only"
