"""Semantic segmentation: each pixel belongs to exactly one of K classes, or counts for nothing.

The metric is the mean intersection over union (mIoU) over the classes that occur in the masks, from pixels summed over all
images; a class told where it is not lowers the IoU of those that are there. It has an interval and a paired test from
images drawn again. A pixel whose outputs hold a NaN decides nothing: it is a miss of its own class, and agrees with
no other. Ties go to the lower class number.

Shape letters: N images, B batch, K classes, H height, W width, S statistics of an image, R resamples.
"""

from __future__ import annotations

import colorsys
from typing import TYPE_CHECKING, Any

import numpy as np

from compressor.errors import DataError, ModelError
from compressor.scores import Metric, Wording
from compressor.tasks import _smoothing
from compressor.tasks._lost import WITHOUT_CLASS
from compressor.tensors import IGNORED, LOGITS, MASK, Rows, Schema, TensorSpec

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from compressor.scores import Findings
    from compressor.tensors import Batch

_MOST_PAIRED = 40  # classes: of more, the K² counts of each image would take more memory than the images
_WORSE = 1e-9


class Segmentation:
    """A class for each pixel; judged by the mean intersection over union of the classes."""

    primary = "miou"
    gives = ("rows:softmax", "maps")
    wording = Wording(
        score="IoU",
        counted="pixels",
        counts_as="pixels of the test samples in a class",
        purpose=", a class of {count} for each pixel,",
        output="a map of logits of each class for each sample, as large as the picture",
    )

    def __init__(self, *, label_smoothing: float = 0.0) -> None:
        """Set up the task.

        Args:
            label_smoothing: share of each hard label spread evenly over all classes (training only)

        Raises:
            InputError: `label_smoothing` is not in 0–1 (1 excluded).
        """
        self.label_smoothing = _smoothing.checked(label_smoothing)

    def targets(self, classes: Sequence[str]) -> Schema:
        """A class number for each pixel, 255 where none counts."""
        return Schema.of(TensorSpec(MASK, "uint8", ("height", "width")))

    def outputs(self, classes: Sequence[str], inputs: Schema) -> Schema:
        """Logits for each pixel of the image."""
        shapes = [spec.shape[1:] for spec in inputs if len(spec.shape) == 3]
        return Schema.of(TensorSpec(LOGITS, "float32", (len(classes), *(shapes[0] if shapes else ("height", "width")))))

    def hard_loss(self, outputs: Mapping[str, Tensor], targets: Mapping[str, Tensor]) -> Tensor:
        """Cross-entropy with the masks, a scalar: mean over images."""
        return self.hard_losses(outputs, targets).mean()

    def hard_losses(self, outputs: Mapping[str, Tensor], targets: Mapping[str, Tensor]) -> Tensor:
        """Cross-entropy of each image `[B]`: mean over the pixels that count, 0 where none does."""
        from torch.nn import functional as F

        mask_BHW = targets[MASK].long()
        loss_BHW = F.cross_entropy(
            outputs[LOGITS],
            mask_BHW,
            ignore_index=IGNORED,
            label_smoothing=self.label_smoothing,
            reduction="none",
        )
        counted_B = (mask_BHW != IGNORED).sum(dim=(1, 2)).clamp(min=1)
        losses_B: Tensor = loss_BHW.sum(dim=(1, 2)) / counted_B
        return losses_B

    def rows(self, outputs: Mapping[str, Tensor], batch: Batch) -> Rows:
        """A row for each pixel, image by image and line by line; those that count for nothing weigh nothing.

        Of an image without a mask every pixel weighs, since a teacher tells something of each.
        """
        logits_BKHW = outputs[LOGITS]
        mask_BHW, known_B11 = batch.targets[MASK].long(), batch.labelled[:, None, None]
        counts_BHW = (mask_BHW != IGNORED) | ~known_B11
        target_BHW = mask_BHW.where((mask_BHW != IGNORED) & known_B11, -1)
        values_MK = logits_BKHW.permute(0, 2, 3, 1).reshape(-1, logits_BKHW.shape[1])
        return Rows(
            values_MK,
            weight=counts_BHW.reshape(-1).to(values_MK.dtype),
            per_sample=mask_BHW[0].numel() if len(mask_BHW) else 1,
            target=target_BHW.reshape(-1),
        )

    def metric(self, name: str) -> Metric:
        """Shares in 0–1, and the loss in nats."""
        return Metric(name, "nats", larger_is_better=False) if name == "loss" else Metric(name)

    def findings(
        self, outputs: Mapping[str, NDArray[Any]], targets: Mapping[str, NDArray[Any]]
    ) -> dict[str, NDArray[Any]]:
        """Of each image and class the pixels that are of it (`true`), told to be (`told`) and both (`hits`); the `loss` in
        nats, mean over its pixels, and their number (`pixels`); up to 40 classes which was told for which (`pairs`).

        Raises:
            DataError: Outputs and masks do not fit together, or there are none.
        """
        logits_NKHW, masks_NHW = outputs[LOGITS], targets[MASK]
        _check_fit(logits_NKHW, masks_NHW)
        num_classes = logits_NKHW.shape[1]
        rows = [_of_image(logits, mask) for logits, mask in zip(logits_NKHW, masks_NHW)]
        counts_NKK = np.stack([counts for counts, _, _ in rows])
        found = {
            "hits": counts_NKK.diagonal(axis1=1, axis2=2).copy(),
            "true": counts_NKK.sum(axis=2, dtype=np.int32),
            "told": counts_NKK[:, :, :num_classes].sum(axis=1, dtype=np.int32),
            "loss": np.array([loss for _, loss, _ in rows]),
            "pixels": np.array([pixels for _, _, pixels in rows], np.int64),
        }
        return found | ({"pairs": counts_NKK[:, :, :num_classes].copy()} if num_classes <= _MOST_PAIRED else {})

    def alike(self, one: Mapping[str, NDArray[Any]], other: Mapping[str, NDArray[Any]]) -> NDArray[np.float64]:
        """The share of the pixels of each image for which both sets of outputs `[B, K, H, W]` name the same class, `[B]`."""
        one_BHW, other_BHW = self.predictions(one), self.predictions(other)
        same_BHW = (one_BHW == other_BHW) & (one_BHW >= 0)
        return np.asarray(same_BHW.mean(axis=(1, 2), dtype=np.float64))

    def predictions(self, outputs: Mapping[str, NDArray[Any]]) -> NDArray[np.int64]:
        """The class of each pixel `[B, H, W]`; -1 where its outputs hold a NaN."""
        return np.stack([_decided(logits) for logits in outputs[LOGITS]])

    def metrics(self, findings: Findings) -> dict[str, float]:
        """How well pixels are told.

        Returns:
            `miou`, the mean of the classes' intersection over union; `pixel_accuracy`, the share of pixels told right;
            `mean_accuracy`, the mean of the classes' shares of pixels told right, in 0–1, all over the classes that occur;
            `loss`, the mean over images of the negative log-likelihood of their pixels in nats.
        """
        hits_K, true_K = findings["hits"].sum(axis=0, dtype=np.float64), findings["true"].sum(axis=0, dtype=np.float64)
        occurs_K = true_K > 0
        total = max(1.0, float(findings["pixels"].sum(dtype=np.float64)))
        return {
            "miou": float(self.of_sums(self.statistics(findings).sum(axis=0)[None])[0]),
            "pixel_accuracy": float(hits_K.sum() / total),
            "mean_accuracy": float((hits_K[occurs_K] / true_K[occurs_K]).mean()) if occurs_K.any() else 0.0,
            "loss": float(findings["loss"].mean()),
        }

    def statistics(self, findings: Findings) -> NDArray[np.float64]:
        """Pixels of each class that are told right, are of it, and are told to be, `[N, 3K]`."""
        columns = [findings[name].astype(np.float64) for name in ("hits", "true", "told")]
        return np.concatenate(columns, axis=1)

    def of_sums(self, sums_RS: NDArray[np.float64]) -> NDArray[np.float64]:
        """The mIoU `[R]` of sums over images, over the classes that occur in them."""
        hits_RK, true_RK, told_RK = np.split(np.asarray(sums_RS, np.float64), 3, axis=1)
        occurs_RK = true_RK > 0
        union_RK = true_RK + told_RK - hits_RK
        iou_RK = np.divide(hits_RK, union_RK, out=np.zeros_like(hits_RK), where=occurs_RK)
        found_R: NDArray[np.float64] = iou_RK.sum(axis=1) / np.maximum(occurs_RK.sum(axis=1), 1)
        return found_R

    def per_class(self, findings: Findings, *, num_classes: int) -> list[dict[str, int | float | None]]:
        """For each class: `samples`, its pixels; `accuracy`, the share of them told right; `iou`; None if it is absent."""
        hits_K, true_K, told_K = (findings[name].sum(axis=0, dtype=np.int64) for name in ("hits", "true", "told"))
        return [
            {
                "samples": int(true),
                "accuracy": float(hits / true) if true else None,
                "iou": float(hits / (true + told - hits)) if true else None,
            }
            for hits, true, told in zip(hits_K, true_K, told_K)
        ]

    def confusion(self, findings: Findings, num_classes: int) -> NDArray[np.int64] | None:
        """Pixels `[true class, predicted class]`; None above 40 classes."""
        if "pairs" not in findings:
            return None
        return np.asarray(findings["pairs"].sum(axis=0, dtype=np.int64))

    def against(self, base: Findings, other: Findings, *, num_classes: int) -> dict[str, Any]:
        """Nothing: how often pixels are told alike is what `alike` says."""
        return {}

    def worst(self, base: Findings, other: Findings, *, most: int) -> list[dict[str, Any]]:
        """The images whose mIoU falls most against the base's: `position`, and `miou`, the base's and the other's."""
        base_N, other_N = (self.of_sums(self.statistics(each)) for each in (base, other))
        fallen_N = base_N - other_N
        order = np.argsort(-fallen_N, kind="stable")
        return [
            {
                "position": position,
                **WITHOUT_CLASS,
                "miou": [float(base_N[position]), float(other_N[position])],
            }
            for position in order[:most].tolist()
            if fallen_N[position] > _WORSE
        ]

    def pictured(
        self,
        pictures: NDArray[np.uint8],
        targets: Mapping[str, NDArray[Any]],
        base: Mapping[str, NDArray[Any]],
        other: Mapping[str, NDArray[Any]],
    ) -> NDArray[np.uint8]:
        """Above each picture and its mask, below the masks of both models, `[B, 3, 2 H, 2 W]`; what is ignored is black."""
        masks = [targets[MASK], self.predictions(base), self.predictions(other)]
        if pictures.shape[1] == 1:
            pictures = np.repeat(pictures, 3, axis=1)
        true, before, after = (_COLORS[np.where(mask < 0, IGNORED, mask)].transpose(0, 3, 1, 2) for mask in masks)
        above, below = np.concatenate([pictures, true], axis=3), np.concatenate([before, after], axis=3)
        return np.concatenate([above, below], axis=2)

    def constants(self, findings: Findings, classes: Sequence[str]) -> Iterator[tuple[str, NDArray[np.bool_]]]:
        """Nothing: an image is not right or wrong as a whole."""
        return iter(())

    def reliability(self, findings: Findings) -> list[dict[str, float]]:
        """Nothing: how sure a model is of each pixel is not kept."""
        return []

    def applied(self) -> str:
        """What turns an output into an answer."""
        return "argmax over axis 1 for the class of each pixel"

    def check_outputs(self, shape: tuple[int, ...], num_classes: int) -> None:
        """Refuse a network whose outputs cannot be read as `num_classes` classes of each pixel.

        Args:
            shape: Shape of the outputs for some batch.
            num_classes: Number of classes in the data.

        Raises:
            ModelError: `shape` is not `[B, num_classes, H, W]`.
        """
        if len(shape) != 4:
            raise ModelError(
                f"the network answers with shape {list(shape)}; segmentation needs [B, {num_classes}, H, W]",
                hint=f"return logits for each pixel, of {num_classes} classes; at a stride is enough",
            )
        if shape[1] != num_classes:
            raise ModelError(
                f"the network has {shape[1]} outputs for each pixel, the data has {num_classes} classes",
                hint=f"give a network with {num_classes} outputs, or the data that it was made for",
            )


