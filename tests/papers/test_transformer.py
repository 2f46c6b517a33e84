"""The Transformer against torch's own, against searches written out by hand, and against the numbers of its paper."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from reference_impl.layers.attention import MultiHeadAttention, padding_mask
from reference_impl.transformer import (
    DecoderLayer,
    DecoderState,
    Embedding,
    EncoderLayer,
    PostNorm,
    PreNorm,
    Transformer,
    average_checkpoints,
    beam_search,
    build_optimizer,
    greedy_search,
    label_smoothed_cross_entropy,
    length_penalty,
    noam_learning_rate,
)

Placement = type[PostNorm] | type[PreNorm]
VOCAB_SIZE, BOS, EOS = 13, 0, 1


def drawn(model: Transformer) -> Transformer:
    """Draw biases and gains too: those of zero and one would hide a fault."""
    for parameter in model.parameters():
        if parameter.dim() == 1:
            nn.init.normal_(parameter, mean=0.5, std=0.5)
    return model


def tiny(residual: Placement = PostNorm, layers: int = 2, dropout: float = 0.0, bias: bool = True) -> Transformer:
    return drawn(Transformer(VOCAB_SIZE, 12, 3, 20, layers, dropout, bias, residual)).eval()


# torch.nn.Transformer as an oracle


def torchs_own(residual: Placement, d_model: int, heads: int, d_ff: int, layers: int) -> nn.Transformer:
    """Build torch's Transformer; after post-norm stacks without the final norms that it adds and the paper has not."""
    pre = residual is PreNorm
    reads = nn.TransformerEncoderLayer(d_model, heads, d_ff, dropout=0.0, batch_first=True, norm_first=pre)
    writes = nn.TransformerDecoderLayer(d_model, heads, d_ff, dropout=0.0, batch_first=True, norm_first=pre)
    lasts = [nn.LayerNorm(d_model) if pre else None for _ in range(2)]
    encoder = nn.TransformerEncoder(reads, layers, lasts[0], enable_nested_tensor=False)
    decoder = nn.TransformerDecoder(writes, layers, lasts[1])
    return nn.Transformer(d_model, heads, custom_encoder=encoder, custom_decoder=decoder, batch_first=True)


def in_torchs_names(numbers: dict[str, Tensor]) -> dict[str, Tensor]:
    """Rename our parameters, or their gradients, and put each attention's three projections into one."""
    renamed = {}
    for name, tensor in numbers.items():
        stack, _, rest = name.partition(".")
        if stack == "embedding":
            continue
        if stack.endswith("_norm"):
            renamed[f"{stack.removesuffix('_norm')}.norm.{rest}"] = tensor
            continue
        layer, part, rest = rest.split(".", 2)
        place = f"{stack}.layers.{layer}"
        norms = ["self_attention", "cross_attention", "feed_forward"]
        if part.startswith("around_"):
            at = norms.index(part.removeprefix("around_")) + 1
            at = 2 if stack == "encoder" and at == 3 else at
            renamed[f"{place}.norm{at}.{rest.removeprefix('norm.')}"] = tensor
        elif part == "feed_forward":
            which, kind = rest.split(".")
            renamed[f"{place}.linear{1 if which == '0' else 2}.{kind}"] = tensor
        else:
            attention = "self_attn" if part == "self_attention" else "multihead_attn"
            which, kind = rest.split(".")
            if which == "output":
                renamed[f"{place}.{attention}.out_proj.{kind}"] = tensor
            else:
                renamed.setdefault(f"{place}.{attention}.in_proj_{kind}", torch.empty(0, dtype=tensor.dtype))
    for name in [name for name in renamed if "in_proj_" in name]:
        ours = name.replace("layers.", "").replace("self_attn", "self_attention")
        ours, kind = ours.replace("multihead_attn", "cross_attention").rsplit(".in_proj_", 1)
        renamed[name] = torch.cat([numbers[f"{ours}.{which}.{kind}"] for which in ("query", "key", "value")])
    return renamed


