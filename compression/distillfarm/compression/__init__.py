"""Compression: from a trained model to verified variants; imports no framework by itself."""
