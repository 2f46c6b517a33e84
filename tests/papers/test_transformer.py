"""The Transformer against torch's own, against searches by hand, and against the numbers of parameters in its paper."""

import inspect
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

Residual = type[PostNorm] | type[PreNorm]
VOCAB_SIZE, BOS, EOS = 13, 0, 1


def randomize(model: Transformer) -> Transformer:
    """Initialize biases and gains at random too: zeros and ones would hide a fault."""
    for parameter in model.parameters():
        if parameter.dim() == 1:
            nn.init.normal_(parameter, mean=0.5, std=0.5)
    return model


def build_tiny(residual: Residual = PostNorm, layers: int = 2, dropout: float = 0.0, bias: bool = True) -> Transformer:
    return randomize(Transformer(VOCAB_SIZE, 12, 3, 20, layers, dropout, bias, residual)).eval()


# torch.nn.Transformer as an oracle


def build_torch(residual: Residual, d_model: int, heads: int, d_ff: int, layers: int) -> nn.Transformer:
    """Build torch's Transformer; without torch's final norms after post-norm stacks, which the paper does not have."""
    pre = residual is PreNorm
    encoder_layer = nn.TransformerEncoderLayer(d_model, heads, d_ff, dropout=0.0, batch_first=True, norm_first=pre)
    decoder_layer = nn.TransformerDecoderLayer(d_model, heads, d_ff, dropout=0.0, batch_first=True, norm_first=pre)
    final_norms = [nn.LayerNorm(d_model) if pre else None for _ in range(2)]
    encoder = nn.TransformerEncoder(encoder_layer, layers, final_norms[0], enable_nested_tensor=False)
    decoder = nn.TransformerDecoder(decoder_layer, layers, final_norms[1])
    return nn.Transformer(d_model, heads, custom_encoder=encoder, custom_decoder=decoder, batch_first=True)


def to_torch_names(numbers: dict[str, Tensor]) -> dict[str, Tensor]:
    """Rename our parameters, or their gradients, to torch's names, and concatenate query, key and value projections."""
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


def reference_positions(length: int, d: int) -> Tensor:
    def entry(position: int, column: int) -> float:
        angle = position / 10000 ** ((column - column % 2) / d)
        return math.cos(angle) if column % 2 else math.sin(angle)

    return torch.tensor([[entry(position, column) for column in range(d)] for position in range(length)])


def check_against_torch(
    residual: Residual, size: tuple[int, int, int, int], lengths: list[int], output: list[int], tolerance: float
) -> None:
    ours = randomize(Transformer(VOCAB_SIZE, *size, 0.0, True, residual))
    theirs, d_model = build_torch(residual, *size), size[0]
    theirs.load_state_dict(to_torch_names(dict(ours.state_dict())))
    table = ours.embedding.weight.detach().clone().requires_grad_()
    b, n, m = len(lengths), max(lengths), max(output)
    source, target = torch.randint(VOCAB_SIZE, (b, n)), torch.randint(VOCAB_SIZE, (b, m))
    source_mask, target_mask = padding_mask(torch.tensor(lengths), n), padding_mask(torch.tensor(output), m)
    target_mask[:, :, 1 : m - 1 : 2] = (
        False  # masks within the sentence too: padding at the end is masked by causality already
    )
    probe = torch.randn(b, m, VOCAB_SIZE) * target_mask.mT  # outputs at padding don't matter

    got = ours(source, target, source_mask, target_mask)
    torch.autograd.backward((got * probe).sum())
    y = theirs(
        table[source] * d_model**0.5 + reference_positions(n, d_model),
        table[target] * d_model**0.5 + reference_positions(m, d_model),
        tgt_mask=torch.ones(m, m).triu(1).bool(),
        src_key_padding_mask=~source_mask[:, 0],
        tgt_key_padding_mask=~target_mask[:, 0],
        memory_key_padding_mask=~source_mask[:, 0],
    )
    expected = y @ table.T
    torch.autograd.backward((expected * probe).sum())

    real = target_mask[:, 0]
    torch.testing.assert_close(got[real], expected[real], rtol=tolerance, atol=tolerance)
    gradients = to_torch_names({name: p.grad for name, p in ours.named_parameters() if p.grad is not None})
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
@pytest.mark.parametrize(("size", "lengths", "output"), ODD_SIZES)
def test_logits_and_gradients_are_torchs_in_float64(
    float64: None, residual: Residual, size: tuple[int, int, int, int], lengths: list[int], output: list[int]
) -> None:
    check_against_torch(residual, size, lengths, output, 1e-10)