def positions_by_hand(length: int, d: int) -> Tensor:
    def entry(position: int, column: int) -> float:
        angle = position / 10000 ** ((column - column % 2) / d)
        return math.cos(angle) if column % 2 else math.sin(angle)

    return torch.tensor([[entry(position, column) for column in range(d)] for position in range(length)])


def check_against_torch(
    residual: Placement, size: tuple[int, int, int, int], lengths: list[int], written: list[int], tolerance: float
) -> None:
    ours = drawn(Transformer(VOCAB_SIZE, *size, 0.0, True, residual))
    theirs, d_model = torchs_own(residual, *size), size[0]
    theirs.load_state_dict(in_torchs_names(dict(ours.state_dict())))
    table = ours.embedding.weight.detach().clone().requires_grad_()
    b, n, m = len(lengths), max(lengths), max(written)
    source, target = torch.randint(VOCAB_SIZE, (b, n)), torch.randint(VOCAB_SIZE, (b, m))
    reads, writes = padding_mask(torch.tensor(lengths), n), padding_mask(torch.tensor(written), m)
    writes[:, :, 1 : m - 1 : 2] = False  # holes: what stands after the end is hidden by the order already
    probe = torch.randn(b, m, VOCAB_SIZE) * writes.mT  # what comes out at padding is nobody's business

    got = ours(source, target, reads, writes)
    torch.autograd.backward((got * probe).sum())
    y = theirs(
        table[source] * d_model**0.5 + positions_by_hand(n, d_model),
        table[target] * d_model**0.5 + positions_by_hand(m, d_model),
        tgt_mask=torch.ones(m, m).triu(1).bool(),
        src_key_padding_mask=~reads[:, 0],
        tgt_key_padding_mask=~writes[:, 0],
        memory_key_padding_mask=~reads[:, 0],
    )
    expected = y @ table.T
    torch.autograd.backward((expected * probe).sum())

    real = writes[:, 0]
    torch.testing.assert_close(got[real], expected[real], rtol=tolerance, atol=tolerance)
    gradients = in_torchs_names({name: p.grad for name, p in ours.named_parameters() if p.grad is not None})
    assert len(gradients) == len(list(theirs.parameters()))
    scale = max(float(p.grad.abs().max()) for p in theirs.parameters() if p.grad is not None)
    for name, parameter in theirs.named_parameters():
        torch.testing.assert_close(gradients[name], parameter.grad, rtol=tolerance, atol=tolerance * scale)
    torch.testing.assert_close(ours.embedding.weight.grad, table.grad, rtol=tolerance, atol=tolerance * scale)


ODD_SIZES = [
    pytest.param((12, 3, 20, 2), [7, 2, 5], [5, 6, 1], id="padded"),
    pytest.param((10, 1, 7, 1), [1], [1], id="one head, one sentence, one token"),
    pytest.param((6, 2, 9, 3), [1, 4], [6, 3], id="a source of one token"),
]


@pytest.mark.parametrize("residual", [PostNorm, PreNorm])
@pytest.mark.parametrize(("size", "lengths", "written"), ODD_SIZES)
def test_logits_and_gradients_are_torchs_in_float64(
    float64: None, residual: Placement, size: tuple[int, int, int, int], lengths: list[int], written: list[int]
) -> None:
    check_against_torch(residual, size, lengths, written, 1e-10)


@pytest.mark.parametrize("residual", [PostNorm, PreNorm])
@pytest.mark.parametrize(("size", "lengths", "written"), ODD_SIZES)
def test_logits_and_gradients_are_torchs_in_float32(
    residual: Placement, size: tuple[int, int, int, int], lengths: list[int], written: list[int]
) -> None:
    check_against_torch(residual, size, lengths, written, 1e-5)


# counts


