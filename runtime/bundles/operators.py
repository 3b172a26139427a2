"""Which operators a bundle's networks may use: what ours and scikit-learn's need, nothing that runs a graph of its own, no texts.

Names of https://onnx.ai/onnx/operators/, up to the opsets below.
"""

from __future__ import annotations

from typing import Final

MAX_IR: Final = 10
MAX_OPSETS: Final = {"": 18, "ai.onnx.ml": 5}
"""Newest opset of each domain that is taken; "" is ai.onnx. There are no other domains."""

WITH_GRAPHS: Final = frozenset({"If", "Loop", "Scan", "SequenceMap"})

AI_ONNX = """
Abs Add And ArgMax ArgMin AveragePool BatchNormalization Cast CastLike Ceil Clip Concat Constant ConstantOfShape Conv ConvInteger
ConvTranspose Cos CumSum DepthToSpace DequantizeLinear Div Dropout DynamicQuantizeLinear Elu Equal Erf Exp Expand Flatten Floor GRU
Gather GatherElements GatherND Gemm GlobalAveragePool GlobalMaxPool Greater GreaterOrEqual GroupNormalization HardSigmoid HardSwish
Identity InstanceNormalization IsInf IsNaN LSTM LayerNormalization LeakyRelu Less LessOrEqual Log LogSoftmax MatMul MatMulInteger Max
MaxPool Mean Min Mish Mul Neg Not Or PRelu Pad Pow QLinearConv QLinearMatMul QuantizeLinear Reciprocal ReduceL1 ReduceL2
ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare Relu Reshape Resize Round Selu Shape Sigmoid Sign
Sin Size Slice Softmax Softplus Softsign SpaceToDepth Split Sqrt Squeeze Sub Sum Tanh Tile TopK Transpose Trilu Unsqueeze Where Xor
"""
AI_ONNX_ML = """
ArrayFeatureExtractor Binarizer FeatureVectorizer Imputer LinearClassifier LinearRegressor Normalizer Scaler TreeEnsembleClassifier
TreeEnsembleRegressor
"""
OPERATORS: Final = {"": frozenset(AI_ONNX.split()), "ai.onnx.ml": frozenset(AI_ONNX_ML.split())}

SIDES: Final = frozenset(
    {"pads", "kernel_shape", "strides", "dilations", "output_padding", "output_shape", "blocksize", "hidden_size", "group"}
)
"""Attributes that make outputs larger than inputs, or loops longer: their numbers are bounded."""
MAX_SIDE: Final = 8192
MAX_ELEMENTS: Final = 2**26
"""Of any tensor that a graph asks for by a constant shape: a quarter of a gigabyte as float32."""
SHAPES: Final = {"ConstantOfShape": 0, "Expand": 1, "Reshape": 1, "Tile": 1, "Resize": 3}
"""Which input of an operator is a shape, or how often something is repeated."""
FACTORS: Final = {"Resize": 2}
MAX_FACTOR: Final = 64.0
