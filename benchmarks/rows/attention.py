"""Attention and the Transformer, against torch.nn and against Hugging Face's MarianMT."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.row import Pair, Setting, row
from reference_impl.layers.attention import MultiHeadAttention, causal_mask
from reference_impl.layers.positions import sinusoidal_positions
from reference_impl.transformer import EncoderLayer, Transformer, greedy_search, label_smoothed_cross_entropy

QUERY_KEY_VALUE = ("query", "key", "value")
TORCH_NAMES = {
    "feed_forward.0": "linear1",
    "feed_forward.2": "linear2",
    "around_self_attention.norm": "norm1",
    "around_cross_attention.norm": "norm2",
}


def to_torch_state_dict(layer: nn.Module) -> dict[str, Tensor]:
    """Return a layer's state dict for torch.nn, which concatenates query, key and value projections."""
    ours, attentions = layer.state_dict(), {"self_attention": "self_attn", "cross_attention": "multihead_attn"}
    last = "norm3" if hasattr(layer, "cross_attention") else "norm2"
    theirs = {}
    for name, tensor in ours.items():
        part, _, kind = name.rpartition(".")
        attention, _, which = part.partition(".")
        if attention not in attentions:
            theirs[f"{(TORCH_NAMES | {'around_feed_forward.norm': last})[part]}.{kind}"] = tensor
        elif which == "output":
            theirs[f"{attentions[attention]}.out_proj.{kind}"] = tensor
        elif which == "query":
            theirs[f"{attentions[attention]}.in_proj_{kind}"] = concat_projections(ours, attention, kind)
    return theirs


def concat_projections(numbers: Mapping[str, Tensor], attention: str, kind: str) -> Tensor:
    """Concatenate the query, key and value projections of an attention layer."""
    prefix = f"{attention}." if attention else ""
    return torch.cat([numbers[f"{prefix}{which}.{kind}"] for which in QUERY_KEY_VALUE])


@row("torch.nn.MultiheadAttention", "tokens")
def attention(at: Setting) -> Pair:
    """Self-attention, 8 heads on a width of 512, forward; 16 sequences of 128 tokens."""
    d, heads, b, n = at.sized((512, 8, 16, 128), tiny=(12, 3, 2, 5))
    ours, x = at.put(MultiHeadAttention(d, heads)).eval(), at.put(torch.randn(b, n, d))
    theirs = at.put(nn.MultiheadAttention(d, heads, batch_first=True)).eval()
    numbers = ours.state_dict()
    projections = {f"in_proj_{kind}": concat_projections(numbers, "", kind) for kind in ("weight", "bias")}
    output = {f"out_proj.{kind}": numbers[f"output.{kind}"] for kind in ("weight", "bias")}
    theirs.load_state_dict(projections | output)
    return Pair(lambda: ours(x, x, x), lambda: theirs(x, x, x, need_weights=False)[0], items=b * n)


@row(
    "torch.nn.TransformerEncoderLayer",
    "tokens",
    gpu=True,
    share=0.8,
    slower="Products are more than three quarters of the time on both sides, and as fast. Without gradients, the peer "
    "adds residuals in place and fuses ReLU with the product before it, some 2 % of the time. One product for queries, "
    "keys and values would gain ours nothing: their weights would have to be concatenated.",
)
def encoder_layer(at: Setting) -> Pair:
    """A layer of the base Transformer's encoder, forward; 16 sentences of 128 tokens."""
    d, heads, d_ff, b, n = at.sized((512, 8, 2048, 16, 128), tiny=(12, 3, 20, 2, 5))
    ours, x = at.put(EncoderLayer(d, heads, d_ff)).eval(), at.put(torch.randn(b, n, d))
    theirs = at.put(nn.TransformerEncoderLayer(d, heads, d_ff, batch_first=True)).eval()
    theirs.load_state_dict(to_torch_state_dict(ours))
    return Pair(lambda: ours(x), lambda: theirs(x), items=b * n)