@pytest.mark.parametrize(
    ("size", "count"),
    [
        ({}, 63_082_496),
        ({"bias": False}, 63_045_632),
        ({"residual": PreNorm}, 63_084_544),
        ({"vocab_size": 0}, 44_138_496),
        ({"vocab_size": 0, "bias": False}, 44_101_632),
        ({"d_model": 1024, "heads": 16, "d_ff": 4096}, 214_245_376),
        ({"d_model": 1024, "heads": 16, "d_ff": 4096, "bias": False}, 214_171_648),
    ],
)
def test_models_of_the_paper_have_exactly_this_many_numbers(size: dict[str, Any], count: int) -> None:
    with torch.device("meta"):
        assert sum(p.numel() for p in Transformer(**size).parameters()) == count


def test_torchs_own_has_two_norms_more() -> None:
    with torch.device("meta"):
        theirs = sum(p.numel() for p in nn.Transformer(512, 8, 6, 6, 2048, batch_first=True).parameters())
        assert theirs - 2 * 2 * 512 == sum(p.numel() for p in Transformer(0).parameters())


# masks


@pytest.mark.parametrize("residual", [PostNorm, PreNorm])
def test_padding_changes_nothing_that_is_real(float64: None, residual: Placement) -> None:
    model = tiny(residual)
    source, target = torch.randint(VOCAB_SIZE, (1, 4)), torch.randint(VOCAB_SIZE, (1, 3))
    alone = model(source, target)
    padded = model(F.pad(source, (0, 5), value=7), F.pad(target, (0, 2), value=9), padding_mask(torch.tensor([4]), 9))
    torch.testing.assert_close(padded[:, :3], alone, rtol=1e-10, atol=1e-10)


def test_no_position_sees_a_later_one() -> None:
    model, source = tiny(), torch.randint(VOCAB_SIZE, (1, 4))
    target = torch.randint(VOCAB_SIZE, (1, 6))
    other = target.clone()
    other[0, 3] = (other[0, 3] + 1) % VOCAB_SIZE
    changed = (model(source, target) != model(source, other)).any(dim=-1)[0]
    assert changed.tolist() == [False, False, False, True, True, True]


@pytest.mark.parametrize("residual", [PostNorm, PreNorm])
def test_sentences_of_padding_alone_give_no_nan(residual: Placement) -> None:
    model = tiny(residual)
    source, target = torch.randint(VOCAB_SIZE, (2, 4)), torch.randint(VOCAB_SIZE, (2, 3))
    reads, writes = padding_mask(torch.tensor([4, 0]), 4), padding_mask(torch.tensor([3, 0]), 3)
    logits = model(source, target, reads, writes)
    loss = label_smoothed_cross_entropy(logits, target, writes[:, 0])
    torch.autograd.backward(loss)
    assert logits.isfinite().all()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
    whole = label_smoothed_cross_entropy(model(source[:1], target[:1]), target[:1])
    torch.testing.assert_close(loss, whole)
    nothing = label_smoothed_cross_entropy(logits, target, torch.zeros_like(writes[:, 0]))
    assert nothing == 0


# decoding


def talkative(residual: Placement = PostNorm) -> Transformer:
    """A model that prefers some tokens clearly, and ends its sentences at different places."""
    model = tiny(residual)
    with torch.no_grad():
        model.embedding.weight.mul_(1.5)
    return model


def log_p_by_hand(model: Transformer, source: Tensor, written: list[int]) -> list[float]:
    """Recompute everything: no cache, no padding, one sentence."""
    with torch.no_grad():
        return model(source[None], torch.tensor([[BOS, *written]]))[0, -1].log_softmax(-1).tolist()


def greedy_by_hand(model: Transformer, source: Tensor, limit: int) -> list[int]:
    written: list[int] = []
    while len(written) < limit and EOS not in written:
        log_p = log_p_by_hand(model, source, written)
        written.append(log_p.index(max(log_p)))
    return written


def beam_by_hand(model: Transformer, source: Tensor, width: int, alpha: float, limit: int) -> tuple[list[int], float]:
    def score(hypothesis: tuple[list[int], float]) -> float:
        written, log_p = hypothesis
        return log_p * 6**alpha / (5 + len(written)) ** alpha

    beam: list[tuple[list[int], float]] = [([], 0.0)]
    for _ in range(limit):
        grown = []
        for written, total in beam:
            if written and written[-1] == EOS:
                grown.append((written, total))
            else:
                log_p = log_p_by_hand(model, source, written)
                grown += [([*written, token], total + log_p[token]) for token in range(VOCAB_SIZE)]
        beam = sorted(grown, key=score, reverse=True)[:width]
    return beam[0][0], score(beam[0])


