"""ONNX files through neural-compressor, which quantizes torch modules (PT2E) and autotunes them.

Source: https://github.com/intel/neural-compressor/blob/v3.10/docs/source/3x/PT_StaticQuant.md

What its graphs leave out is not added here: sums stay float, so that ONNX Runtime runs some of the
convolutions in float. The audit says which. Its dynamic graphs and bf16 modules do not become ONNX
files that run: the exporter has no operator for ranges computed at run time, ONNX Runtime no
bfloat16 convolution on the CPU.
"""

from squeeze.core.specs import BackendSpec

SPEC = BackendSpec(
    runtimes=("onnxruntime",),
    schemes=("static_int8", "fp16"),
    keeps_recovered=False,
    ignores=("calibrator", "weight_bits", "recovery", "keep_float", "mixed_precision"),
    autotunes=True,
    needs={
        "neural_compressor": "neural-compressor",
        "cpuinfo": "py-cpuinfo",
        "torchao": "torchao",
    },
    install="squeeze[neural-compressor]",
)
