"""The way of numbers from the host, where they are drawn and recorded, to the device and back."""

import numpy as np
import torch

__all__: list[str] = []


def to_device(numbers: np.ndarray, device: str | torch.device) -> torch.Tensor:
    """Return a copy in float64 on the device."""
    return torch.from_numpy(np.array(numbers, np.float64)).to(device)


def to_host(tensor: torch.Tensor) -> np.ndarray:
    """Return the numbers as an array."""
    return tensor.cpu().numpy()