def batch_of_sources() -> tuple[Tensor, Tensor]:
    return torch.randint(2, VOCAB_SIZE, (6, 5)), torch.tensor([5, 3, 1, 4, 2, 5])


def until_end(tokens: Tensor) -> list[int]:
    written = tokens.tolist()
    return written[: written.index(EOS) + 1] if EOS in written else written


@pytest.mark.parametrize("residual", [PostNorm, PreNorm])
def test_a_step_with_kept_keys_and_values_scores_as_the_whole_does(float64: None, residual: Placement) -> None:
    model, (source, lengths) = tiny(residual), batch_of_sources()
    mask, target = padding_mask(lengths, 5), torch.randint(VOCAB_SIZE, (6, 7))
    whole = model(source, target, mask)
    state, parts = model.init_state(model.encode(source, mask), mask), []
    for tokens in torch.split(target, [1, 2, 1, 3], dim=1):
        logits, state = model.decode_step(tokens, state)
        parts.append(logits)
    assert state.length == 7
    torch.testing.assert_close(torch.cat(parts, dim=1), whole, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("residual", [PostNorm, PreNorm])
def test_greedy_search_with_a_cache_writes_what_recomputing_writes(float64: None, residual: Placement) -> None:
    model, (source, lengths) = talkative(residual), batch_of_sources()
    got = greedy_search(model, source, lengths, BOS, EOS, extra_length=6)
    expected = [
        greedy_by_hand(model, row[:length], int(length) + 6) for row, length in zip(source, lengths, strict=True)
    ]
    assert [until_end(row)[: len(want)] for row, want in zip(got, expected, strict=True)] == expected
    assert all(set(row.tolist()[len(want) :]) <= {EOS} for row, want in zip(got, expected, strict=True))
    assert len({len(want) for want in expected}) > 1


@pytest.mark.parametrize("residual", [PostNorm, PreNorm])
@pytest.mark.parametrize(("width", "alpha"), [(2, 0.6), (4, 0.6), (5, 0.0), (3, 2.0)])
def test_beam_search_with_a_cache_writes_what_recomputing_writes(
    float64: None, residual: Placement, width: int, alpha: float
) -> None:
    model, (source, lengths) = talkative(residual), batch_of_sources()
    tokens, scores = beam_search(model, source, lengths, BOS, EOS, width, alpha, extra_length=4)
    for row, score, sentence, length in zip(tokens, scores, source, lengths, strict=True):
        expected, best = beam_by_hand(model, sentence[:length], width, alpha, int(length) + 4)
        assert row.tolist()[: len(expected)] == expected
        assert set(row.tolist()[len(expected) :]) <= {EOS}
        assert float(score) == pytest.approx(best, abs=1e-9)


def test_a_beam_of_one_is_greedy(float64: None) -> None:
    for seed in range(5):
        torch.manual_seed(seed)
        model, (source, lengths) = talkative(), batch_of_sources()
        tokens, _ = beam_search(model, source, lengths, BOS, EOS, beam_size=1, extra_length=6)
        assert torch.equal(tokens, greedy_search(model, source, lengths, BOS, EOS, extra_length=6))


class Planted(Transformer):
    """A model whose next token hangs on the last one alone, by a table."""

    def __init__(self, table: list[list[float]]) -> None:
        super().__init__(len(table), 4, 1, 4, 1, 0.0)
        self.table = torch.tensor(table).log()

    def decode_step(
        self, target: Tensor, state: DecoderState, target_mask: Tensor | None = None
    ) -> tuple[Tensor, DecoderState]:
        _, state = super().decode_step(target, state, target_mask)
        return self.table[target], state


def test_a_beam_finds_what_greed_walks_past() -> None:
    # Begin 0 goes to 2 (0.6), from where all is even, or to 3 (0.4), which ends (1) with certainty.
    tiny_p = 1e-9
    model = Planted(
        [
            [tiny_p, tiny_p, 0.6, 0.4],
            [tiny_p, 1.0, tiny_p, tiny_p],
            [0.25, 0.26, 0.24, 0.25],
            [tiny_p, 1.0, tiny_p, tiny_p],
        ]
    ).eval()
    source, lengths = torch.zeros(1, 1, dtype=torch.long), torch.tensor([1])
    greedy = greedy_search(model, source, lengths, BOS, EOS)
    tokens, score = beam_search(model, source, lengths, BOS, EOS, beam_size=2)
    assert greedy.tolist() == [[2, EOS]]
    assert tokens.tolist() == [[3, EOS]]
    penalty = (7 / 6) ** 0.6
    assert float(score) == pytest.approx(math.log(0.4) / penalty, rel=1e-5)
    assert float(score) > math.log(0.6 * 0.26) / penalty


def test_the_penalty_lets_a_long_sentence_win() -> None:
    # The end at once has probability 0.34; 2, 3 and the end have 0.66 · 1 · 0.5 = 0.33.
    model = Planted([[0.0, 0.34, 0.66, 0.0], [0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0], [0.0, 0.5, 0.5, 0.0]]).eval()
    source, lengths = torch.zeros(1, 1, dtype=torch.long), torch.tensor([1])
    short, _ = beam_search(model, source, lengths, BOS, EOS, beam_size=3, alpha=0.0)
    long, _ = beam_search(model, source, lengths, BOS, EOS, beam_size=3, alpha=0.6)
    assert short.tolist() == [[EOS]]
    assert long.tolist() == [[2, 3, EOS]]


def test_hypotheses_of_unlike_length_are_ranked_by_score_and_not_by_probability() -> None:
    # By log-probability the end (-1.00) comes before 2 3 (-1.13) and 2 4 (-1.17), and 2 4 would be lost.
    sure_end = [0.0, 1.0, 0.0, 0.0, 0.0]
    table = [[0.0, 0.368, 0.632, 0.0, 0.0], sure_end, [0.0, 0.0, 0.0, 0.51, 0.49], [0.2] * 5, sure_end]
    source, lengths = torch.zeros(1, 1, dtype=torch.long), torch.tensor([1])
    tokens, score = beam_search(Planted(table).eval(), source, lengths, BOS, EOS, beam_size=2, alpha=2.0)
    assert tokens.tolist() == [[2, 4, EOS]]
    assert float(score) == pytest.approx(math.log(0.632 * 0.49) / (8 / 6) ** 2, rel=1e-5)


def test_nothing_follows_the_end() -> None:
    # After its end, this model would go on with 2 almost surely, and longer sentences have better scores.
    model = Planted([[0.0, 0.4, 0.2, 0.4], [0.0, 0.0, 1.0, 0.0], [0.0, 1.0, 0.0, 0.0], [0.25] * 4]).eval()
    source, lengths = torch.zeros(1, 1, dtype=torch.long), torch.tensor([1])
    tokens, score = beam_search(model, source, lengths, BOS, EOS, beam_size=2, alpha=0.6)
    assert tokens.tolist() == [[EOS]]
    assert float(score) == pytest.approx(math.log(0.4), rel=1e-5)
    assert greedy_search(model, source, lengths, BOS, EOS).tolist() == [[EOS]]


def test_length_penalty_is_gnmts() -> None:
    lengths = torch.tensor([1, 7, 25])
    expected = torch.tensor([1.0, 2.0**0.6, 5.0**0.6])
    torch.testing.assert_close(length_penalty(lengths), expected)
    assert length_penalty(lengths, alpha=0.0).tolist() == [1, 1, 1]


def test_an_output_outgrows_its_own_source_by_so_much_and_no_more() -> None:
    endless = Planted([[0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]).eval()
    source, lengths = torch.zeros(2, 4, dtype=torch.long), torch.tensor([4, 2])
    written = greedy_search(endless, source, lengths, BOS, EOS, extra_length=1)
    assert written.tolist() == [[2, 2, 2, 2, 2], [2, 2, 2, EOS, EOS]]
    assert beam_search(endless, source, lengths, BOS, EOS, beam_size=2, extra_length=1)[0].tolist() == written.tolist()


# training


@pytest.mark.parametrize("warmup", [1, 10, 4000])
def test_learning_rate_peaks_at_warmup(warmup: int) -> None:
    rates = [noam_learning_rate(step, 512, warmup) for step in range(1, 3 * warmup + 1)]
    assert rates.index(max(rates)) + 1 == warmup
    assert max(rates) == pytest.approx((512 * warmup) ** -0.5)


def test_learning_rate_climbs_in_a_line_and_falls_with_the_root() -> None:
    assert noam_learning_rate(2000) == pytest.approx(2000 * noam_learning_rate(1))
    assert noam_learning_rate(16_000) == pytest.approx(noam_learning_rate(4000) / 2)
    assert noam_learning_rate(1) == pytest.approx(512**-0.5 * 4000**-1.5)


def test_adam_follows_the_schedule_from_its_first_step() -> None:
    model = tiny()
    optimizer, schedule = build_optimizer(model, warmup=3)
    rates = []
    for _ in range(5):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    assert rates == pytest.approx([noam_learning_rate(step, 12, 3) for step in range(1, 6)])
    assert (optimizer.defaults["betas"], optimizer.defaults["eps"]) == ((0.9, 0.98), 1e-9)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-5)])