@pytest.mark.parametrize("residual", [PostNorm, PreNorm])
@pytest.mark.parametrize(("size", "lengths", "output"), ODD_SIZES)
def test_logits_and_gradients_are_torchs_in_float32(
    residual: Residual, size: tuple[int, int, int, int], lengths: list[int], output: list[int]
) -> None:
    check_against_torch(residual, size, lengths, output, 1e-5)


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
def test_the_published_models_have_exactly_this_many_parameters(size: dict[str, Any], count: int) -> None:
    with torch.device("meta"):
        assert sum(p.numel() for p in Transformer(**size).parameters()) == count


def test_torchs_transformer_has_two_more_norms() -> None:
    with torch.device("meta"):
        theirs = sum(p.numel() for p in nn.Transformer(512, 8, 6, 6, 2048, batch_first=True).parameters())
        assert theirs - 2 * 2 * 512 == sum(p.numel() for p in Transformer(0).parameters())


# masks


@pytest.mark.parametrize("residual", [PostNorm, PreNorm])
def test_padding_changes_no_output_of_tokens(float64: None, residual: Residual) -> None:
    model = build_tiny(residual)
    source, target = torch.randint(VOCAB_SIZE, (1, 4)), torch.randint(VOCAB_SIZE, (1, 3))
    alone = model(source, target)
    padded = model(F.pad(source, (0, 5), value=7), F.pad(target, (0, 2), value=9), padding_mask(torch.tensor([4]), 9))
    torch.testing.assert_close(padded[:, :3], alone, rtol=1e-10, atol=1e-10)


def test_no_position_attends_to_a_later_one() -> None:
    model, source = build_tiny(), torch.randint(VOCAB_SIZE, (1, 4))
    target = torch.randint(VOCAB_SIZE, (1, 6))
    other = target.clone()
    other[0, 3] = (other[0, 3] + 1) % VOCAB_SIZE
    changed = (model(source, target) != model(source, other)).any(dim=-1)[0]
    assert changed.tolist() == [False, False, False, True, True, True]


@pytest.mark.parametrize("residual", [PostNorm, PreNorm])
def test_sentences_of_padding_alone_give_no_nan(residual: Residual) -> None:
    model = build_tiny(residual)
    source, target = torch.randint(VOCAB_SIZE, (2, 4)), torch.randint(VOCAB_SIZE, (2, 3))
    source_mask, target_mask = padding_mask(torch.tensor([4, 0]), 4), padding_mask(torch.tensor([3, 0]), 3)
    logits = model(source, target, source_mask, target_mask)
    loss = label_smoothed_cross_entropy(logits, target, target_mask[:, 0])
    torch.autograd.backward(loss)
    assert logits.isfinite().all()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
    whole = label_smoothed_cross_entropy(model(source[:1], target[:1]), target[:1])
    torch.testing.assert_close(loss, whole)
    nothing = label_smoothed_cross_entropy(logits, target, torch.zeros_like(target_mask[:, 0]))
    assert nothing == 0


# decoding


def build_opinionated(residual: Residual = PostNorm) -> Transformer:
    """A model with clear preferences among tokens, whose sentences end at different positions."""
    model = build_tiny(residual)
    with torch.no_grad():
        model.embedding.weight.mul_(1.5)
    return model


