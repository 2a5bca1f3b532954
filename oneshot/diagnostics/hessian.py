"""The Hessian of a loss with respect to architecture parameters: all of it, or the ends of its spectrum."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.autograd import grad

from ..errors import InputError

DENSE = 64  # rows up to which all of the Hessian is computed; Lanczos takes about 20 to 40 products for both ends
TOLERANCE = 1e-6  # of the ends of the spectrum, relative to the larger one in size
ONCE = "torch::autograd::Error"  # what autograd calls a gradient of a function that is marked with @once_differentiable
NO_SECOND = "diagnostics: an operation of the supernet has no second derivative ({}); use diagnostics=light"
Product = Callable[[Tensor], Tensor]


def spectrum(
    loss: Tensor,
    parameter: Tensor,
    mask: Tensor | None = None,
    dense: int = DENSE,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Compute eigenvalues of the Hessian of a loss, by exact second derivatives.

    With at most `dense` rows the Hessian is computed row by row. With more rows, Lanczos finds both ends.

    Args:
        loss: A scalar, with its graph; the Hessian is that with respect to `parameter`.
        parameter: Of any shape.
        mask: Entries that are rows of the Hessian, as bool of the same shape. None: all.
        dense: Most rows of a Hessian that is computed as a whole.
        generator: Gives the first vector of Lanczos, on the host. None: seed 0.

    Returns:
        Ascending, float64, on the host: all eigenvalues, or with more rows than `dense` the smallest and the largest.
        Empty without rows.
    """
    product, size = hessian_products(loss, parameter, mask)
    if size > dense:
        return torch.tensor(lanczos(product, size, generator), dtype=torch.float64)
    return torch.linalg.eigvalsh(_dense(product, size))


def hessian(loss: Tensor, parameter: Tensor, mask: Tensor | None = None) -> Tensor:
    """Compute the Hessian of a loss row by row, each one by a second backward pass.

    Args:
        loss: As in `spectrum`.
        parameter: As in `spectrum`.
        mask: As in `spectrum`.

    Returns:
        (rows, rows), float64, on the host, symmetric. Rows are in the order of the entries of the mask.
    """
    return _dense(*hessian_products(loss, parameter, mask))


def hessian_products(loss: Tensor, parameter: Tensor, mask: Tensor | None = None) -> tuple[Product, int]:
    """Return a function that multiplies the Hessian of a loss with a vector.

    Args:
        loss: As in `spectrum`.
        parameter: As in `spectrum`.
        mask: As in `spectrum`.

    Returns:
        The function, from float64 (rows,) on the host to the same; and the number of rows.

    Raises:
        InputError: If an operation of the loss has no second derivative.
    """
    chosen = torch.ones_like(parameter, dtype=torch.bool) if mask is None else mask.to(parameter.device)
    place = chosen.flatten().nonzero().squeeze(1)
    (first,) = grad(loss, parameter, create_graph=True, materialize_grads=True)
    _check_twice(first)

    def product(v: Tensor) -> Tensor:
        if not first.requires_grad:  # the loss is linear in the parameter
            return torch.zeros_like(v)
        direction = torch.zeros_like(parameter).flatten().index_put((place,), v.to(parameter))
        (second,) = grad(first, parameter, direction.view_as(parameter), retain_graph=True, materialize_grads=True)
        return second.flatten()[place].double().cpu()

    return product, len(place)


def lanczos(
    product: Product, size: int, generator: torch.Generator | None = None, tolerance: float = TOLERANCE
) -> tuple[float, float]:
    """Find the smallest and the largest eigenvalue of a symmetric matrix, each with its sign.

    Lanczos with full reorthogonalization. It ends when the residuals of both ends are below `tolerance` times the
    larger one in size, which also bounds their errors, or when the Krylov space is complete. A power iteration finds
    one end alone, the one that is larger in size.

    Args:
        product: From a vector (size,), float64 on the host, to the matrix times that vector.
        size: Rows of the matrix.
        generator: Gives the first vector, on the host. None: seed 0.
        tolerance: Of the residuals, relative.

    Returns:
        The smallest and the largest eigenvalue; NaN where a product is not finite.
    """
    generator = torch.Generator().manual_seed(0) if generator is None else generator
    q = torch.randn(size, generator=generator, dtype=torch.float64)
    basis = (q / q.norm())[None]
    diagonal: list[Tensor] = []
    beside: list[Tensor] = []
    while True:
        w = product(basis[-1]).double()
        if not bool(w.isfinite().all()):
            return float("nan"), float("nan")
        diagonal.append(basis[-1] @ w)
        for _ in range(2):  # once is not enough in floating point
            w = w - (basis @ w) @ basis
        beta = w.norm()
        inner = torch.diag(torch.stack(diagonal))
        if beside:
            inner = inner + torch.diag(torch.stack(beside), 1) + torch.diag(torch.stack(beside), -1)
        values, vectors = torch.linalg.eigh(inner)
        largest = values.abs().max()
        residuals = beta * vectors[-1, [0, -1]].abs()
        if bool((residuals <= tolerance * largest).all()) or len(diagonal) == size:
            return float(values[0]), float(values[-1])
        basis = torch.cat([basis, (w / beta)[None]])
        beside.append(beta)


def _check_twice(first: Tensor) -> None:
    """Raise InputError if a part of a gradient cannot be differentiated: `grad` would leave it out without an error."""
    waiting, seen = [first.grad_fn], set()
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if node.name() == ONCE:
            raise InputError(NO_SECOND.format("it is marked with @once_differentiable"))
        waiting += [following for following, _ in node.next_functions]


def _dense(product: Product, size: int) -> Tensor:
    rows = [product(unit) for unit in torch.eye(size, dtype=torch.float64)]
    table = torch.stack(rows) if rows else torch.zeros(0, 0, dtype=torch.float64)
    return (table + table.T) / 2