@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.9])
def test_smoothed_loss_and_its_gradient_are_torchs(dtype: torch.dtype, tolerance: float, smoothing: float) -> None:
    ours = torch.randn(3, 4, VOCAB_SIZE, dtype=dtype, requires_grad=True)
    theirs = ours.detach().clone().requires_grad_()
    target, real = torch.randint(VOCAB_SIZE, (3, 4)), torch.tensor([[1, 1, 1, 1], [1, 0, 0, 0], [1, 1, 0, 0]]).bool()
    got = label_smoothed_cross_entropy(ours, target, real, smoothing)
    ignored = target.masked_fill(~real, -100)
    expected = F.cross_entropy(theirs.flatten(0, 1), ignored.flatten(), label_smoothing=smoothing)
    torch.testing.assert_close(got, expected, rtol=tolerance, atol=tolerance)
    gradients = torch.autograd.grad(got, ours)[0], torch.autograd.grad(expected, theirs)[0]
    torch.testing.assert_close(*gradients, rtol=tolerance, atol=tolerance)


def test_checkpoints_are_averaged_number_by_number() -> None:
    one, two, three = tiny(), tiny(), tiny()
    mean = tiny()
    mean.load_state_dict(average_checkpoints([one.state_dict(), two.state_dict(), three.state_dict()]))
    for averaged, *parts in zip(*(m.parameters() for m in (mean, one, two, three)), strict=True):
        torch.testing.assert_close(averaged, sum(parts) / 3)