def reference_log_probs(model: Transformer, source: Tensor, outputs: list[list[int]]) -> list[list[float]]:
    """Recompute whole targets of one length: no cache, no padding, one sentence."""
    with torch.no_grad():
        targets = torch.tensor([[BOS, *output] for output in outputs])
        return model(source.expand(len(outputs), -1), targets)[:, -1].log_softmax(-1).tolist()


def reference_greedy(model: Transformer, source: Tensor, max_length: int) -> list[int]:
    output: list[int] = []
    while len(output) < max_length and EOS not in output:
        (log_p,) = reference_log_probs(model, source, [output])
        output.append(log_p.index(max(log_p)))
    return output


def reference_beam(
    model: Transformer, source: Tensor, beam_size: int, alpha: float, max_length: int
) -> tuple[list[int], float]:
    def score(hypothesis: tuple[list[int], float]) -> float:
        output, log_p = hypothesis
        return log_p * 6**alpha / (5 + len(output)) ** alpha

    beam: list[tuple[list[int], float]] = [([], 0.0)]
    for _ in range(max_length):
        grown = [(output, total) for output, total in beam if EOS in output]
        if ongoing := [(output, total) for output, total in beam if EOS not in output]:
            grows = reference_log_probs(model, source, [output for output, _ in ongoing])
            for (output, total), log_p in zip(ongoing, grows, strict=True):
                grown += [([*output, token], total + log_p[token]) for token in range(VOCAB_SIZE)]
        beam = sorted(grown, key=score, reverse=True)[:beam_size]
    return beam[0][0], score(beam[0])


def batch_of_sources() -> tuple[Tensor, Tensor]:
    return torch.randint(2, VOCAB_SIZE, (6, 5)), torch.tensor([5, 3, 1, 4, 2, 5])


def until_end(tokens: Tensor) -> list[int]:
    output = tokens.tolist()
    return output[: output.index(EOS) + 1] if EOS in output else output


