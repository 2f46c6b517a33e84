"""RNNsearch against its appendix written out word by word, and against torch's GRU where the two units agree."""

import itertools
import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from reference_impl.bahdanau import Encoder, GRUCell, RNNencdec, RNNsearch

PRECISION = [(torch.float64, 1e-10), (torch.float32, 1e-5)]
SOURCE = torch.tensor([[3, 1, 4, 1, 5], [2, 6, 0, 0, 0], [7, 0, 0, 0, 0]])
LENGTHS = torch.tensor([5, 2, 1])
TARGET = torch.tensor([[0, 5, 3, 2], [0, 1, 1, 4], [0, 2, 5, 5]])


def close(ours: Tensor | None, theirs: Tensor | None, tolerance: float) -> None:
    assert ours is not None, "no gradient"
    torch.testing.assert_close(ours, theirs, atol=tolerance, rtol=tolerance)


def count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def small(kind: type[RNNsearch] = RNNsearch, spread: float = 0.5, hidden: int = 4, words: int = 6) -> RNNsearch:
    """Return a model whose widths all differ and whose weights are large enough to matter."""
    model = kind(8, words, embedding_dim=3, hidden_size=hidden, alignment_size=5, maxout_size=7)
    with torch.no_grad():
        for p in model.parameters():
            p.normal_(std=spread)
    return model


# The appendix, for one sentence without padding, with a matrix for every letter that it uses.


def letters(model: RNNsearch) -> dict[str, dict[str, Tensor]]:
    """Return the appendix's matrices, cut out of the model's and still connected to them."""
    m = model.decoder.embedding.embedding_dim
    n = model.decoder.initial.in_features

    def unit(of: GRUCell) -> dict[str, Tensor]:
        both = dict(zip(["", "z", "r"], of.input.weight.chunk(3), strict=True))
        own = {"": of.candidate.weight} | dict(zip(["z", "r"], of.gates.weight.chunk(2), strict=True))
        bias = dict(zip(["", "z", "r"], of.input.bias.chunk(3), strict=True))
        return {
            f"{letter}{gate}": part
            for gate in ("", "z", "r")
            for letter, part in [
                ("W", both[gate][:, :m]),
                ("C", both[gate][:, m:]),
                ("U", own[gate]),
                ("b", bias[gate]),
            ]
        }

    decoder, encoder = model.decoder, model.encoder
    return {
        "left": unit(encoder.forward_rnn),
        "right": unit(encoder.backward_rnn),
        "decoder": unit(decoder.gru),
        "alignment": {
            "W": decoder.score.query.weight,
            "U": decoder.score.key.weight,
            "v": decoder.score.vector.weight[0],
        },
        "readout": {
            "U": decoder.readout.weight[:, :n],
            "V": decoder.readout.weight[:, n : n + m],
            "C": decoder.readout.weight[:, n + m :],
            "b": decoder.readout.bias,
        },
        "rest": {
            "Ex": encoder.embedding.weight,
            "Ey": decoder.embedding.weight,
            "Ws": decoder.initial.weight,
            "bs": decoder.initial.bias,
            "Wo": decoder.output.weight,
            "bo": decoder.output.bias,
        },
    }


def step(u: dict[str, Tensor], e: Tensor, s: Tensor, c: Tensor | None = None) -> Tensor:
    def net(gate: str, before: Tensor) -> Tensor:
        total = u[f"W{gate}"] @ e + u[f"U{gate}"] @ before + u[f"b{gate}"]
        return total if c is None else total + u[f"C{gate}"] @ c

    z, r = 1 / (1 + torch.exp(-net("z", s))), 1 / (1 + torch.exp(-net("r", s)))
    return (1 - z) * s + z * torch.tanh(net("", r * s))