# departures


def test_without_positions_the_encoder_cannot_tell_an_order(float64: None) -> None:
    model, x, order = tiny(), torch.randn(2, 6, 12), torch.tensor([3, 0, 5, 1, 4, 2])
    torch.testing.assert_close(model.run_encoder(x[:, order]), model.run_encoder(x)[:, order], rtol=1e-10, atol=1e-10)
    tokens = torch.arange(6)[None]
    far = (model.encode(tokens[:, order]) - model.encode(tokens)[:, order]).abs().max()
    assert far > 0.01


def test_the_decoder_looks_at_its_source_by_scaled_dot_products(float64: None) -> None:
    layer = DecoderLayer(12, 3, 20, 0.0)
    y, memory = torch.randn(2, 4, 12), torch.randn(2, 5, 12)
    keys, values = layer.cross_attention.keys_values(memory, memory)
    got, _ = layer(y, (keys, values), (keys[:, :, :0], values[:, :, :0]))
    middle = layer.around_self_attention.norm(y + layer.self_attention(y, y, y))
    asked = layer.cross_attention.query(middle).reshape(2, 4, 3, 4).transpose(1, 2)
    seen = (asked @ keys.mT / 4**0.5).softmax(-1) @ values
    looked = layer.cross_attention.output(seen.transpose(1, 2).reshape(2, 4, 12))
    upper = layer.around_cross_attention.norm(middle + looked)
    expected = layer.around_feed_forward.norm(upper + layer.feed_forward(upper))
    torch.testing.assert_close(got, expected, rtol=1e-10, atol=1e-10)