@pytest.mark.parametrize("residual", [PostNorm, PreNorm])
def test_decoding_with_a_cache_gives_the_logits_of_the_whole_target(float64: None, residual: Residual) -> None:
    model, (source, lengths) = build_tiny(residual), batch_of_sources()
    mask, target = padding_mask(lengths, 5), torch.randint(VOCAB_SIZE, (6, 7))
    whole = model(source, target, mask)
    state, parts = model.init_state(model.encode(source, mask), mask), []
    for tokens in torch.split(target, [1, 2, 1, 3], dim=1):
        logits, state = model.decode_step(tokens, state)
        parts.append(logits)
    assert state.length == 7
    torch.testing.assert_close(torch.cat(parts, dim=1), whole, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("residual", [PostNorm, PreNorm])
def test_greedy_search_with_a_cache_equals_recomputation(float64: None, residual: Residual) -> None:
    model, (source, lengths) = build_opinionated(residual), batch_of_sources()
    got = greedy_search(model, source, lengths, BOS, EOS, extra_length=6)
    expected = [
        reference_greedy(model, row[:length], int(length) + 6) for row, length in zip(source, lengths, strict=True)
    ]
    assert [until_end(row)[: len(want)] for row, want in zip(got, expected, strict=True)] == expected
    assert all(set(row.tolist()[len(want) :]) <= {EOS} for row, want in zip(got, expected, strict=True))
    assert len({len(want) for want in expected}) > 1


@pytest.mark.parametrize("residual", [PostNorm, PreNorm])
@pytest.mark.parametrize(("beam_size", "alpha"), [(2, 0.6), (4, 0.6), (5, 0.0), (3, 2.0)])
def test_beam_search_with_a_cache_equals_recomputation(
    float64: None, residual: Residual, beam_size: int, alpha: float
) -> None:
    model, (source, lengths) = build_opinionated(residual), batch_of_sources()
    tokens, scores = beam_search(model, source, lengths, BOS, EOS, beam_size, alpha, extra_length=4)
    for row, score, sentence, length in zip(tokens, scores, source, lengths, strict=True):
        expected, best = reference_beam(model, sentence[:length], beam_size, alpha, int(length) + 4)
        assert row.tolist()[: len(expected)] == expected
        assert set(row.tolist()[len(expected) :]) <= {EOS}
        assert float(score) == pytest.approx(best, abs=1e-9)


def test_a_beam_of_one_is_greedy(float64: None) -> None:
    for seed in range(5):
        torch.manual_seed(seed)
        model, (source, lengths) = build_opinionated(), batch_of_sources()
        tokens, _ = beam_search(model, source, lengths, BOS, EOS, beam_size=1, extra_length=6)
        assert torch.equal(tokens, greedy_search(model, source, lengths, BOS, EOS, extra_length=6))


class MarkovModel(Transformer):
    """A Markov chain: the next token depends on the last one alone, by a table of probabilities."""

    def __init__(self, table: list[list[float]]) -> None:
        super().__init__(len(table), 4, 1, 4, 1, 0.0)
        self.table = torch.tensor(table).log()

    def decode_step(
        self, target: Tensor, state: DecoderState, target_mask: Tensor | None = None
    ) -> tuple[Tensor, DecoderState]:
        _, state = super().decode_step(target, state, target_mask)
        return self.table[target], state


def test_beam_search_finds_a_better_sentence_than_greedy_search() -> None:
    # BOS is followed by 2 (0.6), then any token with about equal probability, or by 3 (0.4), then EOS (1).
    tiny_p = 1e-9
    model = MarkovModel(
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


def test_with_the_length_penalty_a_longer_sentence_can_win() -> None:
    # EOS at once has probability 0.34; 2, 3, EOS have 0.66 · 1 · 0.5 = 0.33.
    model = MarkovModel(
        [[0.0, 0.34, 0.66, 0.0], [0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0], [0.0, 0.5, 0.5, 0.0]]
    ).eval()
    source, lengths = torch.zeros(1, 1, dtype=torch.long), torch.tensor([1])
    short, _ = beam_search(model, source, lengths, BOS, EOS, beam_size=3, alpha=0.0)
    long, _ = beam_search(model, source, lengths, BOS, EOS, beam_size=3, alpha=0.6)
    assert short.tolist() == [[EOS]]
    assert long.tolist() == [[2, 3, EOS]]


def test_hypotheses_of_different_length_are_ranked_by_score_and_not_by_probability() -> None:
    # By log-probability EOS (-1.00) comes before 2 3 (-1.13) and 2 4 (-1.17), and 2 4 would be lost.
    sure_end = [0.0, 1.0, 0.0, 0.0, 0.0]
    table = [[0.0, 0.368, 0.632, 0.0, 0.0], sure_end, [0.0, 0.0, 0.0, 0.51, 0.49], [0.2] * 5, sure_end]
    source, lengths = torch.zeros(1, 1, dtype=torch.long), torch.tensor([1])
    tokens, score = beam_search(MarkovModel(table).eval(), source, lengths, BOS, EOS, beam_size=2, alpha=2.0)
    assert tokens.tolist() == [[2, 4, EOS]]
    assert float(score) == pytest.approx(math.log(0.632 * 0.49) / (8 / 6) ** 2, rel=1e-5)


def test_nothing_follows_the_end() -> None:
    # After EOS, this model would continue with 2 almost surely, and longer sentences have better scores.
    model = MarkovModel([[0.0, 0.4, 0.2, 0.4], [0.0, 0.0, 1.0, 0.0], [0.0, 1.0, 0.0, 0.0], [0.25] * 4]).eval()
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


def test_an_output_may_have_no_room() -> None:
    endless = MarkovModel([[0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]).eval()
    source, lengths = torch.zeros(2, 4, dtype=torch.long), torch.tensor([4, 2])
    assert greedy_search(endless, source, lengths, BOS, EOS, extra_length=-4).shape == (2, 0)
    assert greedy_search(endless, source, lengths, BOS, EOS, extra_length=-3).tolist() == [[2], [EOS]]
    tokens, scores = beam_search(endless, source, lengths, BOS, EOS, beam_size=2, extra_length=-4)
    assert tokens.shape == (2, 0)
    assert scores.tolist() == [0, 0]


def test_searches_track_no_gradients() -> None:
    class Watched(Transformer):
        tracked = False

        def run_decoder(
            self, y: Tensor, state: DecoderState, target_mask: Tensor | None = None
        ) -> tuple[Tensor, DecoderState]:
            self.tracked |= torch.is_grad_enabled()
            return super().run_decoder(y, state, target_mask)

    model, (source, lengths) = Watched(VOCAB_SIZE, 12, 3, 20, layers=1).eval(), batch_of_sources()
    greedy_search(model, source, lengths, BOS, EOS, extra_length=2)
    beam_search(model, source, lengths, BOS, EOS, beam_size=2, extra_length=2)
    assert not model.tracked
    model(source, source)
    assert model.tracked


def test_decoding_defaults_to_the_papers_beam_penalty_and_length() -> None:
    defaults = {name: one.default for name, one in inspect.signature(beam_search).parameters.items()}
    assert (defaults["beam_size"], defaults["alpha"], defaults["extra_length"]) == (4, 0.6, 50)  # Section 6.1
    assert inspect.signature(greedy_search).parameters["extra_length"].default == 50


def test_an_output_is_at_most_extra_length_longer_than_its_source() -> None:
    endless = MarkovModel([[0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]).eval()
    source, lengths = torch.zeros(2, 4, dtype=torch.long), torch.tensor([4, 2])
    output = greedy_search(endless, source, lengths, BOS, EOS, extra_length=1)
    assert output.tolist() == [[2, 2, 2, 2, 2], [2, 2, 2, EOS, EOS]]
    assert beam_search(endless, source, lengths, BOS, EOS, beam_size=2, extra_length=1)[0].tolist() == output.tolist()


# training


@pytest.mark.parametrize("warmup", [1, 10, 4000])
def test_learning_rate_peaks_at_warmup(warmup: int) -> None:
    rates = [noam_learning_rate(step, 512, warmup) for step in range(1, 3 * warmup + 1)]
    assert rates.index(max(rates)) + 1 == warmup
    assert max(rates) == pytest.approx((512 * warmup) ** -0.5)


def test_learning_rate_warms_up_linearly_and_decays_with_the_inverse_square_root() -> None:
    assert noam_learning_rate(2000) == pytest.approx(2000 * noam_learning_rate(1))
    assert noam_learning_rate(16_000) == pytest.approx(noam_learning_rate(4000) / 2)
    assert noam_learning_rate(1) == pytest.approx(512**-0.5 * 4000**-1.5)


def test_the_optimizer_follows_the_schedule_from_its_first_step() -> None:
    model = build_tiny()
    optimizer, schedule = build_optimizer(model, warmup=3)
    rates = []
    for _ in range(5):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    assert rates == pytest.approx([noam_learning_rate(step, 12, 3) for step in range(1, 6)])
    assert (optimizer.defaults["betas"], optimizer.defaults["eps"]) == ((0.9, 0.98), 1e-9)
    trained = {parameter for group in optimizer.param_groups for parameter in group["params"]}
    assert trained == set(model.parameters())
    assert optimizer.defaults["weight_decay"] == 0
    assert build_optimizer(model)[1].get_last_lr() == [noam_learning_rate(1, 12, 4000)]


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-5)])
@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.9])
def test_label_smoothed_cross_entropy_and_its_gradient_are_torchs(
    dtype: torch.dtype, tolerance: float, smoothing: float
) -> None:
    ours = torch.randn(3, 4, VOCAB_SIZE, dtype=dtype, requires_grad=True)
    theirs = ours.detach().clone().requires_grad_()
    target, real = torch.randint(VOCAB_SIZE, (3, 4)), torch.tensor([[1, 1, 1, 1], [1, 0, 0, 0], [1, 1, 0, 0]]).bool()
    got = label_smoothed_cross_entropy(ours, target, real, smoothing)
    ignored = target.masked_fill(~real, -100)
    expected = F.cross_entropy(theirs.flatten(0, 1), ignored.flatten(), label_smoothing=smoothing)
    torch.testing.assert_close(got, expected, rtol=tolerance, atol=tolerance)
    gradients = torch.autograd.grad(got, ours)[0], torch.autograd.grad(expected, theirs)[0]
    torch.testing.assert_close(*gradients, rtol=tolerance, atol=tolerance)


