"""Distance to the other filters: He et al. 2019, Filter Pruning via Geometric Median (arXiv 1811.00250), equation 5."""

from __future__ import annotations

import torch
import torch_pruning as tp
from torch import Tensor

from compressor.surgery.criteria._contract import Needs

_OF_FILTERS = (tp.function.prune_conv_out_channels, tp.function.prune_linear_out_channels)


class FPGM:
    """Sum of the distances of a filter's weights to those of all others (He et al. 2019): the replaceable ones go.

    A filter near the geometric median of its layer can be made up for by the others, however large its weights are.
    torch-pruning's own takes distances between squared weights, to which opposite filters are the same.
    """

    needs: Needs = "weights"

    def __call__(self, group: tp.Group) -> Tensor:
        """Scores `[width]`: mean of Σ_j ‖w − w_j‖₂ over the layers whose filters go together."""
        width = len(group[0].idxs)
        total, counted = torch.zeros(width), torch.zeros(width)
        for item in group:
            if item.dep.pruning_fn not in _OF_FILTERS:
                continue
            layer = item.dep.layer
            weight = layer.weight.detach().cpu().float()
            filters = (weight.transpose(0, 1) if getattr(layer, "transposed", False) else weight)[item.idxs].flatten(1)
            total.index_add_(0, torch.tensor(item.root_idxs), torch.cdist(filters, filters).sum(dim=1))
            counted.index_add_(0, torch.tensor(item.root_idxs), torch.ones(len(item.idxs)))
        return total / counted.clamp_min(1)