def _colors() -> NDArray[np.uint8]:
    """A color for each class number `[256, 3]`, neighbors far apart: hues by the golden angle; black for the last."""
    hues = [number * 0.381966 % 1.0 for number in range(IGNORED)]
    colors = [colorsys.hls_to_rgb(hue, 0.35 + 0.2 * (number % 3), 0.75) for number, hue in enumerate(hues)]
    return np.round(255 * np.array([*colors, (0.0, 0.0, 0.0)])).astype(np.uint8)


_COLORS = _colors()


def _check_fit(logits_NKHW: NDArray[Any], masks_NHW: NDArray[Any]) -> None:
    fits = logits_NKHW.ndim == 4 and masks_NHW.shape == (len(logits_NKHW), *logits_NKHW.shape[2:])
    if not fits:
        raise DataError(f"outputs {list(logits_NKHW.shape)} do not fit masks {list(masks_NHW.shape)}")
    if not len(masks_NHW):
        raise DataError("there is no sample to judge", hint="give a split with at least one sample")
    counted = masks_NHW[masks_NHW != IGNORED]
    if counted.size and counted.max() >= logits_NKHW.shape[1]:
        raise DataError(
            f"masks hold up to {counted.max()}, the network has {logits_NKHW.shape[1]} outputs for each pixel",
            hint=f"masks are class numbers from 0, and {IGNORED} where none counts",
        )