def test_checkpoints_are_averaged_parameter_by_parameter() -> None:
    one, two, three = build_tiny(), build_tiny(), build_tiny()
    mean = build_tiny()
    mean.load_state_dict(average_checkpoints([one.state_dict(), two.state_dict(), three.state_dict()]))
    for averaged, *parts in zip(*(m.parameters() for m in (mean, one, two, three)), strict=True):
        torch.testing.assert_close(averaged, sum(parts) / 3)


# departures


def test_without_positions_the_encoder_is_permutation_equivariant(float64: None) -> None:
    model, x, order = build_tiny(), torch.randn(2, 6, 12), torch.tensor([3, 0, 5, 1, 4, 2])
    torch.testing.assert_close(model.run_encoder(x[:, order]), model.run_encoder(x)[:, order], rtol=1e-10, atol=1e-10)
    tokens = torch.arange(6)[None]
    far = (model.encode(tokens[:, order]) - model.encode(tokens)[:, order]).abs().max()
    assert far > 0.01


def test_the_decoder_attends_to_the_source_by_scaled_dot_products(float64: None) -> None:
    layer = DecoderLayer(12, 3, 20, 0.0)
    y, memory = torch.randn(2, 4, 12), torch.randn(2, 5, 12)
    keys, values = layer.cross_attention.keys_values(memory, memory)
    got, _ = layer(y, (keys, values), (keys[:, :, :0], values[:, :, :0]))
    middle = layer.around_self_attention.norm(y + layer.self_attention(y, y, y))
    query = layer.cross_attention.query(middle).reshape(2, 4, 3, 4).transpose(1, 2)
    heads = (query @ keys.mT / 4**0.5).softmax(-1) @ values
    attended = layer.cross_attention.output(heads.transpose(1, 2).reshape(2, 4, 12))
    upper = layer.around_cross_attention.norm(middle + attended)
    expected = layer.around_feed_forward.norm(upper + layer.feed_forward(upper))
    torch.testing.assert_close(got, expected, rtol=1e-10, atol=1e-10)


