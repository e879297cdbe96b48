"""ONNX Runtime with TensorRT on an NVIDIA GPU. Does not import torch."""

from __future__ import annotations

from compressor.runtimes import _nvidia
from compressor.runtimes._onnx_runtime import OnnxRuntime


class OrtTensorRt(OnnxRuntime):
    """ONNX Runtime with TensorRT on an NVIDIA GPU; CUDA takes what TensorRT cannot run."""

    needs = ("gpu",)

    def __init__(
        self, *, threads: int = 0, device: int = 0, fp16: bool = False, bf16: bool = False, int8: bool = False
    ) -> None:
        """Set up without a model.

        Args:
            threads: threads of what stays on the CPU; 0 for all cores this process may use
            device: number of the GPU
            fp16: layers may run in 16 bits
            bf16: layers may run in bfloat16, on GPUs that have it (Ampere or later)
            int8: layers may run in 8 bits, as the model's quantization says
        """
        super().__init__(
            threads=threads,
            provider="TensorrtExecutionProvider",
            provider_options={  # its flags are True and False in Python, where CUDA's are 1 and 0
                "device_id": str(device),
                "trt_fp16_enable": str(fp16),
                "trt_int8_enable": str(int8),
                **({"trt_bf16_enable": "True"} if bf16 else {}),  # older releases do not know the word
            },
            then=[(_nvidia.CUDA, {"device_id": str(device)})],
            install="pip install 'onnxruntime-gpu[cuda,cudnn]' tensorrt, in the place of onnxruntime, "
            "on a machine with an NVIDIA GPU",
        )

    def _load_libraries(self) -> None:
        _nvidia.load_libraries(tensorrt=True)
