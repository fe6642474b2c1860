"""The kernels of one training step."""

import torch
from torch import Tensor

from drasclr_core.model.encoder import Encoder


class StepKernels:
    """The kernels at a landmark and at its neighbours, mixed once for all groups of a step.

    Parameters
    ----------
    encoder : Encoder
    codes : (1 + k, 3) tensor
        Location codes of the landmark and of its neighbours.

    Attributes
    ----------
    centre, around : list of (1, out, in, 3, 3, 3) and of (k, out, in, 3, 3, 3) tensors
        Of each convolution. They take the gradients of a group.
    """

    def __init__(self, encoder: Encoder, codes: Tensor) -> None:
        # In full precision whatever the convolutions run in, as the experts themselves.
        mixed = [layer.split([1, len(codes) - 1]) for layer in encoder.kernels(codes)]
        leaves = [[part.detach().requires_grad_() for part in layer] for layer in mixed]
        self.centre = [centre for centre, _ in leaves]
        self.around = [around for _, around in leaves]
        self._mixed = [part for layer in mixed for part in layer]
        self._leaves = [leaf for layer in leaves for leaf in layer]

    def backward(self) -> None:
        """Send the gradients of one group through the mixing.

        Group by group, for so do several processes: those of all groups at once would add up in another order.
        """
        used = [place for place, leaf in enumerate(self._leaves) if leaf.grad is not None]
        if used:  # plain convolutions mix nothing
            gradients = [self._leaves[i].grad for i in used]
            torch.autograd.backward([self._mixed[i] for i in used], gradients, retain_graph=True)
        for leaf in self._leaves:
            leaf.grad = None