def test_source_target_and_output_share_one_embedding_matrix() -> None:
    model = build_tiny()
    assert [name for name, p in model.named_parameters() if VOCAB_SIZE in p.shape] == ["embedding.weight"]
    with torch.no_grad():
        model.embedding.weight.zero_()
    source, target = torch.arange(4)[None], torch.arange(4)[None]
    assert torch.equal(model.encode(source), model.encode(source + 4))
    assert torch.equal(model(source, target), torch.zeros(1, 4, VOCAB_SIZE))


def test_embeddings_are_multiplied_by_the_square_root_of_the_width(float64: None) -> None:
    embedding = Embedding(VOCAB_SIZE, 12, 0.0)
    tokens = torch.randint(VOCAB_SIZE, (2, 5))
    expected = embedding.weight[tokens] * 12**0.5
    torch.testing.assert_close(embedding(tokens) - reference_positions(5, 12), expected, rtol=1e-10, atol=1e-10)
    large = Embedding(1000, 256, 0.0).weight.detach()
    assert float((large * 256**0.5).std()) == pytest.approx(1, abs=0.02)


def test_sines_and_cosines_alternate_in_the_embedding(float64: None) -> None:
    embedding = Embedding(VOCAB_SIZE, 10, 0.0)
    with torch.no_grad():
        embedding.weight.zero_()
    got = embedding(torch.zeros(1, 6, dtype=torch.long), past_length=3)[0]
    torch.testing.assert_close(got, reference_positions(9, 10)[3:], rtol=1e-10, atol=1e-10)


