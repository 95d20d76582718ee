"""Exports to ONNX: the dialogue, the processes, the card above the plots."""
