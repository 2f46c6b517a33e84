"""The types of entries of BibTeX and BibLaTeX, and other common ones, mapped to those of CSL and RIS."""

from __future__ import annotations

from typing import NamedTuple


class Kind(NamedTuple):
    """What a type of entry is called in CSL (1.0.2) and in RIS."""

    csl: str
    ris: str


OTHER = Kind("document", "GEN")
PREPRINT = Kind("article", "UNPB")

KINDS = {
    "article": Kind("article-journal", "JOUR"),
    "artwork": Kind("graphic", "ART"),
    "audio": Kind("song", "SOUND"),
    "book": Kind("book", "BOOK"),
    "bookinbook": Kind("chapter", "CHAP"),
    "booklet": Kind("pamphlet", "PAMP"),
    "collection": Kind("book", "BOOK"),
    "commentary": Kind("book", "BOOK"),
    "conference": Kind("paper-conference", "CPAPER"),
    "dataset": Kind("dataset", "DATA"),
    "electronic": Kind("webpage", "ELEC"),
    "image": Kind("graphic", "FIGURE"),
    "inbook": Kind("chapter", "CHAP"),
    "incollection": Kind("chapter", "CHAP"),
    "inproceedings": Kind("paper-conference", "CPAPER"),
    "inreference": Kind("entry-encyclopedia", "ENCYC"),
    "jurisdiction": Kind("legal_case", "CASE"),
    "legal": Kind("treaty", "LEGAL"),
    "legislation": Kind("legislation", "STAT"),
    "letter": Kind("personal_communication", "PCOMM"),
    "manual": Kind("book", "BOOK"),
    "mastersthesis": Kind("thesis", "THES"),
    "misc": OTHER,
    "movie": Kind("motion_picture", "MPCT"),
    "music": Kind("song", "MUSIC"),
    "mvbook": Kind("book", "BOOK"),
    "mvcollection": Kind("book", "BOOK"),
    "mvproceedings": Kind("book", "CONF"),
    "mvreference": Kind("book", "BOOK"),
    "online": Kind("webpage", "ELEC"),
    "patent": Kind("patent", "PAT"),
    "performance": Kind("speech", "SLIDE"),
    "periodical": Kind("article-journal", "JFULL"),
    "phdthesis": Kind("thesis", "THES"),
    "preprint": PREPRINT,
    "presentation": Kind("speech", "SLIDE"),
    "proceedings": Kind("book", "CONF"),
    "reference": Kind("book", "BOOK"),
    "report": Kind("report", "RPRT"),
    "review": Kind("review", "JOUR"),
    "set": OTHER,
    "software": Kind("software", "COMP"),
    "standard": Kind("standard", "STAND"),
    "suppbook": Kind("chapter", "CHAP"),
    "suppcollection": Kind("chapter", "CHAP"),
    "suppperiodical": Kind("article-journal", "JOUR"),
    "techreport": Kind("report", "RPRT"),
    "thesis": Kind("thesis", "THES"),
    "unpublished": Kind("manuscript", "UNPB"),
    "video": Kind("motion_picture", "VIDEO"),
    "webpage": Kind("webpage", "ELEC"),
    "www": Kind("webpage", "ELEC"),
}
"""By BibLaTeX's name. What is not listed is a document of no special kind."""

SUBTYPES = {
    ("article", "magazine"): Kind("article-magazine", "MGZN"),
    ("article", "newspaper"): Kind("article-newspaper", "NEWS"),
    ("inreference", "dictionary"): Kind("entry-dictionary", "DICT"),
}
"""By type and `entrysubtype`."""

WHOLES = frozenset({"book", "collection", "proceedings", "reference"})
"""Types that hold others."""

SETS = frozenset({"mvbook", "mvcollection", "mvproceedings", "mvreference"})
"""Types of several volumes, which are such."""

THESES = {"phdthesis": "phdthesis", "mastersthesis": "mathesis"}
"""What BibTeX's theses are called in BibLaTeX's `type`."""