def test_one_matrix_embeds_both_languages_and_scores_the_words() -> None:
    model = tiny()
    assert [name for name, p in model.named_parameters() if VOCAB_SIZE in p.shape] == ["embedding.weight"]
    with torch.no_grad():
        model.embedding.weight.zero_()
    source, target = torch.arange(4)[None], torch.arange(4)[None]
    assert torch.equal(model.encode(source), model.encode(source + 4))
    assert torch.equal(model(source, target), torch.zeros(1, 4, VOCAB_SIZE))


def test_embeddings_are_multiplied_by_the_root_of_the_width(float64: None) -> None:
    embedding = Embedding(VOCAB_SIZE, 12, 0.0)
    tokens = torch.randint(VOCAB_SIZE, (2, 5))
    expected = embedding.weight[tokens] * 12**0.5
    torch.testing.assert_close(embedding(tokens) - positions_by_hand(5, 12), expected, rtol=1e-10, atol=1e-10)
    large = Embedding(1000, 256, 0.0).weight.detach()
    assert float((large * 256**0.5).std()) == pytest.approx(1, abs=0.02)


def test_sines_and_cosines_alternate_in_the_embedding(float64: None) -> None:
    embedding = Embedding(VOCAB_SIZE, 10, 0.0)
    with torch.no_grad():
        embedding.weight.zero_()
    got = embedding(torch.zeros(1, 6, dtype=torch.long), past_length=3)[0]
    torch.testing.assert_close(got, positions_by_hand(9, 10)[3:], rtol=1e-10, atol=1e-10)


def test_the_norm_stands_after_the_sum() -> None:
    layer, x = EncoderLayer(12, 3, 20, 0.0), 100 * torch.randn(2, 5, 12)
    y = layer(x)
    torch.testing.assert_close(y.mean(-1), torch.zeros(2, 5), atol=1e-5, rtol=0)
    torch.testing.assert_close(y.var(-1, unbiased=False), torch.ones(2, 5), atol=1e-3, rtol=0)
    inner = layer.around_self_attention.norm(x + layer.self_attention(x, x, x))
    torch.testing.assert_close(y, layer.around_feed_forward.norm(inner + layer.feed_forward(inner)))


def test_the_norm_can_stand_before_the_sublayer() -> None:
    layer, x = EncoderLayer(12, 3, 20, 0.0, residual=PreNorm), 100 * torch.randn(2, 5, 12)
    calm = layer.around_self_attention.norm(x)
    y = x + layer.self_attention(calm, calm, calm)
    torch.testing.assert_close(layer(x), y + layer.feed_forward(layer.around_feed_forward.norm(y)))


def test_projections_have_biases_that_the_paper_does_not_write() -> None:
    def biases(model: Transformer) -> int:
        attentions = [module for module in model.modules() if isinstance(module, MultiHeadAttention)]
        return sum(name.endswith("bias") for module in attentions for name, _ in module.named_parameters())

    attentions = 2 * 1 + 2 * 2
    assert biases(Transformer(VOCAB_SIZE, 12, 3, 20, layers=2)) == 4 * attentions
    assert biases(tiny(bias=False)) == 0