class TorchTransformer(nn.Module):
    """torch.nn.Transformer with embeddings and output projection, and without its two final norms."""

    def __init__(self, ours: Transformer, d: int, heads: int, d_ff: int, layers: int) -> None:
        super().__init__()
        encoder_layer = nn.TransformerEncoderLayer(d, heads, d_ff, dropout=0.0, batch_first=True)
        decoder_layer = nn.TransformerDecoderLayer(d, heads, d_ff, dropout=0.0, batch_first=True)
        encoder = nn.TransformerEncoder(encoder_layer, layers, None, enable_nested_tensor=False)
        decoder = nn.TransformerDecoder(decoder_layer, layers, None)
        self.stacks = nn.Transformer(d, heads, custom_encoder=encoder, custom_decoder=decoder, batch_first=True)
        for theirs, mine in zip([*encoder.layers, *decoder.layers], [*ours.encoder, *ours.decoder], strict=True):
            theirs.load_state_dict(to_torch_state_dict(mine))
        self.table = nn.Parameter(ours.embedding.weight.detach().clone())

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        """Return the logits of the token after each target token."""
        forbidden = ~causal_mask(target.shape[1], target.device)
        y = self.stacks(self.embed(source), self.embed(target), tgt_mask=forbidden, tgt_is_causal=True)
        return y @ self.table.T

    def embed(self, tokens: Tensor) -> Tensor:
        """Return embeddings with positional encodings."""
        d = self.table.shape[1]
        return F.embedding(tokens, self.table) * d**0.5 + sinusoidal_positions(tokens.shape[1], d).to(self.table)


def build_transformers(at: Setting) -> tuple[Any, Any, Tensor, Tensor]:
    """Return both base Transformers without dropout, sources and targets."""
    vocab_size, b, n = at.sized((37_000, 16, 32), tiny=(13, 2, 5))
    size = d, heads, d_ff, layers = at.sized((512, 8, 2048, 6), tiny=(12, 3, 20, 2))
    ours = Transformer(vocab_size, d, heads, d_ff, layers, dropout=0.0)
    theirs = TorchTransformer(ours, *size)
    source, target = (at.put(torch.randint(vocab_size, (b, n))) for _ in range(2))
    return at.put(ours), at.put(theirs), source, target


@row(
    "torch.nn.Transformer",
    "target tokens",
    share=0.8,
    slower="The peer's encoder takes torch's fused path, as in the row of one layer; nine tenths of ours are products.",
    idle="Nine tenths of the time are products with weights, of 512 rows: too few for the full rate, and the largest, "
    "by the table of 37,000 tokens, writes 76 MB.",
)
def transformer(at: Setting) -> Pair:
    """The base Transformer with 37,000 tokens, forward; 16 pairs of sentences of 32 tokens."""
    ours, theirs, source, target = build_transformers(at)
    ours.eval(), theirs.eval()
    return Pair(lambda: ours(source, target), lambda: theirs(source, target), items=target.numel())


@row(
    "torch.nn.Transformer",
    "target tokens",
    trains=True,
    gpu=True,
    tolerance=2e-3,  # float32 rounds this gradient by a thousandth; in float64 both agree to 1e-12, as a test shows
    share=0.8,
    slower="Products and Adam are most of the time, and the same on both sides.",
    idle="Adam reads and writes 63 million weights with both of their moments, about a fifth of the time, and that "
    "holds no product.",
)
def transformer_step(at: Setting) -> Pair:
    """A training step of the base Transformer with Adam and label smoothing; 16 pairs of sentences of 32 tokens."""
    ours, theirs, source, target = build_transformers(at)
    optimizers = {model: torch.optim.Adam(model.parameters(), 1e-4, (0.9, 0.98), 1e-9) for model in (ours, theirs)}

    def of_torch(logits: Tensor, target: Tensor) -> Tensor:
        return F.cross_entropy(logits.flatten(0, 1), target.flatten(), label_smoothing=0.1)

    def step(model: Any, table: nn.Parameter, loss_of: Any) -> tuple[Tensor, Tensor | None]:
        optimizers[model].zero_grad()
        loss = loss_of(model(source, target), target)
        loss.backward()
        optimizers[model].step()
        return loss, table.grad

    return Pair(
        lambda: step(ours, ours.embedding.weight, label_smoothed_cross_entropy),
        lambda: step(theirs, theirs.table, of_torch),
        items=target.numel(),
    )


