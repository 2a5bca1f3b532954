"""A different operation for each image of a batch."""

from collections.abc import Callable, Sequence

from torch import Tensor

Operation = Callable[[Tensor, Tensor], Tensor]


def by_choice(images: Tensor, choices: Tensor, amounts: Tensor, operations: Sequence[Operation]) -> Tensor:
    """Apply to each image the operation that was drawn for it: one call an operation, on all its images together.

    Choices and amounts are on the host, so the device is never waited for.

    Args:
        images: uint8 (batch, height, width, channels).
        choices: Index of each image's operation, int64 (batch,), on the host; a negative one leaves the image.
        amounts: How strong each image's operation is, float (batch,), on the host.
        operations: From (images, amounts) of some images to new images.

    Returns:
        uint8 (batch, height, width, channels).
    """
    result = images.clone()
    for k in choices[choices >= 0].unique().tolist():
        chosen = (choices == k).nonzero().squeeze(1)
        rows = chosen.to(images.device, non_blocking=True)
        result[rows] = operations[k](images[rows], amounts[chosen].to(images.device, non_blocking=True))
    return result