def appendix(model: RNNsearch, source: list[int], target: list[int], fixed: bool) -> tuple[Tensor, Tensor]:
    """Return logits and alignments for one sentence pair; with one fixed context where asked."""
    a = letters(model)
    rest, score, out = a["rest"], a["alignment"], a["readout"]
    left, right = [rest["Ws"].new_zeros(len(rest["Ws"]))], [rest["Ws"].new_zeros(len(rest["Ws"]))]
    for word in source:
        left.append(step(a["left"], rest["Ex"][word], left[-1]))
    for word in reversed(source):
        right.append(step(a["right"], rest["Ex"][word], right[-1]))
    h = [torch.cat([before, after]) for before, after in zip(left[1:], reversed(right[1:]), strict=True)]
    s = torch.tanh(rest["Ws"] @ h[0][len(left[0]) :] + rest["bs"])
    logits, alignments = [], []
    for word in target:
        e = torch.stack([score["v"] @ torch.tanh(score["W"] @ s + score["U"] @ hj) for hj in h])
        alpha = torch.exp(e) / torch.exp(e).sum()
        c = (
            torch.cat([left[-1], torch.zeros_like(left[-1])])
            if fixed
            else sum(w * hj for w, hj in zip(alpha, h, strict=True))
        )
        t = out["U"] @ s + out["V"] @ rest["Ey"][word] + out["C"] @ c + out["b"]
        maxout = torch.stack([torch.maximum(t[2 * k], t[2 * k + 1]) for k in range(len(t) // 2)])
        logits.append(rest["Wo"] @ maxout + rest["bo"])
        alignments.append(alpha)
        s = step(a["decoder"], rest["Ey"][word], s, c)
    return torch.stack(logits), torch.stack(alignments)


@pytest.mark.parametrize(("dtype", "tolerance"), PRECISION)
@pytest.mark.parametrize("hidden", [4, 1])
@pytest.mark.parametrize("kind", [RNNsearch, RNNencdec])
def test_a_padded_batch_equals_the_appendix_sentence_by_sentence(kind, hidden, dtype, tolerance):
    model = small(kind, hidden=hidden).to(dtype)
    logits, alignments = model(SOURCE, LENGTHS, TARGET)
    weight = torch.randn_like(logits)
    ours = torch.autograd.grad((logits * weight).sum(), list(model.parameters()), allow_unused=True)
    expected = []
    for i, n in enumerate(LENGTHS.tolist()):
        theirs, alphas = appendix(model, SOURCE[i, :n].tolist(), TARGET[i].tolist(), fixed=kind is RNNencdec)
        close(logits[i], theirs, tolerance)
        expected.append((theirs * weight[i]).sum())
        if kind is RNNsearch:
            close(alignments[i, :, :n], alphas, tolerance)
            assert not alignments[i, :, n:].any()
    by_hand = torch.autograd.grad(torch.stack(expected).sum(), list(model.parameters()), allow_unused=True)
    for a, b in zip(ours, by_hand, strict=True):
        if b is None:  # the appendix's alignment has no part in a fixed context
            assert kind is RNNencdec
            assert a is None or not a.any()
        else:
            close(a, b, 10 * tolerance)


@pytest.mark.parametrize(("n", "m"), [(1, 1), (1, 3), (4, 1)])
def test_one_word_sentences_equal_the_appendix(n, m):
    model = small().double()
    logits, alignments = model(SOURCE[:1, :n], torch.tensor([n]), TARGET[:1, :m])
    theirs, alphas = appendix(model, SOURCE[0, :n].tolist(), TARGET[0, :m].tolist(), fixed=False)
    close(logits[0], theirs, 1e-10)
    close(alignments[0], alphas, 1e-10)


# torch's GRU: z keeps where the paper's renews, and r acts after U. With U diagonal, r ∘ (U s) = U (r ∘ s).


def as_torch(unit: GRUCell) -> list[Tensor]:
    """Return the unit's weights for torch.nn.GRUCell, in its order; the unit's U must be diagonal."""
    proposal, update, reset = unit.input.weight.chunk(3)
    own_update, own_reset = unit.gates.weight.chunk(2)
    bias, update_bias, reset_bias = unit.input.bias.chunk(3)
    return [
        torch.cat([reset, -update, proposal]),
        torch.cat([own_reset, -own_update, unit.candidate.weight]),
        torch.cat([reset_bias, -update_bias, bias]),
        torch.zeros_like(unit.input.bias),
    ]


def diagonal(unit: GRUCell) -> GRUCell:
    with torch.no_grad():
        unit.candidate.weight.copy_(unit.candidate.weight.diagonal().diag())
    return unit


@pytest.mark.parametrize(("dtype", "tolerance"), PRECISION)
@pytest.mark.parametrize(("b", "d", "h"), [(3, 5, 4), (1, 5, 4), (3, 1, 1), (1, 1, 1)])
def test_the_unit_equals_torchs_gru_where_each_state_resets_itself_alone(b, d, h, dtype, tolerance):
    unit = diagonal(GRUCell(d, h)).to(dtype)
    x, state = torch.randn(b, d, dtype=dtype, requires_grad=True), torch.randn(b, h, dtype=dtype, requires_grad=True)
    oracle = nn.GRUCell(d, h, dtype=dtype)
    names = [name for name, _ in oracle.named_parameters()]
    theirs = torch.func.functional_call(oracle, dict(zip(names, as_torch(unit), strict=True)), (x, state))
    ours, weight = unit(x, state), torch.randn(b, h, dtype=dtype)
    close(ours, theirs, tolerance)
    leaves = [x, state, unit.input.weight, unit.input.bias, unit.gates.weight]
    for a, c in zip(
        torch.autograd.grad((ours * weight).sum(), leaves),
        torch.autograd.grad((theirs * weight).sum(), leaves),
        strict=True,
    ):
        close(a, c, tolerance)


def test_the_encoder_equals_torchs_packed_bidirectional_gru():
    encoder = Encoder(vocab_size=8, embedding_dim=3, hidden_size=4).double()
    oracle = nn.GRU(3, 4, batch_first=True, bidirectional=True, dtype=torch.float64)
    weights = [*as_torch(diagonal(encoder.forward_rnn)), *as_torch(diagonal(encoder.backward_rnn))]
    with torch.no_grad():
        for theirs, ours in zip(oracle.parameters(), weights, strict=True):
            theirs.copy_(ours)
    embedded = nn.functional.embedding(SOURCE, encoder.embedding.weight.detach())
    packed = pack_padded_sequence(embedded, LENGTHS, batch_first=True)
    expected, _ = pad_packed_sequence(oracle(packed)[0], batch_first=True)
    annotations = encoder(SOURCE, LENGTHS)
    for i, n in enumerate(LENGTHS.tolist()):
        close(annotations[i, :n], expected[i, :n], 1e-10)


# Sizes.


@pytest.mark.parametrize(
    ("source", "target", "m", "n", "a", "maxout"),
    [(8, 6, 3, 4, 5, 7), (1, 1, 1, 1, 1, 1), (30_000, 30_000, 620, 1000, 1000, 500)],
)
def test_the_number_of_parameters_has_a_closed_form(source, target, m, n, a, maxout):
    with torch.device("meta"):
        model = RNNsearch(source, target, m, n, a, maxout)
    encoder = source * m + 2 * (3 * (n * m + n * n))
    decoder = target * m + 3 * (n * m + n * n + n * 2 * n) + n * n
    alignment, readout = a * n + a * 2 * n + a, 2 * maxout * (n + m + 2 * n) + target * maxout
    biases = 2 * 3 * n + 3 * n + n + 2 * maxout + target
    assert count(model) == encoder + decoder + alignment + readout + biases


def test_rnnsearch_50_has_80_million_parameters():
    with torch.device("meta"):
        model = RNNsearch(source_vocab_size=30_000, target_vocab_size=30_000)
    biases = sum(p.numel() for name, p in model.named_parameters() if name.endswith("bias"))
    assert count(model) - biases == 80_401_000
    assert count(model) == 80_442_000
    assert count(model.decoder.score) == 3_001_000


# Probabilities and translations.


def test_all_target_sentences_share_a_probability_of_one():
    model = small(words=3).double()
    sentences = {
        (*words[: words.index(0)], 0, 0, 0)[:3] if 0 in words else words
        for words in itertools.product(range(3), repeat=3)
    }
    total = sum(
        model.log_probability(SOURCE[:1], LENGTHS[:1], torch.tensor([[0, *words]]), eos=0).exp().item()
        for words in sentences
    )
    assert len(sentences) == 15
    assert total == pytest.approx(1.0, abs=1e-10)


def test_words_after_the_end_do_not_count_and_the_end_does():
    model = small().double()
    ends = model.log_probability(SOURCE[:1], LENGTHS[:1], torch.tensor([[0, 5, 3]]), eos=3)
    padded = model.log_probability(SOURCE[:1], LENGTHS[:1], torch.tensor([[0, 5, 3, 1, 3, 2]]), eos=3)
    logits, _ = model(SOURCE[:1], LENGTHS[:1], torch.tensor([[0, 5]]))
    by_hand = logits.log_softmax(-1)[0, 0, 5] + logits.log_softmax(-1)[0, 1, 3]
    close(ends[0], by_hand, 1e-12)
    close(padded, ends, 1e-12)


def test_a_batch_is_translated_as_its_sentences_are_alone_and_ends_are_filled():
    model = small(spread=1.5)
    together = model.translate(SOURCE, LENGTHS, bos=0, eos=2, max_length=9)
    lengths = set()
    for i, n in enumerate(LENGTHS.tolist()):
        alone = model.translate(SOURCE[i : i + 1, :n], LENGTHS[i : i + 1], bos=0, eos=2, max_length=9)[0]
        assert together[i, : len(alone)].tolist() == alone.tolist()
        assert together[i, len(alone) :].tolist() == [2] * (together.shape[1] - len(alone))
        lengths.add(len(alone))
    assert len(lengths) > 1  # otherwise nothing was filled


def test_each_word_of_a_translation_is_the_likeliest_after_those_before_it():
    model = small(spread=1.5)
    words = model.translate(SOURCE, LENGTHS, bos=0, eos=-1, max_length=6)
    assert len(words.unique()) > 2
    logits, _ = model(SOURCE, LENGTHS, nn.functional.pad(words[:, :-1], (1, 0)))
    assert torch.equal(logits.argmax(dim=-1), words)


def test_translation_keeps_no_graph():
    model, seen = small(), []
    model.decoder.register_forward_hook(lambda _, args, output: seen.append(output[0].requires_grad))
    model.translate(SOURCE, LENGTHS, bos=0, eos=2, max_length=3)
    assert seen
    assert not any(seen)


def test_an_empty_source_sentence_gives_numbers_and_finite_gradients():
    model = small()
    logits, alignments = model(SOURCE[:2], torch.tensor([5, 0]), TARGET[:2])
    assert logits.isfinite().all()
    assert torch.equal(model(SOURCE[[0, 2]], torch.tensor([5, 0]), TARGET[:2])[0], logits)  # padding is not read
    assert not alignments[1].any()
    logits.sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


def test_a_length_beyond_the_row_is_refused_with_the_numbers():
    with pytest.raises(ValueError, match="length 6 exceeds the padded length 5"):
        small()(SOURCE, torch.tensor([6, 2, 1]), TARGET)


# The departures, in the card's order.


def test_the_context_is_looked_up_anew_for_every_word():
    _, searched = small(spread=2.0)(SOURCE, LENGTHS, TARGET)
    assert (searched[0, 1:] - searched[0, :-1]).abs().amax(dim=-1).min() > 1e-3
    _, fixed = small(RNNencdec)(SOURCE, torch.tensor([5, 2, 0]), TARGET)  # also where there is no word
    assert fixed.shape == (3, 4, 1)
    assert (fixed == 1).all()


def test_the_reset_gate_acts_before_the_matrix_and_the_update_gate_renews():
    unit, x, state = GRUCell(1, 2), torch.zeros(1, 1), torch.tensor([[0.5, -0.25]])
    with torch.no_grad():
        for p in unit.parameters():
            p.zero_()
        unit.candidate.weight.copy_(torch.tensor([[0.0, 1.0], [1.0, 0.0]]))  # each state proposes the other's
        unit.input.bias.copy_(torch.tensor([0.0, 0.0, 40.0, 40.0, 40.0, -40.0]))  # renew both, reset the second
    close(unit(x, state), torch.tensor([[0.0, math.tanh(0.5)]]), 1e-6)  # torch's GRU would give tanh(-0.25), 0


def test_the_readout_reads_the_state_before_the_step():
    model, state = small(), torch.randn(1, 4)
    annotations, mask, _ = model.encode(SOURCE[:1], LENGTHS[:1])
    before, renewed, _ = model.decoder(torch.tensor([1]), state, annotations, mask)
    with torch.no_grad():
        for p in model.decoder.gru.parameters():
            p.add_(1.0)
    after, changed, _ = model.decoder(torch.tensor([1]), state, annotations, mask)
    assert not torch.equal(renewed, changed)
    assert torch.equal(before, after)


def test_gates_initial_state_readout_and_output_have_biases_and_alignment_has_none():
    assert [name for name, _ in small().named_parameters() if name.endswith("bias")] == [
        "encoder.forward_rnn.input.bias",
        "encoder.backward_rnn.input.bias",
        "decoder.initial.bias",
        "decoder.gru.input.bias",
        "decoder.readout.bias",
        "decoder.output.bias",
    ]


def test_the_alignment_does_not_begin_uniform():
    model = RNNsearch(8, 6, embedding_dim=3, hidden_size=4, alignment_size=5, maxout_size=7)
    assert model.decoder.score.vector.weight.abs().min() > 0
    _, alignments = model(SOURCE[:1], LENGTHS[:1], TARGET[:1])
    assert alignments.std(dim=-1).min() > 1e-4


def test_translation_is_greedy_even_where_another_sentence_is_likelier():
    model = RNNsearch(8, 4, embedding_dim=4, hidden_size=2, alignment_size=2, maxout_size=4)
    chances = torch.tensor([[0.01, 0.54, 0.44, 0.01], [0.25] * 4, [0.01, 0.01, 0.01, 0.97], [0.25] * 4])
    with torch.no_grad():
        for p in model.decoder.parameters():
            p.zero_()
        model.decoder.embedding.weight.copy_(torch.eye(4))
        model.decoder.readout.weight[:, 2:6] = torch.eye(4).repeat_interleave(2, dim=0)  # the maxout is the last word
        model.decoder.output.weight.copy_(chances.log().T)  # whose row are the chances of the next
    sentences = torch.tensor([[0, *words] for words in itertools.product(range(4), repeat=2)])
    source, lengths = SOURCE[:1].expand(16, -1), LENGTHS[:1].expand(16)
    likeliest = sentences[model.log_probability(source, lengths, sentences, eos=-1).argmax(), 1:]
    assert likeliest.tolist() == [2, 3]  # 0.44 · 0.97
    greedy = model.translate(SOURCE[:1], LENGTHS[:1], bos=0, eos=-1, max_length=2)[0]
    assert len(greedy) == 2
    assert greedy[0] == 1  # 0.54, and then 0.25 at best
