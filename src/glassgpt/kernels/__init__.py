"""The few operations PyTorch is slow at, each beside its plain PyTorch twin."""
