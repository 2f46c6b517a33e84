"""The corpus of docstrings."""

from reference_impl.experiments import prose


def test_markup_goes_and_what_is_no_sentence_is_skipped() -> None:
    source = '''
def f():
    """Return the  :class:`~Graph` of
    ``nodes`` in *this* order. Not with / a slash. It is `quick`.

    >>> No prose here.
    """
'''
    assert list(prose.extract_sentences(source)) == ["Return the Graph of nodes in this order.", "It is quick."]


def test_no_file_and_no_sentence_is_both_trained_on_and_tested_on() -> None:
    sentences = prose.read_sentences(20)
    train, test = ([one for one in sentences if one.held_out is held_out] for held_out in (False, True))
    assert train
    assert test
    assert not {(one.package, one.file) for one in train} & {(one.package, one.file) for one in test}
    assert not {one.text.lower() for one in train} & {one.text.lower() for one in test}
    assert all(5 <= len(one.text.split()) <= 16 for one in sentences)