def test_post_norm_normalizes_the_sum() -> None:
    layer, x = EncoderLayer(12, 3, 20, 0.0), 100 * torch.randn(2, 5, 12)
    y = layer(x)
    torch.testing.assert_close(y.mean(-1), torch.zeros(2, 5), atol=1e-5, rtol=0)
    torch.testing.assert_close(y.var(-1, unbiased=False), torch.ones(2, 5), atol=1e-3, rtol=0)
    inner = layer.around_self_attention.norm(x + layer.self_attention(x, x, x))
    torch.testing.assert_close(y, layer.around_feed_forward.norm(inner + layer.feed_forward(inner)))


def test_pre_norm_normalizes_the_input_of_the_sublayer() -> None:
    layer, x = EncoderLayer(12, 3, 20, 0.0, residual=PreNorm), 100 * torch.randn(2, 5, 12)
    inner = layer.around_self_attention.norm(x)
    y = x + layer.self_attention(inner, inner, inner)
    torch.testing.assert_close(layer(x), y + layer.feed_forward(layer.around_feed_forward.norm(y)))


def test_projections_have_biases_unlike_the_papers() -> None:
    def biases(model: Transformer) -> int:
        attentions = [module for module in model.modules() if isinstance(module, MultiHeadAttention)]
        return sum(name.endswith("bias") for module in attentions for name, _ in module.named_parameters())

    attentions = 2 * 1 + 2 * 2
    assert biases(Transformer(VOCAB_SIZE, 12, 3, 20, layers=2)) == 4 * attentions
    assert biases(build_tiny(bias=False)) == 0


def test_label_smoothing_includes_the_target_token() -> None:
    log_p = torch.randn(1, 1, VOCAB_SIZE).log_softmax(-1)
    target = torch.tensor([[4]])
    share = torch.full((VOCAB_SIZE,), 0.1 / VOCAB_SIZE)
    share[4] += 0.9
    torch.testing.assert_close(label_smoothed_cross_entropy(log_p, target), -(share * log_p[0, 0]).sum())
    # The public code's smoothing over the other tokens is ours with another label_smoothing.
    wrong_only = torch.full((VOCAB_SIZE,), 0.1 / (VOCAB_SIZE - 1))
    wrong_only[4] = 0.9
    same = label_smoothed_cross_entropy(log_p, target, label_smoothing=0.1 * VOCAB_SIZE / (VOCAB_SIZE - 1))
    torch.testing.assert_close(same, -(wrong_only * log_p[0, 0]).sum())


def test_dropout_is_applied_to_sublayer_outputs_and_embeddings_alone() -> None:
    model = build_tiny(dropout=0.5).train()
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


def test_embeddings_are_dropped_after_positions_are_added() -> None:
    embedding, tokens = Embedding(VOCAB_SIZE, 64, dropout=0.5), torch.zeros(1, 50, dtype=torch.long)
    whole, dropped = embedding.eval()(tokens), embedding.train()(tokens)
    kept = dropped != 0
    assert 0.45 < kept.float().mean() < 0.55
    torch.testing.assert_close(dropped[kept], 2 * whole[kept])


@pytest.mark.parametrize("residual", [PostNorm, PreNorm])
def test_what_a_sublayer_adds_is_dropped_and_not_the_sum(residual: Residual) -> None:
    around, x = residual(64, 0.5).train(), torch.randn(2, 5, 64)
    nothing, ones = torch.zeros_like(x), torch.ones_like(x)
    torch.testing.assert_close(around.output(x, nothing), around.eval().output(x, nothing))
    torch.testing.assert_close(around.train().input(x), around.eval().input(x))
    added = around.train().output(nothing, ones)
    assert len(added[0, 0].detach().round(decimals=4).unique()) == 2  # a summand of 0 or of 2, normalized or not
    assert 0.4 < (added > added.mean()).float().mean() < 0.6