# Marian's encoder and decoder are the paper's, except for the order of sines and cosines in its table of positions.
MARIAN_NAMES = {
    "feed_forward.0": "fc1",
    "feed_forward.2": "fc2",
    "around_feed_forward.norm": "final_layer_norm",
    "around_self_attention.norm": "self_attn_layer_norm",
    "around_cross_attention.norm": "encoder_attn_layer_norm",
    **{
        f"{ours}_attention.{kind}": f"{theirs}_attn.{named}_proj"
        for ours, theirs in {"self": "self", "cross": "encoder"}.items()
        for kind, named in {"query": "q", "key": "k", "value": "v", "output": "out"}.items()
    },
}


def build_marian(ours: Transformer, d: int, heads: int, d_ff: int, layers: int, bos: int, eos: int) -> Any:
    """Return Hugging Face's MarianMT with our weights and our positional encodings."""
    from transformers import MarianConfig, MarianMTModel

    stacks = {"layers": layers, "attention_heads": heads, "ffn_dim": d_ff}
    settings: dict[str, Any] = {f"{stack}_{k}": v for stack in ("encoder", "decoder") for k, v in stacks.items()}
    settings |= {
        "decoder_start_token_id": bos,
        "pad_token_id": bos,
        "eos_token_id": eos,
        "forced_eos_token_id": None,
    }
    settings |= {"vocab_size": len(ours.embedding.weight), "d_model": d}
    config = MarianConfig(scale_embedding=True, activation_function="relu", **settings)
    theirs: Any = MarianMTModel(config)
    with torch.no_grad():
        theirs.model.shared.weight.copy_(ours.embedding.weight)
        for stack, mine in ((theirs.model.encoder, ours.encoder), (theirs.model.decoder, ours.decoder)):
            stack.embed_positions.weight.copy_(sinusoidal_positions(*stack.embed_positions.weight.shape))
            for layer, own in zip(stack.layers, mine, strict=True):
                numbers = {name.rpartition("."): tensor for name, tensor in own.state_dict().items()}
                layer.load_state_dict({f"{MARIAN_NAMES[part]}.{kind}": t for (part, _, kind), t in numbers.items()})
    return theirs


@row(
    "transformers MarianMTModel.generate",
    "tokens written",
    slower="Most of the time is the same products on both sides, of one token per sentence with all weights.",
)
def greedy_decoding(at: Setting) -> Pair:
    """Greedy decoding by the base Transformer with a cache; 4 sources of 16 tokens, 48 output tokens for each."""
    vocab_size, b, n, m = at.sized((37_000, 4, 16, 48), tiny=(13, 2, 5, 7))
    size = at.sized((512, 8, 2048, 6), tiny=(12, 3, 20, 2))
    bos, eos = 0, 1
    ours = Transformer(vocab_size, *size)
    with torch.no_grad():
        ours.embedding.weight[eos] = 0  # its logit is 0, and others are greater: no sentence ends early
    theirs, ours = at.put(build_marian(ours, *size, bos, eos)).eval(), at.put(ours).eval()
    source = at.put(torch.randint(2, vocab_size, (b, n)))
    lengths, mask = at.put(torch.full((b,), n)), torch.ones_like(source)

    def of_peer() -> Tensor:
        settings = {"max_new_tokens": m, "num_beams": 1, "do_sample": False}
        return theirs.generate(source, attention_mask=mask, **settings)[:, 1:]

    return Pair(lambda: greedy_search(ours, source, lengths, bos, eos, extra_length=m - n), of_peer, items=b * m)