def test_smoothing_gives_the_right_token_a_share_too() -> None:
    log_p = torch.randn(1, 1, VOCAB_SIZE).log_softmax(-1)
    target = torch.tensor([[4]])
    share = torch.full((VOCAB_SIZE,), 0.1 / VOCAB_SIZE)
    share[4] += 0.9
    torch.testing.assert_close(label_smoothed_cross_entropy(log_p, target), -(share * log_p[0, 0]).sum())
    # The public code's spread over the wrong tokens is ours at another strength.
    wrong_only = torch.full((VOCAB_SIZE,), 0.1 / (VOCAB_SIZE - 1))
    wrong_only[4] = 0.9
    same = label_smoothed_cross_entropy(log_p, target, label_smoothing=0.1 * VOCAB_SIZE / (VOCAB_SIZE - 1))
    torch.testing.assert_close(same, -(wrong_only * log_p[0, 0]).sum())


def test_dropout_falls_on_sublayers_outputs_and_on_embeddings_alone() -> None:
    model = tiny(dropout=0.5).train()
    dropped: list[str] = []
    for name, module in model.named_modules():
        if isinstance(module, nn.Dropout):
            module.register_forward_hook(lambda *_, name=name: dropped.append(name))
    model(torch.randint(VOCAB_SIZE, (1, 3)), torch.randint(VOCAB_SIZE, (1, 3)))
    encoder = ["around_self_attention", "around_feed_forward"]
    decoder = ["around_self_attention", "around_cross_attention", "around_feed_forward"]
    expected = ["embedding.dropout", *(f"encoder.{i}.{part}.dropout" for i in range(2) for part in encoder)]
    expected += ["embedding.dropout", *(f"decoder.{i}.{part}.dropout" for i in range(2) for part in decoder)]
    assert dropped == expected
    x, attentions = torch.randn(1, 3, 12), [part for part in model.modules() if isinstance(part, MultiHeadAttention)]
    assert len(attentions) == 2 * 1 + 2 * 2
    assert all(torch.equal(attention(x, x, x), attention(x, x, x)) for attention in attentions)


def test_every_layer_begins_with_numbers_of_its_own() -> None:
    model = Transformer(VOCAB_SIZE, 12, 3, 20, 4)
    for stack in (model.encoder, model.decoder):
        first = [next(part for part in layer.modules() if isinstance(part, nn.Linear)) for layer in stack]
        assert len({linear.weight[0, 0].item() for linear in first}) == 4


def test_weights_begin_as_glorot_and_bengio_draw_them() -> None:
    model = Transformer(VOCAB_SIZE, 128, 4, 512, 1)
    for name, p in model.named_parameters():
        if p.dim() == 2 and name != "embedding.weight":
            bound, largest = math.sqrt(6 / sum(p.shape)), p.abs().max().item()
            assert 0.99 * bound < largest <= bound
        elif name.endswith("bias"):
            assert not p.any()


def test_a_post_norm_stack_ends_without_a_further_norm_and_a_pre_norm_stack_with_one() -> None:
    x = torch.randn(1, 3, 12)
    post, pre = tiny(PostNorm, layers=1), tiny(PreNorm, layers=1)
    torch.testing.assert_close(post.run_encoder(x), post.encoder[0](x))
    assert isinstance(pre.encoder_norm, nn.LayerNorm)
    torch.testing.assert_close(pre.run_encoder(x), pre.encoder_norm(pre.encoder[0](x)))


# faults


def test_faults_name_both_numbers() -> None:
    with pytest.raises(ValueError, match="d_model 512 is not a multiple of heads 7"):
        Transformer(8, heads=7)
    with pytest.raises(ValueError, match="layers 0 is less than 1"):
        Transformer(8, layers=0)
    with pytest.raises(ValueError, match="step 0 comes before the first step, 1"):
        noam_learning_rate(0)
    with pytest.raises(ValueError, match=r"label_smoothing 1.0 is not in \[0, 1\)"):
        label_smoothed_cross_entropy(torch.zeros(1, 1, 3), torch.zeros(1, 1, dtype=torch.long), label_smoothing=1.0)
    source = torch.zeros(1, 1, dtype=torch.long)
    with pytest.raises(ValueError, match="beam_size 0 is less than 1"):
        beam_search(tiny(), source, torch.tensor([1]), BOS, EOS, beam_size=0)