def test_every_dropout_has_the_rate_of_the_model() -> None:
    def rates(model: nn.Module) -> list[float]:
        return [module.p for module in model.modules() if isinstance(module, nn.Dropout)]

    assert rates(Transformer(VOCAB_SIZE, 12, 3, 20, layers=2, dropout=0.3)) == [0.3] * (1 + 2 * 2 + 3 * 2)
    assert rates(Transformer(VOCAB_SIZE, 12, 3, 20, layers=1)) == [0.1] * 6  # Section 5.4
    parts = [EncoderLayer(12, 3, 20), DecoderLayer(12, 3, 20), Embedding(VOCAB_SIZE, 12)]
    assert [set(rates(part)) for part in parts] == [{0.1}] * 3


def test_every_layer_is_initialized_independently() -> None:
    model = Transformer(VOCAB_SIZE, 12, 3, 20, 4)
    for stack in (model.encoder, model.decoder):
        first = [next(part for part in layer.modules() if isinstance(part, nn.Linear)) for layer in stack]
        assert len({linear.weight[0, 0].item() for linear in first}) == 4


def test_weights_are_initialized_by_xavier_uniform() -> None:
    model = Transformer(VOCAB_SIZE, 128, 4, 512, 1)
    for name, p in model.named_parameters():
        if p.dim() == 2 and name != "embedding.weight":
            bound, largest = math.sqrt(6 / sum(p.shape)), p.abs().max().item()
            assert 0.99 * bound < largest <= bound
        elif name.endswith("bias"):
            assert not p.any()


def test_only_a_pre_norm_stack_ends_with_a_final_norm() -> None:
    x = torch.randn(1, 3, 12)
    post, pre = build_tiny(PostNorm, layers=1), build_tiny(PreNorm, layers=1)
    torch.testing.assert_close(post.run_encoder(x), post.encoder[0](x))
    assert isinstance(pre.encoder_norm, nn.LayerNorm)
    torch.testing.assert_close(pre.run_encoder(x), pre.encoder_norm(pre.encoder[0](x)))


# faults


def test_errors_name_both_numbers() -> None:
    with pytest.raises(ValueError, match="d_model 512 is not a multiple of heads 7"):
        Transformer(8, heads=7)
    with pytest.raises(ValueError, match="layers 0 is less than 1"):
        Transformer(8, layers=0)
    with pytest.raises(ValueError, match="step 0 is less than 1"):
        noam_learning_rate(0)
    with pytest.raises(ValueError, match=r"label_smoothing 1.0 is not in \[0, 1\)"):
        label_smoothed_cross_entropy(torch.zeros(1, 1, 3), torch.zeros(1, 1, dtype=torch.long), label_smoothing=1.0)
    with pytest.raises(ValueError, match=r"label_smoothing -0.1 is not in \[0, 1\)"):
        label_smoothed_cross_entropy(torch.zeros(1, 1, 3), torch.zeros(1, 1, dtype=torch.long), label_smoothing=-0.1)
    source = torch.zeros(1, 1, dtype=torch.long)
    with pytest.raises(ValueError, match="beam_size 0 is less than 1"):
        beam_search(build_tiny(), source, torch.tensor([1]), BOS, EOS, beam_size=0)


def test_the_schedule_warms_up_for_4000_steps_unless_it_is_said_otherwise() -> None:
    _, schedule = build_optimizer(build_tiny())
    assert schedule.lr_lambdas[0](0) == noam_learning_rate(1, 12, 4000)


def test_layers_have_the_base_models_dropout_and_biases_unless_it_is_said_otherwise() -> None:
    for model in (EncoderLayer(8, 2, 12), DecoderLayer(8, 2, 12), Transformer(9, 8, 2, 12, 1), Embedding(9, 8)):
        assert {one.p for one in model.modules() if isinstance(one, nn.Dropout)} == {0.1}
        assert all(one.bias is not None for one in model.modules() if isinstance(one, nn.Linear))
