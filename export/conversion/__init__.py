"""From a trained network to a verified ONNX graph and a bundle."""