def _decided(logits_KHW: NDArray[Any]) -> NDArray[np.int64]:
    """The class with the largest output of each pixel, `[H, W]`; -1 where one is a NaN."""
    best_HW: NDArray[np.int64] = logits_KHW.argmax(axis=0).astype(np.int64)
    top_HW = np.take_along_axis(logits_KHW, best_HW[None], axis=0)[0]
    best_HW[np.isnan(top_HW)] = -1  # argmax stops at the first NaN
    return best_HW


def _of_image(logits_KHW: NDArray[Any], mask_HW: NDArray[Any]) -> tuple[NDArray[np.int32], float, int]:
    """Pixels `[true class, told class]` (told nothing: the last column), the mean loss, and how many pixels count."""
    num_classes = len(logits_KHW)
    counts_HW = mask_HW != IGNORED
    pixels = int(counts_HW.sum())
    true_M = mask_HW[counts_HW].astype(np.int64)
    decided_M = _decided(logits_KHW)[counts_HW]
    decided_M[decided_M < 0] = num_classes
    index_M = true_M * (num_classes + 1) + decided_M
    counts = np.bincount(index_M, minlength=num_classes * (num_classes + 1)).reshape(num_classes, num_classes + 1)
    shifted = logits_KHW.astype(np.float32)
    with np.errstate(invalid="ignore"):  # inf - inf: an infinite output gives a NaN loss, which is what it deserves
        shifted = shifted - shifted.max(axis=0)
        log_total_HW = np.log(np.exp(shifted).sum(axis=0))
    own_HW = np.take_along_axis(shifted, np.where(counts_HW, mask_HW, 0).astype(np.int64)[None], axis=0)[0]
    loss = float((log_total_HW - own_HW)[counts_HW].mean(dtype=np.float64)) if pixels else 0.0
    return counts.astype(np.int32), loss, pixels
