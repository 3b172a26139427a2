"""What a person can set about how networks are run."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator


class InferenceSettings(BaseModel):
    """The `[inference]` table."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    backend: Literal["auto", "onnxruntime", "tensorrt"] = Field(
        default="auto",
        description="what runs the networks: TensorRT where there is an NVIDIA GPU, with ONNX Runtime behind it, or one alone",
    )
    precision: Literal["auto", "fp32", "fp16", "int8"] = Field(
        default="auto", description="of TensorRT engines; auto takes fp16 where the bundle has it"
    )
    weakly_typed: bool = Field(
        default=False, description="TensorRT 10 alone: let it choose precisions itself, where a strongly typed engine cannot be built"
    )
    python: Path | None = Field(default=None, description="Python that has tensorrt and pycuda, absolute; the system's where it is not set")

    @field_validator("python", mode="before")
    @classmethod
    def _absolute(cls, python: object) -> object:
        if python is None or python == "":
            return None
        if not isinstance(python, (str, Path)) or not Path(python).is_absolute():
            raise ValueError('give an absolute path, for example "/usr/bin/python3"')
        return Path(python)
