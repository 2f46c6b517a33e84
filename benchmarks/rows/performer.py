"""FAVOR+ against performer-pytorch, and against exact attention, from 1,024 positions to 65,536."""

import warnings
from functools import partial
from typing import Any

import torch
from torch.nn import functional as F

from benchmarks.row import ROWS, Pair, Row, Setting
from reference_impl.performer import favor_attention, gaussian_orthogonal_random_matrix

CROSSING = (
    "Here the two cross: FAVOR+ with 256 features takes half as many multiplications as exact attention of 1,024 "
    "positions, and more than half of its time goes into the rest, such as exponentials."
)
LENGTHS = {"1k": 1024, "4k": 4096, "16k": 16_384, "64k": 65_536}


def inputs(at: Setting, length: int) -> tuple[Any, ...]:
    """Return queries, keys and values of one head, 64 wide, and a projection of 256 directions."""
    n, d, m = at.sized((length, 64, 256), tiny=(length // 256, 8, 16))
    vectors = (at.put(torch.randn(1, 1, n, d)) for _ in range(3))
    return *vectors, at.put(gaussian_orthogonal_random_matrix(m, d))


def performer_pytorch_attention(projection: torch.Tensor) -> Any:
    """Return the public attention with our projection, and without the 0.0001 that it adds to each feature."""
    with warnings.catch_warnings():  # it imports distutils, and a deprecated name of torch's
        warnings.simplefilter("ignore")
        from performer_pytorch import performer_pytorch as public

    # As its `FastAttention.forward` does, which has no way to say this eps.
    kernel = partial(public.softmax_kernel, projection_matrix=projection, device=projection.device, eps=0.0)

    def attention(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> Any:
        return public.linear_attention(kernel(query, is_query=True), kernel(key, is_query=False), value)

    return attention


def compare_performer_pytorch(at: Setting, length: int) -> Pair:
    """Return our FAVOR+ and the public one."""
    query, key, value, projection = inputs(at, length)
    theirs = performer_pytorch_attention(projection)
    return Pair(
        lambda: favor_attention(query, key, value, projection), lambda: theirs(query, key, value), query.shape[2]
    )


def compare_exact(at: Setting, length: int) -> Pair:
    """Return our FAVOR+ and the attention that it estimates."""
    query, key, value, projection = inputs(at, length)

    def exact() -> torch.Tensor:
        return F.scaled_dot_product_attention(query, key, value)

    return Pair(lambda: favor_attention(query, key, value, projection), exact, query.shape[2])


for called, length in LENGTHS.items():
    gpu, of = length == 16_384, f"FAVOR+ of one head, 64 wide with 256 features, at {length:,} positions"
    for make, peer, name, what, tolerance in (
        (compare_performer_pytorch, "performer-pytorch", f"performer-{called}", f"{of}.", 1e-4),
        (
            compare_exact,
            "torch's scaled_dot_product_attention",
            f"performer-{called}-exact",
            f"{of}, beside the exact attention that it estimates.",
            None,
        ),
    ):
        slower = CROSSING if name == "performer-1k-exact" else ""
        work = partial(make, length=length)
        ROWS[name] = Row(name, what, peer, "positions", work, gpu=gpu, tolerance=tolerance, slower=slower)
